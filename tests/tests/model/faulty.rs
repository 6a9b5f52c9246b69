//! Compositions with a bug in what surrounds the machine, one for each rule: the checker has to find them.

/// What is wrong with the composition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Rule 1: an order leaves as it was routed; nobody looks again at the gate.
    NoGate,
    /// Rule 2: a renewal that the machine gives up goes on.
    AttemptGoesOn,
    /// Rule 3: an answer that proves nothing is taken for an acceptance.
    CredulousProbe,
    /// Rule 4: the new token is published before where orders go under it.
    TornPublication,
    /// Rule 8: comparisons are never performed.
    NoComparison,
    /// Rule 9: an operator's halt is told to nobody.
    HaltUnheard,
}
