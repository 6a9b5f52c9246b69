//! Rule 5 over restarts: the process dies between any two things it does, what it wrote since the last sync is lost, and
//! another one goes on from what is left.

use std::collections::BTreeSet;

use nirantar::core::{Event, Input, Output};
use nirantar::orders::{Command, Record, Tracked};
use nirantar_brokers::{Block, Book, ClientOrderId, OrderStatus, Venue};

use super::core_judges::WrittenAndNeverRepeated;
use super::core_world::{CoreWorld, Done, Judge, Scene};
use super::dice::Sequence;
use super::moves::{Move, PRELUDE};

/// How much was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub restarts: usize,
    /// Restarts with a place message on its way to the broker.
    pub in_doubt: usize,
    /// Restarts that found fewer records than were written.
    pub lost: usize,
    /// Live orders placed by a process that was not the first.
    pub placed_after: usize,
}

/// A journal as a disk keeps it.
#[derive(Default)]
struct Disk {
    records: Vec<Record>,
    /// So many survive for sure: before a live message leaves, all that was written is synced.
    synced: usize,
}

impl Disk {
    fn hear(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Journal(record) => self.records.push(record.clone()),
                Output::Send { book: Book::Live, .. } => self.synced = self.records.len(),
                _ => {}
            }
        }
    }
}

/// No live order leaves a new process before a complete comparison. What the kill switch cancels need only have been seen in
/// the broker's book: it does not wait until positions agree.
#[derive(Default)]
struct ComparedFirst {
    compared: bool,
    seen: bool,
}

impl Judge for ComparedFirst {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.seen |= matches!(scene.done, Done::Told(Input::Read { state: Ok(_), .. }));
        for output in scene.outputs {
            match output {
                Output::Send { route, command: Command::Cancel(_), .. }
                    if self.seen && route.venue == Venue::Blocked(Block::Halted) => {}
                Output::Tell(Event::Compared { comparison, .. }) => self.compared |= comparison.complete,
                Output::Send { id, book: Book::Live, .. } if !self.compared => {
                    return Err(format!("{id} left before the books were compared"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

struct Both(WrittenAndNeverRepeated, ComparedFirst);

impl Judge for Both {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.0.see(scene)?;
        self.1.see(scene)
    }
}

/// Plays a sequence with restarts among its moves; returns its number of moves.
///
/// # Errors
/// An order that may be at the broker is placed again, or one leaves too early, or a second restart finds something else.
pub fn play(sequence: &Sequence<Move>, counted: &mut Counted) -> Result<usize, String> {
    let (mut world, mut disk) = (CoreWorld::new(sequence.policy), Disk::default());
    let mut judge = Both(WrittenAndNeverRepeated::default(), ComparedFirst::default());
    let moves = sequence.after(&PRELUDE);
    let mut chance = sequence.chance();
    let (mut first, mut placed) = (true, BTreeSet::new());
    for (number, made) in moves.iter().enumerate() {
        let dies = chance.roll(25) == 0 && number > 5;
        let cut = |all: usize| if dies { chance.roll(all as u64 + 1) as usize } else { all };
        let outputs = world.step_cut(*made, cut, &mut judge)?;
        disk.hear(&outputs);
        let before = placed.len();
        placed.extend(placed_in(&outputs));
        counted.placed_after += if first { 0 } else { placed.len() - before };
        if !dies {
            continue;
        }
        first = false;
        counted.restarts += 1;
        let in_flight = world.on_their_way.values().any(|sent| sent.places && sent.book == Book::Live);
        counted.in_doubt += usize::from(in_flight);
        let unsynced = disk.records.len() - disk.synced;
        let kept = disk.synced + chance.roll(unsynced as u64 + 1) as usize;
        counted.lost += usize::from(kept < disk.records.len());
        disk.records.truncate(kept);
        let outputs;
        (world, outputs) = world.restarted(&disk.records);
        if let Some(sent) = outputs.iter().find(|output| !matches!(output, Output::Journal(_) | Output::Tell(_))) {
            return Err(format!("the replay itself did {sent:?}"));
        }
        disk.hear(&outputs);
        disk.synced = disk.records.len();
        let (again, more) = world.restarted(&disk.records);
        let records = more.iter().filter(|output| matches!(output, Output::Journal(_))).count();
        if records > 0 || stand(&again) != stand(&world) {
            return Err(format!("a second restart found {:?}, the first {:?}", stand(&again), stand(&world)));
        }
        judge.1 = ComparedFirst::default();
        judge.0.process_died(&placed);
        if chance.flip() {
            for made in PRELUDE {
                let outputs = world.step_cut(made, |all| all, &mut judge)?;
                disk.hear(&outputs);
                placed.extend(placed_in(&outputs));
            }
        }
    }
    Ok(moves.len())
}

/// Live orders whose bytes left.
fn placed_in(outputs: &[Output]) -> impl Iterator<Item = ClientOrderId> {
    outputs.iter().filter_map(|output| match output {
        Output::Send { id, book: Book::Live, command: Command::Place(_), .. } => Some(id.clone()),
        _ => None,
    })
}

type Stand = (ClientOrderId, Book, OrderStatus, u64, Option<String>, bool);

/// What a desk knows: its orders, and what the books hold.
fn stand(world: &CoreWorld) -> (Vec<Stand>, String) {
    let desk = world.core.desk();
    let of = |order: &Tracked| {
        let broker_id = order.broker_id.as_ref().map(ToString::to_string);
        (order.id.clone(), order.book, order.status, order.filled.get(), broker_id, order.may_be_working())
    };
    let held = [Book::Live, Book::Paper].map(|book| format!("{:?}", desk.exposure().open(book).collect::<Vec<_>>()));
    (desk.orders().map(of).collect(), held.join(" "))
}

/// After every tenth move a core restored from all that was written is compared with the one that wrote it.
///
/// # Errors
/// Where they differ.
pub fn compare(sequence: &Sequence<Move>) -> Result<(usize, usize), String> {
    struct Nothing;
    impl Judge for Nothing {
        fn see(&mut self, _: &Scene<'_>) -> Result<(), String> {
            Ok(())
        }
    }
    let (mut world, mut disk, mut compared) = (CoreWorld::new(sequence.policy), Disk::default(), 0);
    let moves = sequence.after(&PRELUDE);
    for (number, made) in moves.iter().enumerate() {
        disk.hear(&world.step_cut(*made, |all| all, &mut Nothing)?);
        if number % 10 != 9 {
            continue;
        }
        let (restored, _) = world.restarted(&disk.records);
        let (orders, held) = stand(&restored);
        let today = world.now.wall.ist_date();
        let (was, was_held) = stand(&world);
        if held != was_held {
            return Err(format!("held {was_held}, restored {held}"));
        }
        let known: BTreeSet<&ClientOrderId> = orders.iter().map(|order| &order.0).collect();
        for (before, order) in was.iter().zip(world.core.desk().orders()) {
            compared += 1;
            let old = order.submitted.wall.ist_date() < today;
            let Some(after) = orders.iter().find(|after| after.0 == before.0) else {
                if old {
                    continue;
                }
                return Err(format!("{before:?} is not among {known:?}"));
            };
            let status = after_a_crash(before, old);
            let expected = (before.0.clone(), before.1, before.3, before.4.clone());
            if status != after.2 || expected != (after.0.clone(), after.1, after.3, after.4.clone()) {
                return Err(format!("{before:?} was restored as {after:?}"));
            }
        }
    }
    Ok((moves.len(), compared))
}

/// What an order's status is after a crash, by the rules of `orders/restore.rs`.
fn after_a_crash(before: &Stand, old: bool) -> OrderStatus {
    use OrderStatus::{Cancelled, Journalled, Refused, Sent, Unknown, Unresolved};
    let (_, book, status, _, broker_id, may_be_working) = before;
    match (*book, *status) {
        (_, status) if status.is_final() => status,
        // Whether it is on its way is told by whether it may be working.
        (Book::Live, Journalled) if !may_be_working => Refused,
        (Book::Live, Journalled | Sent | Unknown) if old => Unresolved,
        (Book::Live, Journalled | Sent | Unknown) => Unknown,
        (Book::Live, _) if old => Unresolved,
        (Book::Paper, _) if broker_id.is_none() => Refused,
        (Book::Paper, _) if old => Cancelled,
        (_, status) => status,
    }
}
