//! Orders and the account at Kite (`kite.md` 2.3 to 2.9). Every order is of variety `regular`.

use super::wire::envelope::ErrorBody;
use super::wire::form;
use super::wire::rest::{Holding, Order, Placed, Positions, Segment, Trade};
use super::{Kite, get, reply, request, segment};
use crate::time::Now;
use crate::{
    Body, BrokerOrderId, Call, ClientOrderId, Endpoint, Form, HttpRequest, HttpResponse, Lost, Margins, Method,
    OrderChange, OrderRequest, OrderRow, Orders, Outcome, Position,
};

impl Orders for Kite {
    fn place(&self, order: &OrderRequest, id: &ClientOrderId, _now: Now) -> Call<BrokerOrderId> {
        let form = form::place(order, id);
        order_call(Endpoint::Place, Method::Post, "/orders/regular".to_owned(), Body::Form(form))
    }

    fn modify(&self, id: &BrokerOrderId, change: &OrderChange, _now: Now) -> Call<BrokerOrderId> {
        order_call(Endpoint::Modify, Method::Put, path(id), Body::Form(form::modify(change)))
    }

    fn cancel(&self, id: &BrokerOrderId, _now: Now) -> Call<BrokerOrderId> {
        order_call(Endpoint::Cancel, Method::Delete, path(id), Body::Empty)
    }

    /// Orders this engine cannot have placed (cover, margin trading) are left out.
    fn book(&self, _now: Now) -> Call<Vec<OrderRow>> {
        order_rows(Endpoint::OrderBook, "/orders".to_owned())
    }

    fn history(&self, id: &BrokerOrderId, _now: Now) -> Call<Vec<OrderRow>> {
        order_rows(Endpoint::OrderHistory, format!("/orders/{}", segment(&id.0)))
    }

    fn trades(&self, _now: Now) -> Call<Vec<crate::Trade>> {
        Call::http(get(Endpoint::Trades, "/trades", Form::new()), |answer| {
            reply::read(Endpoint::Trades, answer, |rows: Vec<Trade>| reply::rows(rows, Trade::to_trade))
        })
    }

    /// The net list. Positions in products this engine does not trade are left out.
    fn positions(&self, _now: Now) -> Call<Vec<Position>> {
        use super::wire::rest::Position as Row;
        Call::http(get(Endpoint::Positions, "/portfolio/positions", Form::new()), |answer| {
            reply::read(Endpoint::Positions, answer, |both: Positions| reply::rows(both.net, Row::to_position))
        })
    }

    fn holdings(&self, _now: Now) -> Call<Vec<crate::Holding>> {
        Call::http(get(Endpoint::Holdings, "/portfolio/holdings", Form::new()), |answer| {
            reply::read(Endpoint::Holdings, answer, |rows: Vec<Holding>| reply::rows(rows, Holding::to_holding))
        })
    }

    fn margins(&self, _now: Now) -> Call<Margins> {
        Call::http(get(Endpoint::Margins, "/user/margins/equity", Form::new()), |answer| {
            reply::read(Endpoint::Margins, answer, |funds: Segment| Ok(funds.to_margins()))
        })
    }
}

fn path(id: &BrokerOrderId) -> String {
    format!("/orders/regular/{}", segment(&id.0))
}

/// A request that changes an order and is answered with its id.
fn order_call(endpoint: Endpoint, method: Method, path: String, body: Body) -> Call<BrokerOrderId> {
    let request = HttpRequest { body, authorized: true, ..request(endpoint, method, path) };
    Call::http(request, move |answer| placed(endpoint, answer))
}

fn placed(endpoint: Endpoint, answer: Result<HttpResponse, Lost>) -> Outcome<BrokerOrderId> {
    let placed = reply::read(endpoint, answer, |placed: Placed| Ok(placed))?;
    if let Some(error) = placed.failed() {
        // We never ask for slices; if the broker slices all the same and places none, its first word counts.
        let response = HttpResponse { status: error.code, ..HttpResponse::default() };
        let error = ErrorBody::new(error.error_type.as_str(), error.message.as_str());
        return Err(reply::refused(endpoint, &response, &error));
    }
    if placed.order_id.is_empty() {
        let response = HttpResponse { status: 200, ..HttpResponse::default() };
        return Err(reply::nonsense(endpoint, &response, "an empty order id"));
    }
    Ok(BrokerOrderId::new(placed.order_id))
}

fn order_rows(endpoint: Endpoint, path: String) -> Call<Vec<OrderRow>> {
    Call::http(get(endpoint, path, Form::new()), move |answer| {
        reply::read(endpoint, answer, |rows: Vec<Order>| reply::rows(rows, Order::to_row))
    })
}
