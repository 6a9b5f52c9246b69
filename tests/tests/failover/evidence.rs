//! What the broker's own log and book and the journal say of a story, and what must hold between them. Nothing here is
//! what the engine says of itself.

use std::collections::{BTreeMap, BTreeSet};

use nirantar::orders::{Record, What};
use nirantar::session::Generation;
use nirantar_brokers::{
    Book, BrokerOrderId, ClientOrderId, Fingerprint, Intent, OrderRequest, OrderRow, OrderStatus, Position, Trade,
};
use nirantar_exchange_mock::kite::{OrderAction, OrderLog, ServerLog};

/// One order as the journal has it.
#[derive(Debug)]
pub struct Story {
    pub book: Book,
    pub request: Option<OrderRequest>,
    pub statuses: Vec<OrderStatus>,
    pub filled: i64,
    pub broker_id: Option<BrokerOrderId>,
    /// Under which token it was placed, each time its bytes were about to leave.
    pub placed_under: Vec<Generation>,
}

/// All that is known from outside.
pub struct Evidence {
    pub log: ServerLog,
    pub records: Vec<Record>,
    pub rows: Vec<OrderRow>,
    pub positions: Vec<Position>,
    pub trades: Vec<Trade>,
    /// The tokens that were in use, by their number.
    pub tokens: BTreeMap<Generation, Fingerprint>,
}

/// The tokens that the broker handed out: each of them was taken into use, one after the other.
pub fn tokens(log: &ServerLog) -> BTreeMap<Generation, Fingerprint> {
    (1..).zip(&log.sessions).map(|(number, session)| (Generation(number), session.token)).collect()
}

/// The orders of a journal. An order that is in both books fails here.
pub fn stories(records: &[Record]) -> BTreeMap<ClientOrderId, Story> {
    let mut stories: BTreeMap<ClientOrderId, Story> = BTreeMap::new();
    for record in records {
        let Some(id) = &record.id else { continue };
        let story = stories.entry(id.clone()).or_insert_with(|| Story {
            book: record.book,
            request: None,
            statuses: Vec::new(),
            filled: 0,
            broker_id: None,
            placed_under: Vec::new(),
        });
        assert_eq!(story.book, record.book, "order {id} is in both books");
        match &record.what {
            What::Intent(request) | What::External { request, .. } => story.request = Some(request.clone()),
            What::Sending { generation, command: nirantar::orders::CommandKind::Place } => {
                story.placed_under.push(*generation);
            }
            What::State { status, filled, broker_id, .. } => {
                story.statuses.push(*status);
                story.filled = filled.signed();
                story.broker_id.clone_from(broker_id);
            }
            _ => {}
        }
    }
    stories
}

impl Story {
    /// The one state it ended in.
    fn end(&self, id: &ClientOrderId) -> OrderStatus {
        let finals = self.statuses.iter().skip_while(|status| !status.is_final());
        let ends: BTreeSet<OrderStatus> = finals.copied().collect();
        assert_eq!(ends.len(), 1, "order {id} does not end once: {:?}", self.statuses);
        *ends.first().unwrap()
    }

    fn signed(&self) -> i64 {
        let side = self.request.as_ref().expect("an order has an intent").side;
        if side == nirantar_brokers::Side::Buy { self.filled } else { -self.filled }
    }
}

impl Evidence {
    fn placements(&self, id: &ClientOrderId) -> Vec<&OrderLog> {
        let tag = id.to_string();
        let of_it = |order: &&OrderLog| order.action == OrderAction::Place && order.tag.as_ref() == Some(&tag);
        self.log.orders.iter().filter(of_it).collect()
    }

    /// Everything that must hold once nothing is in flight any more.
    pub fn judge(&self) {
        let stories = stories(&self.records);
        self.every_order_ends_once_and_as_the_broker_has_it(&stories);
        self.books_add_up(&stories);
        for (generation, token) in &self.tokens {
            self.nothing_leaves_after_the_first_refusal(*generation, *token);
        }
    }

    fn every_order_ends_once_and_as_the_broker_has_it(&self, stories: &BTreeMap<ClientOrderId, Story>) {
        let mut rows: BTreeMap<&ClientOrderId, &OrderRow> = BTreeMap::new();
        for row in &self.rows {
            let id = row.client_id.as_ref().expect("every order of this account is ours");
            assert!(rows.insert(id, row).is_none(), "order {id} is twice in the broker's book");
        }
        for (id, story) in stories {
            let (end, placements) = (story.end(id), self.placements(id));
            let accepted: Vec<_> = placements.iter().filter(|placed| placed.accepted).collect();
            if story.book == Book::Paper {
                assert!(placements.is_empty() && !rows.contains_key(id), "the broker saw paper order {id}");
                continue;
            }
            assert!(accepted.len() <= 1, "order {id} was placed twice: {placements:?}");
            assert_eq!(!accepted.is_empty(), rows.contains_key(id), "order {id}: {placements:?}");
            // Refused for the token's sake, it may be sent once more under the next one.
            let refused = placements.iter().filter(|placed| placed.status == Some(403)).count();
            assert!(refused + accepted.len() == placements.len(), "order {id}: {placements:?}");
            assert!(refused <= 2 && placements.len() <= 2, "order {id}: {placements:?}");
            let tokens: BTreeSet<_> = placements.iter().map(|placed| placed.token).collect();
            assert_eq!(tokens.len(), placements.len(), "order {id} went out twice under one token");
            match rows.get(id) {
                Some(row) => {
                    assert_eq!((end, story.filled), (row.status, row.filled.signed()), "order {id}: {story:?}");
                    assert_eq!(story.broker_id.as_ref(), Some(&row.order_id));
                }
                None => {
                    assert!(matches!(end, OrderStatus::Refused), "order {id} is not at the broker: {story:?}");
                    assert_eq!(story.filled, 0);
                }
            }
        }
        for id in rows.keys() {
            assert!(stories.contains_key(*id), "order {id} is at the broker and not in the journal");
        }
    }

    fn books_add_up(&self, stories: &BTreeMap<ClientOrderId, Story>) {
        let fills =
            |book: Book| -> i64 { stories.values().filter(|story| story.book == book).map(Story::signed).sum() };
        let held: i64 = self.positions.iter().map(|position| position.quantity).sum();
        assert_eq!(held, fills(Book::Live), "the broker's positions and the live book");
        let traded: i64 = self.trades.iter().map(|trade| trade.side.signed(trade.quantity)).sum();
        assert_eq!(held, traded, "the broker's positions and its trades");
        assert_eq!(fills(Book::Paper), 0, "paper is flat once live trading goes on");
        for (id, story) in stories {
            let request = story.request.as_ref().expect("an order has an intent");
            if let Intent::Reduce(book) = request.intent {
                assert_eq!(book, story.book, "exit {id} left its book");
            }
        }
    }

    /// What the broker saw under a token had left the desk before the first conclusive refusal under it was dealt with.
    fn nothing_leaves_after_the_first_refusal(&self, generation: Generation, token: Fingerprint) {
        let live = |record: &&Record| record.book == Book::Live;
        let (mut before, mut after, mut refused) = (0, 0, false);
        let mut last_sent: BTreeMap<&ClientOrderId, Generation> = BTreeMap::new();
        for (id, what) in
            self.records.iter().filter(live).filter_map(|record| Some((record.id.as_ref()?, &record.what)))
        {
            match what {
                What::Sending { generation: of, .. } => {
                    last_sent.insert(id, *of);
                    let count = if refused { &mut after } else { &mut before };
                    *count += usize::from(*of == generation);
                }
                What::RefusedForToken { generation: of } => refused |= *of == generation,
                // The refusal of a cancel, in the broker's words.
                What::Answer(words) if words.contains("access_token") => {
                    refused |= last_sent.get(id) == Some(&generation);
                }
                _ => {}
            }
        }
        assert_eq!(after, 0, "orders left under {generation} after its first refusal was known");
        let seen: Vec<&OrderLog> = self.log.orders.iter().filter(|order| order.token == Some(token)).collect();
        assert!(seen.len() <= before, "the broker saw {} orders of {before} under {generation}", seen.len());
        // Once it is dead it stays dead: whatever came after the first refusal was refused as well.
        let late = seen.iter().skip_while(|order| order.status != Some(403));
        assert!(late.clone().all(|order| !order.accepted && order.status == Some(403)), "{generation}");
        assert_eq!(refused, late.clone().count() > 0, "{generation}: the journal and the broker's log");
        println!("{generation}: {before} sent, {} seen by the broker, {} of them refused", seen.len(), late.count());
    }
}
