//! Session and account over REST: tokens, profile, funds, positions, holdings (kite.md 1 and 2.8, 2.9).

use nirantar_brokers::kite::wire::rest::{self, Profile, Renewed, Segment};
use nirantar_brokers::{AccessToken, Form, Money, Quantity, Secret, Session};
use serde_json::{Value, json};

use super::core::KiteExchange;
use super::log::{How, SessionLog};
use super::orders::to_json;
use super::reply::ApiError;
use super::tokens::Issued;

impl KiteExchange {
    /// A session as after a login by a human, with all that a login does to older tokens.
    pub fn log_in(&mut self, now: nirantar_brokers::time::Timestamp) -> Session {
        let user = self.settings.user_id.clone();
        self.log_in_as(&user, now)
    }

    /// The same for any user of the app. The server keeps one account: the token of a user who does not own it proves
    /// whose it is (the profile) and opens nothing else.
    pub fn log_in_as(&mut self, user: &str, now: nirantar_brokers::time::Timestamp) -> Session {
        self.advance(now);
        let stranger = (user != self.settings.user_id).then(|| user.to_owned());
        let issued = self.tokens.issue_to(stranger, self.now);
        self.note_session(How::Login, &issued);
        self.bury_all(&issued.killed);
        Session {
            user_id: user.to_owned(),
            access_token: issued.access,
            refresh_token: issued.refresh,
            login_time: Some(issued.at),
            expires_at: None,
        }
    }

    /// `POST /session/token`.
    pub(super) fn session_token(&mut self, form: &Form) -> Result<Value, ApiError> {
        let issued = self.tokens.exchange(form, self.now)?;
        self.note_session(How::Login, &issued);
        self.bury_all(&issued.killed);
        self.session_json(None, issued.access, issued.refresh)
    }

    /// `POST /session/refresh_token`.
    pub(super) fn renew(&mut self, form: &Form) -> Result<Value, ApiError> {
        let renewed = self.tokens.renew(form, self.now);
        let issued = renewed.inspect_err(|_| self.log.renewals_refused += 1)?;
        self.note_session(How::Renewal, &issued);
        self.bury_all(&issued.killed);
        to_json(&Renewed {
            user_id: self.settings.user_id.clone(),
            access_token: issued.access.secret().clone(),
            refresh_token: issued.refresh.unwrap_or_else(|| Secret::new("")),
        })
    }

    fn note_session(&mut self, how: How, issued: &Issued) {
        let (at, token) = (issued.at, issued.access.fingerprint());
        self.log.sessions.push(SessionLog { at, how, token });
    }

    /// `DELETE /session/token`.
    pub(super) fn invalidate(&mut self, query: &Form) -> Result<Value, ApiError> {
        let dead = self.tokens.invalidate(query)?;
        self.bury_all(&dead);
        Ok(json!(true))
    }

    /// `GET /user/profile`.
    pub(super) fn profile(&self, stranger: Option<&str>) -> Result<Value, ApiError> {
        to_json(&self.whose(stranger))
    }

    /// `GET /user/margins[/{segment}]`. There is no money in commodities.
    pub(super) fn margins(&self, segment: Option<&str>) -> Result<Value, ApiError> {
        let funds = self.exchange.funds();
        let mut equity = Segment::from_margins(&self.exchange.margins());
        equity.available.opening_balance = funds.opening;
        equity.utilised = rest::Utilised {
            m2m_realised: funds.realised,
            m2m_unrealised: funds.unrealised,
            holding_sales: funds.delivered,
            delivery: funds.withheld,
            ..equity.utilised
        };
        match segment {
            None => to_json(&rest::Margins { equity, commodity: Some(Segment::default()) }),
            Some("equity") => to_json(&equity),
            Some("commodity") => to_json(&Segment::default()),
            Some(_) => Err(ApiError::input("Invalid `segment`.")),
        }
    }

    /// `GET /portfolio/positions`. `day` has what was traded today; flat rows stay until the day ends.
    pub(super) fn positions(&self) -> Result<Value, ApiError> {
        let rows: Vec<rest::Position> = self
            .exchange
            .positions()
            .iter()
            .filter_map(|position| {
                let token = self.exchange.instrument(&position.instrument)?.token;
                let mut row = rest::Position::from_position(position, token);
                carry_over(&mut row, self.exchange.overnight(&position.instrument, position.product));
                Some(row)
            })
            .collect();
        let today = |row: &&rest::Position| !(row.day_buy_quantity + row.day_sell_quantity).is_zero();
        let day = rows.iter().filter(today).cloned().collect();
        to_json(&rest::Positions { net: rows, day })
    }

    /// `GET /portfolio/holdings`.
    pub(super) fn holdings(&self) -> Result<Value, ApiError> {
        let rows: Vec<rest::Holding> = self
            .exchange
            .holdings()
            .iter()
            .filter_map(|holding| {
                let token = self.exchange.instrument(&holding.instrument)?.token;
                let close = self.exchange.market(&holding.instrument).map_or(holding.last_price, |now| now.ohlc.close);
                let mut row = rest::Holding::from_holding(holding, token, close);
                row.used_quantity = self.exchange.delivered(&holding.instrument);
                Some(row)
            })
            .collect();
        to_json(&rows)
    }

    /// A session issued just now, as the broker writes it.
    pub(super) fn session_json(
        &self,
        stranger: Option<&str>,
        access: AccessToken,
        refresh: Option<Secret>,
    ) -> Result<Value, ApiError> {
        to_json(&rest::Session {
            profile: self.whose(stranger),
            api_key: self.settings.api_key.clone(),
            access_token: access.secret().clone(),
            public_token: Secret::new(""),
            enctoken: Secret::new(""),
            refresh_token: refresh.unwrap_or_else(|| Secret::new("")),
            silo: String::new(),
            login_time: Some(self.now),
        })
    }

    fn bury_all(&mut self, dead: &[AccessToken]) {
        for token in dead {
            self.bury(token);
        }
    }

    fn whose(&self, stranger: Option<&str>) -> Profile {
        match stranger {
            Some(user) => Profile::individual(user, "Somebody Else"),
            None => Profile::individual(&self.settings.user_id, &self.settings.user_name),
        }
    }
}

/// Tells what the day began with from what was traded today.
fn carry_over(row: &mut rest::Position, (quantity, cost): (i64, Money)) {
    let units = Quantity::new(quantity.unsigned_abs());
    let (bought, sold) = if quantity >= 0 { (units, Quantity::ZERO) } else { (Quantity::ZERO, units) };
    let (buys, sells) = if quantity >= 0 { (cost, Money::ZERO) } else { (Money::ZERO, cost) };
    row.overnight_quantity = quantity;
    row.day_buy_quantity = row.buy_quantity.less(bought);
    row.day_buy_value = row.buy_value - buys;
    row.day_buy_price = row.day_buy_value.per_unit(row.day_buy_quantity);
    row.day_sell_quantity = row.sell_quantity.less(sold);
    row.day_sell_value = row.sell_value - sells;
    row.day_sell_price = row.day_sell_value.per_unit(row.day_sell_quantity);
}
