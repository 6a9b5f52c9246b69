//! Opening, replacing and closing sockets: what is done when, so that every lane is carried under the newest token.

use super::*;

/// What is to be done as soon as an attempt is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A socket for that lane.
    Make(usize),
    /// No slot is free: that lane's socket gives its own up.
    Break(SocketId),
}

impl Supervisor {
    /// A lane without a socket first; then, one after the other, those whose socket is of an older token.
    pub(super) fn next_step(&self) -> Option<Step> {
        let generation = self.desired?;
        if self.links.values().any(Link::is_connecting) {
            return None;
        }
        let free = self.links.len() < self.slots;
        if let Some(lane) = self.lanes.iter().position(|lane| lane.current.is_none()) {
            if free {
                return Some(Step::Make(lane));
            }
            if self.links.values().any(|link| link.is_closing() || link.retiring().is_some()) {
                return None; // a slot is about to be free
            }
            // Fewer slots than were planned with: the other lanes go on, and this one is tried all the same.
            return (self.links.len() < self.connections()).then_some(Step::Make(lane));
        }
        if self.links.values().any(|link| link.retiring().is_some()) {
            return None;
        }
        let outdated = |lane: &Lane| lane.current.filter(|socket| self.is_older(*socket, generation));
        let (lane, socket) = self.lanes.iter().enumerate().find_map(|(index, lane)| Some((index, outdated(lane)?)))?;
        if free {
            return Some(Step::Make(lane));
        }
        let closing = self.links.values().any(Link::is_closing);
        (!closing).then_some(Step::Break(socket))
    }

    fn is_older(&self, socket: SocketId, than: Generation) -> bool {
        self.links.get(&socket).is_some_and(|link| link.generation < than)
    }

    /// When something has to be done about that socket.
    pub(super) fn deadline(&self, link: &Link) -> Option<Monotonic> {
        match &link.state {
            LinkState::Connecting { since } => Some(*since + self.policy.connect_timeout),
            LinkState::Closing { until } => Some(*until),
            LinkState::Open(open) => {
                let silent =
                    self.silent_at(open, self.predecessor(link.lane).is_some()).filter(|_| open.retiring.is_none());
                let given_up = open.retiring.and_then(|retiring| retiring.until);
                [self.mute_at(open), silent, given_up].into_iter().flatten().min()
            }
        }
    }

    /// Does what is due, and finds when the next thing is.
    pub(super) fn look_at_deadlines(&mut self, now: Now, out: &mut Vec<Output>) {
        let mut due = self.next_due();
        if due.is_some_and(|at| now.mono >= at) {
            self.meet_deadlines(now, out);
            due = self.next_due();
        }
        // A feed that is not wanted waits for nothing.
        self.wake = due.filter(|_| self.desired.is_some());
    }

    fn next_due(&self) -> Option<Monotonic> {
        let attempt = self.next_step().map(|_| self.next_attempt());
        self.links.values().filter_map(|link| self.deadline(link)).chain(attempt).min()
    }

    fn meet_deadlines(&mut self, now: Now, out: &mut Vec<Output>) {
        // Whatever is overdue is changed by it, so this ends: a socket put back into its place may be overdue itself.
        while let Some(socket) = self.first_overdue(now) {
            self.overdue(socket, now, out);
        }
        while let Some(step) = self.next_step().filter(|_| now.mono >= self.next_attempt()) {
            match step {
                Step::Make(lane) => self.connect(lane, now, out),
                Step::Break(socket) => self.give_up(socket, GapReason::TokenSwap, now, out),
            }
        }
    }

    fn first_overdue(&self, now: Now) -> Option<SocketId> {
        let due = |link: &Link| self.deadline(link).is_some_and(|at| now.mono >= at);
        self.links.iter().find(|(_, link)| due(link)).map(|(socket, _)| *socket)
    }

    fn overdue(&mut self, socket: SocketId, now: Now, out: &mut Vec<Output>) {
        let Some(link) = self.links.get(&socket) else { return };
        let open = match &link.state {
            LinkState::Closing { .. } => {
                self.links.remove(&socket);
                return;
            }
            LinkState::Connecting { .. } => {
                self.give_up(socket, GapReason::Network, now, out);
                return self.failed("no answer to the connection attempt", Duration::ZERO, now, out);
            }
            LinkState::Open(open) => open,
        };
        if self.mute_at(open).is_some_and(|at| now.mono >= at) {
            let replaced = open.retiring.is_some();
            self.give_up(socket, GapReason::Mute, now, out);
            if !replaced {
                let words = "the socket is open and nothing comes, not even heartbeats";
                self.failed(words, Duration::ZERO, now, out);
            }
        } else if open.retiring.is_some() {
            self.retire(now, out);
        } else if self.predecessor(link.lane).is_some() {
            self.give_up(socket, GapReason::Silent, now, out);
            self.failed("the new socket brings no ticks", Duration::ZERO, now, out);
        } else {
            self.fall_silent(socket, now, out);
        }
    }

    fn connect(&mut self, index: usize, now: Now, out: &mut Vec<Output>) {
        let (Some(generation), Some(lane)) = (self.desired, self.lanes.get_mut(index)) else { return };
        self.sockets += 1;
        let socket = SocketId(self.sockets);
        let place = if lane.current.is_none() { &mut lane.current } else { &mut lane.next };
        *place = Some(socket);
        self.links.insert(socket, Link::connecting(index, generation, now.mono));
        while self.attempts.len() >= self.connections() {
            self.attempts.pop_front();
        }
        self.attempts.push_back(now.mono);
        out.push(Output::Connect { socket, generation });
    }

    pub(super) fn connected(&mut self, socket: SocketId, now: Now, out: &mut Vec<Output>) {
        let Some(link) = self.links.get_mut(&socket).filter(|link| link.is_connecting()) else {
            return;
        };
        link.state = LinkState::Open(Open::new(now));
        let before = link.lane.and_then(|lane| self.lanes.get_mut(lane)).and_then(|lane| {
            let before = lane.current.replace(socket).filter(|before| *before != socket);
            lane.next = None;
            before
        });
        if let Some(before) = before {
            self.let_go(before, None);
        }
        self.sync_subscriptions(out);
    }

    /// From now on that socket only hands over.
    fn let_go(&mut self, socket: SocketId, until: Option<Monotonic>) {
        let left = self.takers.on(socket);
        if let Some(open) = self.links.get_mut(&socket).and_then(Link::open_mut) {
            open.retiring = Some(Retiring { left, until, torn: None });
        }
    }

    pub(super) fn frame(&mut self, socket: SocketId, ticks: usize, now: Now, out: &mut Vec<Output>) {
        let delivers = ticks > 0 || !self.expecting();
        let Some(link) = self.links.get_mut(&socket) else { return };
        let (index, generation) = (link.lane, link.generation);
        let Some(open) = link.open_mut() else { return };
        open.last_frame = now;
        if ticks > 0 {
            open.quiet_since = now;
            open.pace.tick(now.mono, self.policy.silence);
        }
        if delivers {
            open.silent = false;
            open.delivering = true;
            let (replaced, patience) = (open.retiring.is_some(), now.mono + self.policy.handover);
            self.ever_live = true;
            if self.desired == Some(generation) {
                self.refusals = Refusals::default();
            }
            if let Some(lane) = index.and_then(|index| self.lanes.get_mut(index)) {
                lane.fresh = false;
            }
            if let Some(before) = self.predecessor(index).filter(|_| !replaced)
                && let Some(Open { retiring: Some(retiring), .. }) =
                    self.links.get_mut(&before).and_then(Link::open_mut)
            {
                retiring.until.get_or_insert(patience);
            }
        }
        let torn = self.links.values().filter_map(Link::retiring).filter_map(|retiring| retiring.torn).min();
        if let Some(from) = torn {
            self.gaps.begin(GapReason::TokenSwap, from, now, out);
        }
        self.retire(now, out);
        self.end_gap_if_whole(now, out);
        // The first to deliver, while another lane has failed already.
        self.begin_gap(GapReason::Network, now.wall, now, out);
    }

    /// Closes what has handed over, or had its time.
    fn retire(&mut self, now: Now, out: &mut Vec<Output>) {
        let done = |(socket, link): (&SocketId, &Link)| {
            let Retiring { left, until, .. } = link.retiring()?;
            (until.is_some_and(|until| left == 0 || now.mono >= until)).then_some(*socket)
        };
        for socket in self.links.iter().filter_map(done).collect::<Vec<_>>() {
            // What it still owes was dropped where it came sooner, from when that began at the earliest.
            if self.takers.waited_for(socket) > 0 {
                self.gaps.begin(GapReason::TokenSwap, now.wall - self.policy.handover, now, out);
            }
            self.forgive_if_stable(socket, now);
            self.hang_up(socket, now, out);
            self.end_gap_if_whole(now, out);
        }
    }

    pub(super) fn lost(&mut self, socket: SocketId, why: &str, now: Now, out: &mut Vec<Output>) {
        let Some(link) = self.links.get(&socket) else { return };
        if link.is_closing() {
            self.links.remove(&socket);
            return;
        }
        let replaced = link.retiring().is_some();
        self.part(socket, GapReason::Network, now, out, |feed, _| _ = feed.links.remove(&socket));
        if !replaced {
            self.failed(why, Duration::ZERO, now, out);
        }
    }

    /// Closes a socket that is still needed.
    fn give_up(&mut self, socket: SocketId, why: GapReason, now: Now, out: &mut Vec<Output>) {
        self.part(socket, why, now, out, |feed, out| feed.hang_up(socket, now, out));
    }

    /// Ends a socket, puts the one before it back into its place if it is still there, and declares the gap.
    fn part(
        &mut self,
        socket: SocketId,
        why: GapReason,
        now: Now,
        out: &mut Vec<Output>,
        end: impl FnOnce(&mut Self, &mut Vec<Output>),
    ) {
        let Some(link) = self.links.get(&socket) else { return };
        let (index, open) = (link.lane, link.open());
        let from = open.map_or(now.wall, |open| open.last_frame.wall);
        let retiring = link.retiring();
        // Something was taken from it that its successor, or the socket before it, has not brought since.
        let unfinished = retiring.map_or_else(|| link.delivers(), |retiring| retiring.left > 0);
        let from = self.last_word().filter(|_| link.delivers()).map_or(from, |word| word.min(from));
        self.forgive_if_stable(socket, now);
        end(self, out);
        self.vacate(socket);
        if retiring.is_none()
            && let Some(before) = self.predecessor(index)
            && let Some(lane) = index.and_then(|index| self.lanes.get_mut(index))
            && lane.current.is_none()
        {
            lane.current = Some(before);
            if let Some(open) = self.links.get_mut(&before).and_then(Link::open_mut) {
                open.retiring = None;
            }
            self.sync_subscriptions(out);
        }
        if self.ever_live && unfinished {
            self.gaps.begin(why, from, now, out);
        } else {
            self.begin_gap(why, from, now, out);
        }
    }

    /// The open socket that hands over to the lane's present one.
    pub(super) fn predecessor(&self, lane: Option<usize>) -> Option<SocketId> {
        let lane = lane?;
        let mut retiring = self.links.iter().filter(|(_, link)| link.lane == Some(lane) && link.retiring().is_some());
        retiring.next_back().map(|(socket, _)| *socket)
    }

    /// No lane counts on that socket any more. A lane it was the only one of has failed.
    pub(super) fn vacate(&mut self, socket: SocketId) {
        for lane in &mut self.lanes {
            if lane.next == Some(socket) {
                lane.next = None;
            }
            if lane.current == Some(socket) {
                lane.current = None;
                lane.fresh = false;
            }
        }
    }

    /// Closes a socket; its slot is free when the driver says so.
    pub(super) fn hang_up(&mut self, socket: SocketId, now: Now, out: &mut Vec<Output>) {
        if let Some(link) = self.links.get_mut(&socket).filter(|link| !link.is_closing()) {
            link.state = LinkState::Closing { until: now.mono + self.policy.closing };
            link.lane = None;
            out.push(Output::Disconnect { socket });
        }
    }

    /// An attempt under an older token has nobody to serve any more.
    pub(super) fn give_up_attempts(&mut self, now: Now, out: &mut Vec<Output>) {
        let attempt = self.links.iter().find(|(_, link)| link.is_connecting()).map(|(socket, _)| *socket);
        if let Some(socket) = attempt {
            let fresh: Vec<bool> = self.lanes.iter().map(|lane| lane.fresh).collect();
            self.hang_up(socket, now, out);
            self.vacate(socket);
            for (lane, fresh) in self.lanes.iter_mut().zip(fresh) {
                lane.fresh = fresh;
            }
        }
    }

    fn fall_silent(&mut self, socket: SocketId, now: Now, out: &mut Vec<Output>) {
        let Some(link) = self.links.get_mut(&socket) else { return };
        let index = link.lane;
        if let Some(open) = link.open_mut() {
            open.silent = true;
            let from = open.quiet_since.wall;
            if let Some(lane) = index.and_then(|index| self.lanes.get_mut(index)) {
                lane.fresh = false;
            }
            self.gaps.begin(GapReason::Silent, from, now, out);
        }
    }

    // --- subscriptions -----------------------------------------------------------------------------------------

    /// Makes a new plan for what is wanted.
    pub(super) fn plan(&mut self, now: Now, out: &mut Vec<Output>) {
        let planned = plan(&self.wanted, &mut self.lanes, self.limits);
        let (wanted, links) = (&self.wanted, &mut self.links);
        self.takers.retain(
            |token| wanted.contains_key(&token),
            |socket| {
                if let Some(Open { retiring: Some(retiring), .. }) = links.get_mut(&socket).and_then(Link::open_mut) {
                    retiring.left = retiring.left.saturating_sub(1);
                }
            },
        );
        for lane in planned.dissolved {
            for socket in lane.current.into_iter().chain(lane.next) {
                if self.is_connecting(socket) {
                    self.hang_up(socket, now, out);
                } else if let Some(link) = self.links.get_mut(&socket) {
                    link.lane = None;
                    self.let_go(socket, Some(now.mono + self.policy.handover));
                }
            }
        }
        let lanes = self.lanes.len();
        for link in self.links.values_mut() {
            link.lane = link.lane.filter(|lane| *lane < lanes);
        }
        if planned.left_out != self.left_out {
            self.left_out = planned.left_out;
            if !self.left_out.is_empty() {
                out.push(Output::LeftOut { instruments: self.left_out.iter().copied().collect() });
            }
        }
        self.sync_subscriptions(out);
        self.retire(now, out);
        // The lane that was missing may be gone.
        self.end_gap_if_whole(now, out);
    }

    /// Makes what the servers were asked for equal to what is planned, in batches.
    pub(super) fn sync_subscriptions(&mut self, out: &mut Vec<Output>) {
        let batch = self.policy.subscribe_batch.max(1);
        for lane in &self.lanes {
            let Some(socket) = lane.current else { continue };
            let Some(open) = self.links.get_mut(&socket).and_then(Link::open_mut) else { continue };
            let dropped: Vec<_> = open.actual.keys().filter(|token| !lane.holds.contains_key(token)).copied().collect();
            for instruments in dropped.chunks(batch) {
                out.push(Output::Unsubscribe { socket, instruments: instruments.to_vec() });
            }
            for mode in [Mode::Ltp, Mode::Quote, Mode::Full] {
                let asked = |(token, wanted): &(&BrokerToken, &Mode)| {
                    **wanted == mode && open.actual.get(token).is_none_or(|actual| *actual != mode)
                };
                let instruments: Vec<_> = lane.holds.iter().filter(asked).map(|(token, _)| *token).collect();
                for instruments in instruments.chunks(batch) {
                    out.push(Output::Subscribe { socket, instruments: instruments.to_vec(), mode });
                }
            }
            open.actual.clone_from(&lane.holds);
        }
    }
}
