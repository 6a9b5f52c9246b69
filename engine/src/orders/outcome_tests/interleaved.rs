//! Any interleaving of replies, updates and reads over a small broker that knows the truth.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const PROPAGATION: Duration = Duration::from_secs(10);
const MOST_ORDERS: usize = 4;

/// What happens next. Numbers choose one of what there is, or do nothing where there is none.
#[derive(Clone, Debug)]
enum Step {
    Place,
    Cancel(usize),
    /// A message reaches the broker.
    Arrives(usize),
    /// It never does, and its reply is taken for lost.
    Lost(usize),
    /// The broker's reply comes, or is lost.
    Reply {
        which: usize,
        lost: bool,
    },
    /// The exchange fills so many units.
    Fills(usize, u64),
    /// The exchange rejects it, or ends it.
    Ends(usize, OrderStatus),
    /// One of the updates so far is delivered, perhaps again.
    Update(usize),
    Pass(u64),
    /// The session wants the books compared.
    Compare,
    /// The read under way ends, by what the broker showed when it was asked or shows now.
    Read {
        fails: bool,
        as_asked: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..MOST_ORDERS;
    prop_oneof![
        3 => Just(Step::Place),
        2 => which.clone().prop_map(Step::Cancel),
        4 => which.clone().prop_map(Step::Arrives),
        1 => which.clone().prop_map(Step::Lost),
        4 => (which.clone(), any::<bool>()).prop_map(|(which, lost)| Step::Reply { which, lost }),
        3 => (which.clone(), 1..=10_u64).prop_map(|(which, units)| Step::Fills(which, units)),
        1 => (which, prop::sample::select(vec![OrderStatus::Rejected, OrderStatus::Cancelled]))
            .prop_map(|(which, status)| Step::Ends(which, status)),
        3 => (0..64_usize).prop_map(Step::Update),
        4 => (1..=8_u64).prop_map(Step::Pass),
        2 => Just(Step::Compare),
        4 => (any::<bool>(), any::<bool>()).prop_map(|(fails, as_asked)| Step::Read { fails, as_asked }),
    ]
}

/// What the broker knows of an order, and since when its book shows it.
struct Known {
    row: OrderRow,
    visible: nirantar_brokers::time::Monotonic,
}

/// The desk, and a broker whose book shows an order only some time after it has taken it.
struct World {
    scene: Scene,
    delay: Duration,
    known: Vec<Known>,
    /// Messages that have not reached the broker, and replies that have not reached us.
    out: VecDeque<(SendId, ClientOrderId, Command)>,
    back: VecDeque<(SendId, Outcome<BrokerOrderId>)>,
    updates: Vec<OrderRow>,
    /// The read under way, and what the broker showed when it was asked.
    read: Option<(u64, LiveState)>,
    placed: Vec<ClientOrderId>,
}

impl World {
    fn new(delay: Duration) -> Self {
        let scene = Scene::new();
        let (out, back) = (VecDeque::new(), VecDeque::new());
        let (known, updates, placed) = (Vec::new(), Vec::new(), Vec::new());
        Self { scene, delay, known, out, back, updates, read: None, placed }
    }

    /// Notes what the desk asks for.
    fn notes(&mut self) {
        for action in std::mem::take(&mut self.scene.out) {
            match action {
                Action::Send { send, id, command, .. } => self.out.push_back((send, id, command)),
                Action::Read { read } => self.read = Some((read, self.shows())),
                Action::Alarm(words) => assert!(!words.contains("twice"), "{words}"),
                _ => {}
            }
        }
    }

    /// The broker's positions, book and trades. Positions know of every fill; the book is late.
    fn shows(&self) -> LiveState {
        let now = self.scene.now.mono;
        let orders = self.known.iter().filter(|known| known.visible <= now).map(|known| known.row.clone()).collect();
        let filled: u64 = self.known.iter().map(|known| known.row.filled.get()).sum();
        let positions = if filled == 0 { Vec::new() } else { vec![bought(i64::try_from(filled).unwrap())] };
        let traded = self.known.iter().filter(|known| !known.row.filled.is_zero());
        LiveState::new(positions, orders, traded.map(|known| trade(&known.row.order_id.0)).collect())
    }

    fn arrives(&mut self, which: usize) {
        let Some((send, id, command)) = self.out.remove(which) else { return };
        let answer = match command {
            Command::Place(_) => {
                let taken = number(&format!("B{}", send.0));
                let row = OrderRow { client_id: Some(id), ..row(&taken.0, OrderStatus::Open, 0) };
                self.updates.push(row.clone());
                self.known.push(Known { row, visible: self.scene.now.mono + self.delay });
                Ok(taken)
            }
            Command::Cancel(of) | Command::Modify(of, _) => {
                let known = self.known.iter_mut().find(|known| known.row.order_id == of).expect("it is known");
                if known.row.status.is_final() {
                    failed(Cause::Rejected)
                } else {
                    known.row.status = OrderStatus::Cancelled;
                    self.updates.push(known.row.clone());
                    Ok(of)
                }
            }
        };
        self.back.push_back((send, answer));
    }

    fn changes(&mut self, which: usize, change: impl FnOnce(&mut OrderRow)) {
        let Some(known) = self.known.get_mut(which).filter(|known| !known.row.status.is_final()) else { return };
        change(&mut known.row);
        self.updates.push(known.row.clone());
    }

    fn takes(&mut self, step: &Step) {
        match step {
            Step::Place if self.placed.len() < MOST_ORDERS => {
                let request = OrderRequest::new(share(), Side::Buy, 10, OrderType::Limit(Price::from_paise(150_000)));
                let scene = &mut self.scene;
                self.placed.push(scene.desk.submit(request, scene.now, &mut scene.out).expect("it is taken"));
            }
            Step::Cancel(which) => {
                if let Some(id) = self.placed.get(*which) {
                    // What cannot be cancelled now is refused, and nothing has happened.
                    let _ = self.scene.desk.cancel(id, self.scene.now, &mut self.scene.out);
                }
            }
            Step::Arrives(which) => self.arrives(*which),
            Step::Lost(which) => {
                if let Some((send, ..)) = self.out.remove(*which) {
                    self.scene.reply(send, failed(Cause::Unknown));
                }
            }
            Step::Reply { which, lost } => {
                if let Some((send, outcome)) = self.back.remove(*which) {
                    self.scene.reply(send, if *lost { failed(Cause::Unknown) } else { outcome });
                }
            }
            Step::Fills(which, units) => self.changes(*which, |row| {
                row.filled = Quantity::new((row.filled.get() + units).min(10));
                row.average_price = Price::from_paise(150_000);
                row.status = if row.filled.get() == 10 { OrderStatus::Filled } else { OrderStatus::Open };
            }),
            Step::Ends(which, status) => self.changes(*which, |row| {
                let untouched = row.filled.is_zero();
                row.status = if untouched { *status } else { OrderStatus::Cancelled };
            }),
            Step::Update(which) => {
                if let Some(row) = self.updates.get(*which).cloned() {
                    self.scene.show(&row);
                }
            }
            Step::Pass(seconds) => {
                self.scene.pass(*seconds);
                self.scene.wake();
            }
            Step::Compare => {
                let scene = &mut self.scene;
                scene.desk.compare(1, scene.now, &mut scene.out);
            }
            Step::Read { fails, as_asked } => {
                if let Some((read, asked)) = self.read.take() {
                    let state = if *as_asked { asked } else { self.shows() };
                    let state = (!fails).then_some(&state);
                    let scene = &mut self.scene;
                    scene.desk.read(read, state, scene.now, &mut scene.out);
                }
            }
            Step::Place => {}
        }
        self.notes();
        self.believes_nothing_false();
    }

    /// Nothing is believed never placed that the broker has, whose book shows all within the propagation time; and no fill
    /// is counted twice.
    fn believes_nothing_false(&self) {
        for known in &self.known {
            let id = known.row.client_id.as_ref().expect("it has our tag");
            assert_ne!(
                self.scene.status(id),
                OrderStatus::NotPlaced,
                "{id} is at the broker as {}",
                known.row.order_id
            );
        }
    }

    /// Whatever was on its way has arrived, and the broker answers.
    fn calms_down(&mut self) {
        while !self.out.is_empty() || !self.back.is_empty() {
            self.takes(&Step::Arrives(0));
            self.takes(&Step::Reply { which: 0, lost: false });
        }
        for _ in 0..4 {
            self.takes(&Step::Pass(40));
            self.takes(&Step::Compare);
            self.takes(&Step::Read { fails: false, as_asked: false });
        }
    }
}

fn ends_as_the_broker_has_it(steps: &[Step], delay: u64) -> Result<(), TestCaseError> {
    let mut world = World::new(Duration::from_secs(delay));
    for step in steps {
        world.takes(step);
    }
    world.calms_down();
    let mut held = 0;
    for id in &world.placed {
        let order = world.scene.order(id);
        let truth = world.known.iter().find(|known| known.row.client_id.as_ref() == Some(id));
        let expected = truth.map_or(OrderStatus::NotPlaced, |known| known.row.status);
        prop_assert_eq!(order.status, expected, "{}", id);
        prop_assert_eq!(order.filled, truth.map_or(Quantity::ZERO, |known| known.row.filled));
        held += order.filled.signed();
    }
    prop_assert_eq!(world.scene.held(), held);
    prop_assert_eq!(world.scene.desk.orders().count(), world.placed.len(), "none twice, none invented");
    Ok(())
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order_every_order_ends_as_the_broker_has_it(
        steps in prop::collection::vec(step(), 0..60),
        delay in 0..=PROPAGATION.as_secs(),
    ) {
        ends_as_the_broker_has_it(&steps, delay)?;
    }
}

#[test]
fn units_that_a_position_showed_of_one_order_do_not_keep_another_unknown() {
    let read = || Step::Read { fails: false, as_asked: false };
    let steps = [
        Step::Place,
        Step::Place,
        // The second one fills, the position shows it, and the book does not yet: it may be the first one's.
        Step::Arrives(1),
        Step::Fills(0, 1),
        Step::Compare,
        read(),
        Step::Lost(0),
        Step::Compare,
        read(),
    ];
    ends_as_the_broker_has_it(&steps, 1).unwrap();
}
