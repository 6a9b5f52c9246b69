//! What becomes of paper when live trading goes on ([`SettlePaper`]), and when a contract that it holds has ended. All of it
//! stays within the paper book (rule 7).

use nirantar_brokers::time::Now;
use nirantar_brokers::{
    Book, InstrumentKey, Intent, MarketProtection, OrderRequest, OrderType, Price, Product, Quantity, Side,
};

use super::{Action, Desk, Record, SettlePaper, Tracked, What};

impl Desk {
    /// Live trading goes on: cancels what paper has open and, unless the policy keeps it, closes what it holds, within
    /// paper.
    pub fn settle_paper(&mut self, now: Now, out: &mut Vec<Action>) {
        let open = |order: &Tracked| order.book == Book::Paper && order.broker_id.is_some() && !order.status.is_final();
        for id in self.orders.unfinished_ids(open) {
            if let Err(why) = self.cancel(&id, now, out) {
                out.push(Action::Alarm(format!("paper order {id} could not be cancelled: {why}")));
            }
        }
        if self.policy.settle_paper == SettlePaper::Keep {
            return;
        }
        let held: Vec<(InstrumentKey, Product, i64)> =
            self.exposure.open(Book::Paper).map(|(key, product, quantity)| (key.clone(), product, quantity)).collect();
        for (instrument, product, quantity) in held {
            let side = if quantity > 0 { Side::Sell } else { Side::Buy };
            let market = OrderType::Market(MarketProtection::Automatic);
            let exit = OrderRequest {
                product,
                intent: Intent::Reduce(Book::Paper),
                ..OrderRequest::new(instrument, side, quantity.unsigned_abs(), market)
            };
            // Exits that were just cancelled are as good as gone; those still on their way to the exchange are not.
            let on_its_way = |order: &Tracked| order.may_be_working() && order.broker_id.is_none();
            let left = self.left_beside(Book::Paper, &exit, on_its_way);
            if left > 0 {
                self.take(Book::Paper, OrderRequest { quantity: Quantity::new(left), ..exit }, now, out);
            }
        }
    }

    /// A contract has ended, and the paper exchange has closed what was held of it at `price` a unit: that is written down,
    /// and the paper book holds it no more.
    pub fn paper_settled(&mut self, instrument: &InstrumentKey, price: Price, now: Now, out: &mut Vec<Action>) {
        self.ledger.begin(now.wall.ist_date());
        let of_it = self.exposure.open(Book::Paper).filter(|(key, ..)| *key == instrument);
        let products: Vec<Product> = of_it.map(|(_, product, _)| product).collect();
        for product in products {
            self.close_at(Book::Paper, instrument, product, price, true);
            let what = What::Settled { instrument: instrument.clone(), product, price };
            out.push(Action::Journal(Record { at: now.wall, id: None, book: Book::Paper, what }));
        }
        self.look_at_losses(now, out);
    }

    /// What a book holds of a contract in a product is worth `price` a unit, and gone; won or lost today, or before.
    pub(super) fn close_at(
        &mut self,
        book: Book,
        instrument: &InstrumentKey,
        product: Product,
        price: Price,
        today: bool,
    ) {
        let held = self.exposure.of(book, instrument, product);
        self.exposure.fill(book, instrument, product, held.saturating_neg());
        if today {
            self.ledger.settle(book, instrument, held, price);
        }
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::Now;
    use nirantar_brokers::{BrokerOrderId, ClientOrderId, Exchange, Money, OrderStatus, Price, Venue};

    use super::*;
    use crate::orders::outcome_tests::row_of;
    use crate::orders::{Command, DeskPolicy, Refused, RiskLimits, Route, SendId};
    use crate::session::Generation;

    const RELIANCE: &str = "RELIANCE";

    fn route(venue: Venue, reduce_only: bool) -> Route {
        Route { venue, reduce_only, generation: Generation(1) }
    }

    fn limit(side: Side, quantity: u64) -> OrderRequest {
        let price = OrderType::Limit(Price::from_paise(195_000));
        OrderRequest::new(InstrumentKey::new(Exchange::Nse, RELIANCE), side, quantity, price)
    }

    fn sends(out: &[Action]) -> Vec<(SendId, Command)> {
        let send = |action: &Action| match action {
            Action::Send { send, book: Book::Paper, command, .. } => Some((*send, command.clone())),
            _ => None,
        };
        out.iter().filter_map(send).collect()
    }

    /// The paper exchange takes an order under that number, and so much of it is filled.
    fn on_paper(desk: &mut Desk, request: OrderRequest, number: &str, filled: u64) -> ClientOrderId {
        let (mut out, now) = (Vec::new(), Now::default());
        let id = desk.submit(request.clone(), now, &mut out).unwrap();
        let [(send, Command::Place(_))] = &sends(&out)[..] else { panic!("it goes to paper: {out:?}") };
        let order_id = BrokerOrderId::new(number);
        desk.reply(*send, Ok(order_id.clone()), now, &mut out);
        let status = if filled == request.quantity.get() { OrderStatus::Filled } else { OrderStatus::Open };
        let row = row_of(desk.order(&id).unwrap(), &order_id, status, filled, 195_000);
        desk.update(Book::Paper, &row, now, &mut out);
        id
    }

    /// Paper holds ten and has an order of five open; then live trading goes on.
    fn settled(settle_paper: SettlePaper) -> (Desk, Vec<Command>) {
        let mut desk = Desk::new(DeskPolicy { settle_paper, ..DeskPolicy::default() });
        desk.arrive(route(Venue::Paper, false), Now::default(), &mut Vec::new());
        on_paper(&mut desk, limit(Side::Buy, 10), "P1", 10);
        on_paper(&mut desk, limit(Side::Buy, 5), "P2", 0);
        let mut out = Vec::new();
        desk.arrive(route(Venue::Live, true), Now::default(), &mut out);
        desk.settle_paper(Now::default(), &mut out);
        let commands = sends(&out).into_iter().map(|(_, command)| command).collect();
        (desk, commands)
    }

    #[test]
    fn paper_is_flattened_by_default() {
        let (_, commands) = settled(SettlePaper::default());
        let [Command::Cancel(cancelled), Command::Place(exit)] = &commands[..] else { panic!("{commands:?}") };
        assert_eq!(*cancelled, BrokerOrderId::new("P2"));
        assert_eq!(
            (exit.side, exit.quantity, exit.intent),
            (Side::Sell, Quantity::new(10), Intent::Reduce(Book::Paper))
        );
    }

    #[test]
    fn paper_that_is_kept_loses_its_open_orders_only_and_can_be_reduced() {
        let (mut desk, commands) = settled(SettlePaper::Keep);
        assert_eq!(commands, [Command::Cancel(BrokerOrderId::new("P2"))]);
        let exit = OrderRequest { intent: Intent::Reduce(Book::Paper), ..limit(Side::Sell, 10) };
        let mut out = Vec::new();
        desk.submit(exit, Now::default(), &mut out).unwrap();
        assert!(matches!(&sends(&out)[..], [(_, Command::Place(_))]), "{out:?}");
    }

    fn told(out: &[Action]) -> (Vec<Record>, Vec<&str>) {
        let records = out.iter().filter_map(|action| match action {
            Action::Journal(record) if matches!(record.what, What::Settled { .. }) => Some(record.clone()),
            _ => None,
        });
        let alarms = out.iter().filter_map(|action| match action {
            Action::Alarm(words) => words.split(" rupees").next(),
            _ => None,
        });
        (records.collect(), alarms.collect())
    }

    #[test]
    fn what_has_ended_leaves_the_paper_book_once_with_its_loss_and_after_a_restart_too() {
        let (contract, now) = (InstrumentKey::new(Exchange::Nfo, "NIFTY26NOV26000CE"), Now::default());
        let risk = RiskLimits { daily_loss: Some(Money::from_rupees(1)), ..RiskLimits::default() };
        let policy = DeskPolicy { risk, ..DeskPolicy::default() };
        let mut desk = Desk::new(policy.clone());
        desk.arrive(route(Venue::Paper, false), now, &mut Vec::new());
        let mut journal = Vec::new();
        for (number, product, side, quantity) in
            [("P1", Product::Mis, Side::Buy, 10), ("P2", Product::Nrml, Side::Sell, 4)]
        {
            let order = OrderRequest { instrument: contract.clone(), product, ..limit(side, quantity) };
            let what = What::Intent(order.clone());
            let id = on_paper(&mut desk, order, number, quantity);
            let average_price = Price::from_paise(195_000);
            let (status, filled, message) = (OrderStatus::Filled, Quantity::new(quantity), None);
            let broker_id = Some(BrokerOrderId::new(number));
            let state = What::State { status, quantity: None, broker_id, filled, average_price, message };
            for what in [what, state] {
                journal.push(Record { at: now.wall, id: Some(id.clone()), book: Book::Paper, what });
            }
        }
        // Ten lose fifty rupees each, and the four that were sold win as much.
        let mut out = Vec::new();
        desk.paper_settled(&contract, Price::from_paise(190_000), now, &mut out);
        let (records, alarms) = told(&out);
        assert_eq!(alarms, ["the paper book has lost 300.00"]);
        let settled =
            |product| What::Settled { instrument: contract.clone(), product, price: Price::from_paise(190_000) };
        let whats: Vec<_> = records.iter().map(|record| (record.book, record.what.clone())).collect();
        assert_eq!(whats, [(Book::Paper, settled(Product::Mis)), (Book::Paper, settled(Product::Nrml))]);
        assert_eq!(desk.exposure().open(Book::Paper).count(), 0);

        let mut again = Vec::new();
        desk.paper_settled(&contract, Price::from_paise(100), now, &mut again);
        desk.settle_paper(now, &mut again);
        assert_eq!(again, [], "there is nothing left to settle or to sell");

        journal.extend(records);
        let (mut restarted, mut out) = (Desk::new(policy), Vec::new());
        let past = restarted.restore(&journal, now, &mut out).paper;
        assert_eq!((past.trades.len(), past.settlements.len()), (2, 2));
        restarted.recount(now);
        assert_eq!(restarted.exposure().open(Book::Paper).count(), 0);
        restarted.wake(now, &mut out);
        assert_eq!(told(&out).1, ["the paper book has lost 300.00"]);
        let mut later = Desk::new(DeskPolicy::default());
        let next_day = now + std::time::Duration::from_secs(24 * 60 * 60);
        later.restore(&journal, next_day, &mut Vec::new());
        assert_eq!(later.exposure().open(Book::Paper).count(), 0);
    }

    #[test]
    fn no_paper_entry_is_taken_or_leaves_while_the_operator_wants_exits_only() {
        let (mut desk, now) = (Desk::new(DeskPolicy::default()), Now::default());
        let mut out = Vec::new();
        // On the way to paper it is taken and waits; then the operator speaks.
        desk.leave(route(Venue::Paper, false));
        let held = desk.submit(limit(Side::Buy, 1), now, &mut out).unwrap();
        desk.arrive(route(Venue::Paper, true), now, &mut out);
        assert_eq!(desk.order(&held).map(|order| order.status), Some(OrderStatus::Refused));
        assert_eq!(desk.submit(limit(Side::Buy, 1), now, &mut out), Err(Refused::ReduceOnly));
        assert_eq!(sends(&out), []);
    }

    #[test]
    fn a_paper_entry_that_waited_does_not_leave_once_orders_go_live() {
        let (mut desk, now) = (Desk::new(DeskPolicy::default()), Now::default());
        let mut out = Vec::new();
        desk.leave(route(Venue::Paper, false));
        let held = desk.submit(limit(Side::Buy, 1), now, &mut out).unwrap();
        desk.arrive(route(Venue::Live, false), now, &mut out);
        assert_eq!(desk.order(&held).map(|order| order.status), Some(OrderStatus::Refused));
        assert!(!out.iter().any(|action| matches!(action, Action::Send { .. })), "{out:?}");
    }
}
