#!/usr/bin/env python3
"""Mutants of the code that keeps the ten rules, and the tests that must kill them.

Each mutant is one wrong decision behind a switch that is read once (`NIRANTAR_MUTANT=number`), so that all of them cost one build. A
copy of the sources is mutated, never the sources. Run from the root of the repository:

    python3 tests/mutation/mutants.py            # every mutant
    python3 tests/mutation/mutants.py 14 15      # some
    python3 tests/mutation/mutants.py --check    # none: whether each still finds its place

Tests are asked in the order of `SUITES`; the first that fails has killed the mutant. A mutant that no suite kills survives, and the
script ends with 1. A pattern that is not found exactly once is an error: the code has changed, and the mutant with it.

How long a suite takes without a mutant is measured first: one that takes many times that does not end.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

S, O = "engine/src/session/", "engine/src/orders/"

# (numbers, rule, file, what stands there, what stands there instead; m(n) is true under mutant n, in words)
SITES = [
    ("1", S + "states.rs", "Refusal::Conclusive => self.go(Why::RefusedBy(*endpoint), Node::dead()),\n                    Refusal::Suspect => {",
     "Refusal::Conclusive if !m(1) => self.go(Why::RefusedBy(*endpoint), Node::dead()),\n                    _ => {",
     {1: "a conclusive refusal is only suspect"}),
    ("1", S + "states.rs", "Signal::Wake if self.expired(context.now.wall) => self.go(Why::ExpiryPassed",
     "Signal::Wake if !m(2) && self.expired(context.now.wall) => self.go(Why::ExpiryPassed",
     {2: "a token's end is passed over"}),
    ("1", S + "adopting.rs", "self.token.is_some_and(|held| now >= held.expires)",
     "self.token.is_some_and(|held| if m(3) { now > held.expires } else { now >= held.expires })",
     {3: "a token lives at the very instant of its end"}),
    ("3", S + "adopting.rs", "is_over: now >= expires }", "is_over: !m(4) && now >= expires }",
     {4: "a candidate whose time is over is taken"}),
    ("1", S + "memory.rs", "if let Some(doubt) = self.doubt {\n            return Some(if now",
     "if let Some(doubt) = self.doubt.filter(|_| !m(5)) {\n            return Some(if now", {5: "a doubt blocks nothing"}),
    ("1", S + "memory.rs", "(State::Expired, _) => (Venue::Blocked", "(State::Expired, _) if !m(6) => (Venue::Blocked",
     {6: "live in Expired"}),
    ("1", S + "memory.rs", "if !self.started {\n            return", "if !m(7) && !self.started {\n            return",
     {7: "orders go before the journal is replayed"}),
    ("9", S + "memory.rs", "if self.mode == TradingMode::Halted {\n            return", "if !m(8) && self.mode == TradingMode::Halted {\n            return",
     {8: "a halt blocks nothing"}),
    ("9", S + "memory.rs", "if self.failback.exits_may_go() => (Venue::Live, true)", "if self.failback.exits_may_go() => (Venue::Live, !m(9))",
     {9: "entries go as soon as exits do"}),
    ("9", S + "memory.rs", "(_, None) => (Venue::Live, reduce_only),", "(_, None) => (Venue::Live, reduce_only && !m(10)),",
     {10: "reduce-only is forgotten in live trading"}),
    ("9", S + "memory.rs", "if self.outage.is_some() {\n            return", "if !m(11) && self.outage.is_some() {\n            return",
     {11: "an outage blocks nothing"}),
    ("9", S + "memory.rs", "if self.misconfigured.is_some() {\n            return", "if !m(12) && self.misconfigured.is_some() {\n            return",
     {12: "a misconfiguration blocks nothing"}),
    ("9", S + "memory.rs", "(self.comparison.is_some() && !self.failback", "(!m(13) && self.comparison.is_some() && !self.failback",
     {13: "a comparison blocks nothing"}),
    ("2", S + "renewal.rs", "let free = self.attempt.is_none() ||", "let free = m(14) || self.attempt.is_none() ||",
     {14: "a second attempt beside the first"}),
    ("2", S + "renewal.rs", "ctx.out.push(Effect::Abandon { attempt: attempt.number });\n            ctx.notice(Notice::AttemptTimedOut)",
     "if !m(15) { ctx.out.push(Effect::Abandon { attempt: attempt.number }); }\n            ctx.notice(Notice::AttemptTimedOut)",
     {15: "an attempt whose time is up is not abandoned"}),
    ("2", S + "adopting.rs", "filter(|attempt| attempt.brought != Some(candidate.fingerprint))", "filter(|attempt| !m(16) && attempt.brought != Some(candidate.fingerprint))",
     {16: "an attempt that another token made needless is not abandoned"}),
    ("2", S + "renewal.rs", "let current = self.attempt.is_some_and(|attempt| attempt.number == number);",
     "let current = self.attempt.is_some_and(|attempt| m(17) || attempt.number == number);", {17: "an old attempt's end ends the new one"}),
    ("2", S + "renewal.rs", "if spent && attempt.way == Renewal::RefreshGrant {", "if !m(18) && spent && attempt.way == Renewal::RefreshGrant {",
     {18: "a one-use grant is used again after a lost reply"}),
    ("3", S + "states.rs", "Verdict::Accepted { user_id }) => match self.stranger(user_id) {", "Verdict::Accepted { user_id }) => match self.stranger(user_id).filter(|_| !m(19)) {",
     {19: "somebody else's token is taken"}),
    ("3", S + "proving.rs", "self.in_flight.filter(|flight| flight.number == number)?", "self.in_flight.filter(|flight| m(20) || flight.number == number)?",
     {20: "another probe's answer counts"}),
    ("3", S + "states.rs", "(Subject::Candidate(candidate), Verdict::Inconclusive) => {\n", "(Subject::Candidate(candidate), Verdict::Inconclusive) => {\n                if m(21) { self.adopt(candidate, \"AB1234\", context); return Judged::Adopted(candidate); }\n",
     {21: "a candidate is taken without an answer"}),
    ("3", S + "states.rs", "(Subject::Incumbent(_), Verdict::Inconclusive) => {", "(Subject::Incumbent(_), Verdict::Inconclusive) if !m(22) => {",
     {22: "no answer counts as the living token's death"}),
    ("3", S + "adopting.rs", "if outdated || self.proving.was_refused(fingerprint) {", "if outdated || (!m(23) && self.proving.was_refused(fingerprint)) {",
     {23: "a refused token is asked about again"}),
    ("3", S + "adopting.rs", "if self.state.is_live() && self.policy.sessions == Sessions::Replace {", "if !m(24) && self.state.is_live() && self.policy.sessions == Sessions::Replace {",
     {24: "a newer login puts nothing in doubt"}),
    ("3", S + "adopting.rs", "let outdated = alive &&", "let outdated = !m(25) && alive &&", {25: "an old token is written back over a newer one"}),
    ("3", S + "proving.rs", "if self.in_flight.is_some() || now < self.earliest(policy) {", "if (!m(26) && self.in_flight.is_some()) || (!m(27) && now < self.earliest(policy)) {",
     {26: "two probes at once", 27: "probes without spacing"}),
    ("1", S + "states.rs", "Signal::Told(Event::Refused { generation, refusal, endpoint }) if *generation == self.generation => {",
     "Signal::Told(Event::Refused { generation, refusal, endpoint }) if m(28) || *generation == self.generation => {",
     {28: "an old token's refusal kills the new one"}),
    ("3", S + "proving.rs", "self.waiting.retain(|waiting| waiting.arrival > arrival);", "self.waiting.retain(|waiting| m(29) || waiting.arrival > arrival);",
     {29: "an older candidate replaces the newer one later"}),
    ("8", S + "wake.rs", "rest.at_wall(held.expires);", "if !m(30) { rest.at_wall(held.expires); }", {30: "nobody wakes at the token's end"}),
    ("8", S + "wake.rs", "self.proving.next_wake(self.incumbent_wish(now), policy)", "self.proving.next_wake(self.incumbent_wish(now), policy).filter(|_| !m(31))",
     {31: "nobody wakes for probes"}),
    ("8", S + "wake.rs", "rest.at(self.hold_until);", "rest.at(self.hold_until.filter(|_| !m(32)));", {32: "nobody wakes at the end of a hold"}),
    ("8", S + "wake.rs", "self.comparison.map(|comparison| comparison.at)", "self.comparison.map(|comparison| comparison.at).filter(|_| !m(33))",
     {33: "nobody wakes for a comparison that hangs"}),
    ("8", S + "wake.rs", "self.failback.next_wake()", "self.failback.next_wake().filter(|_| !m(34))", {34: "nobody wakes at the end of the way back"}),
    ("8", S + "adopting.rs", "self.proving.retry(candidate, ctx.now.mono + self.policy.probe_retry);", "if !m(35) { self.proving.retry(candidate, ctx.now.mono + self.policy.probe_retry); }",
     {35: "a candidate is lost after a probe without an answer"}),
    ("8", S + "answers.rs", "*comparison = Comparison { in_flight: None, at: now + self.policy.reconcile_retry };",
     "*comparison = Comparison { in_flight: None, at: if m(36) { Monotonic::from_nanos(u64::MAX) } else { now + self.policy.reconcile_retry } };",
     {36: "a failed comparison is never repeated"}),
    ("8", S + "proving.rs", "self.in_flight.filter(|flight| now >= flight.deadline)", "self.in_flight.filter(|flight| !m(37) && now >= flight.deadline)",
     {37: "a probe that hangs is waited for, for ever"}),
    ("8", S + "answers.rs", "if self.outage.take().is_some() {", "if !m(38) && self.outage.take().is_some() {", {38: "an outage never ends"}),
    ("8", S + "memory.rs", "self.reprobe_at = self.token.map(|_| now.mono + self.policy.reprobe);", "self.reprobe_at = self.token.filter(|_| !m(39)).map(|_| now.mono + self.policy.reprobe);",
     {39: "a false death never heals"}),
    ("9", S + "failback.rs", "(Input::Look { blocked: true }, Stage::Comparing | Stage::ReduceOnly { .. }) => {", "(Input::Look { blocked: true }, Stage::Comparing | Stage::ReduceOnly { .. }) if !m(40) => {",
     {40: "what comes between does not end the way back"}),
    ("9", S + "failback.rs", "if self.market_open { self.feed_since.map(|since| since + self.hysteresis) }",
     "if !m(41) && self.market_open { self.feed_since.map(|since| since + if m(42) { Duration::ZERO } else { self.hysteresis }) }",
     {41: "no feed is waited for", 42: "no hysteresis"}),
    ("9", S + "failback.rs", "if !confirmed && self.resume == Resume::Confirm {", "if !m(43) && !confirmed && self.resume == Resume::Confirm {",
     {43: "no confirmation is waited for"}),
    ("9", S + "failback.rs", "(Input::Accepted, _) => {\n                self.feed_since = None;", "(Input::Accepted, _) => {\n                if !m(44) { self.feed_since = None; }",
     {44: "the old token's feed counts for the new one"}),
    ("9", S + "answers.rs", "filter(|waiting| waiting.in_flight == Some(number))", "filter(|waiting| m(45) || waiting.in_flight == Some(number))",
     {45: "an old comparison counts"}),
    ("9", S + "states.rs", "self.want_comparison(context.now.mono);\n                    self.go(proven", "if !m(46) { self.want_comparison(context.now.mono); }\n                    self.go(proven",
     {46: "live after Expired without a comparison"}),
    ("9", S + "answers.rs", "ctx.notice(Notice::OutageOver);\n            self.want_comparison(ctx.now.mono);", "ctx.notice(Notice::OutageOver);\n            if !m(47) { self.want_comparison(ctx.now.mono); }",
     {47: "live after an outage without a comparison"}),
    ("9", S + "memory.rs", "if blocked && self.state.is_live() {", "if !m(48) && blocked && self.state.is_live() {", {48: "live after a halt without a comparison"}),
    ("1", S + "states.rs", "Refusal::Conclusive => self.abandon_failback(context),", "Refusal::Conclusive => if !m(49) { self.abandon_failback(context) },",
     {49: "a refusal on the way back is passed over"}),
    ("5", O + "sending.rs", "self.record(&id, What::Sending { generation: route.generation, command: kind.clone() }, now, out);",
     "if !m(50) { self.record(&id, What::Sending { generation: route.generation, command: kind.clone() }, now, out); }", {50: "sent and not written"}),
    ("4", O + "sending.rs", "Rank::Exit | Rank::Modify | Rank::Entry => self.settled && self.route.venue == Venue::Live,",
     "Rank::Exit | Rank::Modify | Rank::Entry => (m(51) || self.settled) && self.route.venue == Venue::Live,", {51: "sent before a change of venue is complete"}),
    ("7", O + "sending.rs", "(Book::Paper, Intent::Open) if self.route.venue != Venue::Paper =>", "(Book::Paper, Intent::Open) if !m(52) && self.route.venue != Venue::Paper =>",
     {52: "a paper entry leaves while orders go live"}),
    ("9", O + "admission.rs", "if entry && self.route.reduce_only {", "if !m(53) && entry && self.route.reduce_only {", {53: "entries are taken while only exits may go"}),
    ("7", O + "admission.rs", "if entry && self.may_reduce(other, request) {", "if !m(54) && entry && self.may_reduce(other, request) {", {54: "an entry reduces the other book's exposure"}),
    ("9", O + "admission.rs", "if self.mode == TradingMode::Halted {\n            return", "if !m(55) && self.mode == TradingMode::Halted {\n            return", {55: "orders are taken while trading is halted"}),
    ("6", O + "absence.rs", "absence.agrees = order.absences >= AGREEING_READS;", "absence.agrees = m(56) || order.absences >= AGREEING_READS;", {56: "one read is enough to believe an absence"}),
    ("6", O + "absence.rs", "let mut absence = Absence { waited: begun >= since + propagation, agrees: false, trade, position };",
     "let (trade, position) = (!m(57) && trade, !m(58) && position);\n        let mut absence = Absence { waited: m(59) || begun >= since + propagation, agrees: false, trade, position };",
     {57: "a trade nobody explains explains nothing", 58: "a position nobody explains explains nothing", 59: "an absence counts at once"}),
    ("6", O + "answers.rs", "token_in_use: generation == self.route.generation,", "token_in_use: m(60) || generation == self.route.generation,", {60: "a refusal under an old token counts as the new one's"}),
    ("6", O + "answers.rs", "refused_before: if places { order.refused_once }", "refused_before: !m(61) && if places { order.refused_once }", {61: "sent again after every refusal"}),
    ("6", O + "answers.rs", "in_time: now.mono <= order.deadline(),", "in_time: m(62) || now.mono <= order.deadline(),", {62: "sent again after its time"}),
    ("5", O + "restore.rs", "*placing = Placing::OnItsWay;", "if !m(63) { *placing = Placing::OnItsWay; }", {63: "what was on its way at a crash counts as never begun"}),
    ("5", O + "restore.rs", "self.sends = self.sends.max(sends);", "if !m(64) { self.sends = self.sends.max(sends); }", {64: "numbers of messages are used again after a restart"}),
    ("5", O + "restore.rs", "self.made = self.made.max(sequence_of", "if !m(65) { self.made = self.made.max(sequence_of", {65: "order ids are used again after a restart"}),
    ("6", O + "answers.rs", "OrderStatus::Unknown => self.doubt(id, now),", "OrderStatus::Unknown => if !m(66) { self.doubt(id, now) },", {66: "nobody looks for an unknown order"}),
    ("4", "engine/src/core.rs", "let moved = (before.venue, before.generation) != (route.venue, route.generation);",
     "let moved = before.venue != route.venue || (!m(67) && before.generation != route.generation);", {67: "a new token is no change of venue"}),
    ("4", "engine/src/core.rs", "if epoch != self.epoch || epoch == self.arrived {", "if (!m(68) && epoch != self.epoch) || epoch == self.arrived {", {68: "an older change of venue completes the newer one"}),
    ("1", "engine/src/core.rs", "Effect::Bury { .. } => {\n                self.token = None;", "Effect::Bury { .. } => {\n                if !m(69) { self.token = None; }", {69: "a dead token stays published"}),
    ("8", S + "wake.rs", "now.mono < self.due && !self.restless", "now.mono < self.due && (m(70) || !self.restless)",
     {70: "what is past and still waited for is rested through"}),
    ("8", S + "wake.rs", "rest.at(self.attempt.map(|attempt| attempt.deadline));", "if !m(71) { rest.at(self.attempt.map(|attempt| attempt.deadline)); }",
     {71: "nobody wakes for a renewal that hangs"}),
    ("8", S + "wake.rs", "!self.restless && now.wall >= self.last.wall && self", "!self.restless && (m(72) || now.wall >= self.last.wall) && self",
     {72: "a wall clock that went back is rested through"}),
    ("8", S + "wake.rs", "let due = now.mono >= self.mono || now.wall >= self.wall;", "let due = now.mono >= self.mono || (!m(73) && now.wall >= self.wall);",
     {73: "what the wall clock brings is rested through in a drift"}),
    ("1", "engine/src/core.rs", "let due = over || now.mono >= self.session_wake(now);", "let due = (!m(74) && over) || now.mono >= self.session_wake(now);",
     {74: "a token whose time is over stays until the session would be woken"}),
]

SWITCH = """
/// Whether that mutant is on.
pub(crate) fn m(number: u32) -> bool {
    static ON: std::sync::LazyLock<u32> =
        std::sync::LazyLock::new(|| std::env::var("NIRANTAR_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0));
    *ON == number
}
"""

# In this order, the quickest first: name, target.
SUITES = [
    ("unit tests", ["-p", "nirantar", "--lib"]),
    ("rules", ["-p", "nirantar-tests", "--test", "rules"]),
    ("model", ["-p", "nirantar-tests", "--test", "model"]),
]

# A suite that takes longer than so many times its time without a mutant, and so many seconds more, does not end.
PATIENCE, GRACE = 10, 60


# The properties of the session machine alone; the others are of the whole core.
OF_THE_MACHINE = ["rule_1_no_order", "rule_2", "rule_3", "rule_8_a_machine", "rule_8_nothing", "rule_8_there", "rule_9_going", "rule_9_leaving"]


def chosen(name, file):
    """What is run of that suite for a mutant of that file."""
    if name == "unit tests":
        return ["session::"] if file.startswith(S) else ["orders::", "core::"]
    if name == "rules":
        return OF_THE_MACHINE if file.startswith(S) else [word for machine in OF_THE_MACHINE for word in ("--skip", machine)]
    return []


def mutated(root, copy):
    files = subprocess.run(["git", "-C", root, "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
    for file in filter(None, files):
        os.makedirs(os.path.dirname(os.path.join(copy, file)), exist_ok=True)
        shutil.copy2(os.path.join(root, file), os.path.join(copy, file))
    touched = set()
    for _, file, old, new, _ in SITES:
        path = os.path.join(copy, file)
        with open(path, encoding="utf-8") as source:
            text = source.read()
        if text.count(old) != 1:
            sys.exit(f"{file}: found {text.count(old)} times, not once: {old!r}")
        text = text.replace(old, new)
        if "self.made = self.made.max" in old:  # its statement ends on the same line
            line = next(line for line in text.split("\n") if new in line)
            text = text.replace(line, line + " }")
        with open(path, "w", encoding="utf-8") as source:
            source.write(text)
        touched.add(path)
    for path in touched:
        with open(path, encoding="utf-8") as source:
            lines = source.read().split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith("use "))
        lines.insert(at, "use crate::m;")
        with open(path, "w", encoding="utf-8") as source:
            source.write("\n".join(lines))
    with open(os.path.join(copy, "engine/src/lib.rs"), "a", encoding="utf-8") as source:
        source.write(SWITCH)


def build(copy, target, suite):
    command = ["cargo", "test", "--offline", "--no-run", "--message-format=json-render-diagnostics", *suite]
    env = {**os.environ, "CARGO_TARGET_DIR": target}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    found = re.findall(r'"executable":"([^"]+)"', done.stdout)
    return found[-1]


def killer(binary, name, mutant, file, seconds=None):
    """The first test that fails, or None if all of them pass."""
    env = {**os.environ, "NIRANTAR_MUTANT": str(mutant), "RUST_BACKTRACE": "0"}
    command = [binary, *chosen(name, file)]
    with subprocess.Popen(command, env=env, cwd=os.path.dirname(binary), text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tests:
        over = threading.Event()
        timer = threading.Timer(seconds, lambda: (over.set(), tests.kill())) if seconds else None
        if timer:
            timer.start()
        try:
            for line in tests.stdout:
                failed = re.match(r"test (\S+) \.\.\. FAILED$", line)
                if failed:  # the first failure decides
                    tests.kill()
                    return f"`{failed[1]}`"
        finally:
            if timer:
                timer.cancel()
        if over.is_set():
            return "does not end"
        return "aborts" if tests.wait() else None


def main():
    root = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True).stdout.strip()
    if "--check" in sys.argv:
        with tempfile.TemporaryDirectory(prefix="nirantar-mutants-") as copy:
            mutated(root, copy)
        return
    wanted = {int(arg) for arg in sys.argv[1:] if arg.isdigit()}
    # Not the usual one: cargo would take what is built here for the sources as they are.
    target = os.path.join(root, "target", "mutants")
    mutants = [(number, rule, file, words) for rule, file, _, _, all_ in SITES for number, words in all_.items()]
    mutants = sorted(mutant for mutant in mutants if not wanted or mutant[0] in wanted)
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="nirantar-mutants-") as copy:
        mutated(root, copy)
        built, patience = {}, {}

        def ask(name, package, number, file):
            """Builds a suite and measures it once somebody has to be asked who survives those before it."""
            if name not in built:
                built[name] = build(copy, target, package)
                print(f"built: {name}", file=sys.stderr, flush=True)
            asked = (name, *chosen(name, file))
            if asked not in patience:
                began = time.monotonic()
                if test := killer(built[name], name, 0, file):
                    sys.exit(f"{name}: without any mutant: {test}")
                seconds = time.monotonic() - began
                patience[asked] = PATIENCE * seconds + GRACE
                print(f"{' '.join(asked)}: {seconds:.0f} s without a mutant", file=sys.stderr, flush=True)
            return killer(built[name], name, number, file, patience[asked])

        for number, rule, file, words in mutants:
            began, found = time.monotonic(), None
            for name, package in SUITES:
                if test := ask(name, package, number, file):
                    found = f"{test} ({name})"
                    break
            survivors += found is None
            seconds = time.monotonic() - began
            print(f"| {number} | {rule} | `{file.removeprefix('engine/src/')}` | {words} | {found or '**survives**'} |", flush=True)
            print(f"  {number}: {seconds:.0f} s", file=sys.stderr, flush=True)
    print(f"{len(mutants)} mutants, {survivors} survive")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
