//! The end of the trading day, and the operator's look at what it left open.
//!
//! What is unknown when the exchange closes becomes unresolved, loudly; what still works is read once more, and becomes
//! unresolved if that shows nothing or the next day begins. An unresolved order counts as exposure with all that is left
//! of it until an operator has looked at it. What is finished is kept until the end of the next trading day.

use chrono::NaiveDate;
use nirantar_brokers::time::Now;
use nirantar_brokers::{Book, ClientOrderId, Exchange, OrderStatus};

use super::all::is_unfinished;
use super::outcome::DayEnd;
use super::{Action, Desk, Refused, Tracked, What};

impl Desk {
    /// Exchanges have closed, or a new date has begun. `over` says whether the trading day of that date is over at that
    /// exchange. To be called whenever its answer changes for today, and once after every midnight; calling it more
    /// often changes nothing.
    pub fn day_ends(&mut self, over: impl Fn(Exchange, NaiveDate) -> bool, now: Now, out: &mut Vec<Action>) {
        let today = now.wall.ist_date();
        let ended: Vec<(ClientOrderId, DayEnd)> = self
            .orders
            .values()
            .filter(|order| order.book == Book::Live && !order.status.is_final())
            .filter_map(|order| {
                let date = order.submitted.wall.ist_date();
                let end = if date < today { DayEnd::NextDay } else { DayEnd::Closed };
                (date < today || over(order.request.instrument.exchange, date)).then(|| (order.id.clone(), end))
            })
            .collect();
        for (id, end) in ended {
            self.end_of_day(&id, end, now, out);
        }
        self.forget_earlier_days(|exchange| over(exchange, today), today);
    }

    /// Drops what is finished and of an earlier day, once today's is over too: by then no book of the broker's shows it any
    /// more, and a row of it would be a stranger's. The journal keeps it.
    fn forget_earlier_days(&mut self, over: impl Fn(Exchange) -> bool, today: NaiveDate) {
        let kept = |order: &Tracked| {
            let earlier = order.submitted.wall.ist_date() < today && over(order.request.instrument.exchange);
            !earlier || is_unfinished(order) || order.in_flight.is_some()
        };
        if self.orders.values().all(kept) {
            return;
        }
        self.orders.retain(kept);
        let orders = &self.orders;
        self.by_broker_id.retain(|id| orders.contains_key(id));
        self.ledger.forget(|id| !orders.contains_key(id));
    }

    /// An operator has looked at an unresolved order and knows what became of it: it counts as exposure no more.
    ///
    /// # Errors
    /// [`Refused::NoSuchOrder`]; [`Refused::NotUnresolved`] if its state is known or still being found out, or if it has
    /// been acknowledged before.
    pub fn acknowledge(&mut self, id: &ClientOrderId, now: Now, out: &mut Vec<Action>) -> Result<(), Refused> {
        let order = self.orders.get_mut(id).ok_or(Refused::NoSuchOrder)?;
        if order.status != OrderStatus::Unresolved || order.acknowledged {
            return Err(Refused::NotUnresolved(order.status));
        }
        order.acknowledged = true;
        self.record(id, What::Acknowledged, now, out);
        self.changed(id, out);
        Ok(())
    }
}
