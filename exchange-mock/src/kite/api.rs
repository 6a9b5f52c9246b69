//! The REST API: which path means what, and what stands between a request and its effect.
//!
//! The order of checks: a gateway's faults (5xx, 429), rate limits, the token, permissions, then the request itself. What
//! the broker does first among them is not documented; a client can only rely on each refusal's own words.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Form, Method};

use super::core::KiteExchange;
use super::fault::{Fault, Moment, Scope};
use super::limits::Bucket;
use super::log::{OrderAction, OrderLog};
use super::reply::{ApiError, HttpParts, Reply, Transport};

/// What [`Fault::Garbage`] answers: half an answer, and bytes that are no text.
const GARBAGE: &[u8] = b"{\"status\":\"success\",\"data\":{\"order_id\":\"15\xff\x00<html>";

/// What a request is for. Texts are parts of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Login,
    SessionToken,
    Renew,
    Invalidate,
    Profile,
    Margins(Option<&'a str>),
    Place { variety: &'a str },
    Modify { variety: &'a str, id: &'a str },
    Cancel { variety: &'a str, id: &'a str },
    Book,
    History(&'a str),
    OrderTrades(&'a str),
    Trades,
    Positions,
    Holdings,
    Instruments(Option<&'a str>),
    Quote,
    Ohlc,
    Ltp,
    Historical { token: &'a str, interval: &'a str },
}

impl Route<'_> {
    const fn bucket(self) -> Option<Bucket> {
        Some(match self {
            // The login page is a site of its own.
            Self::Login => return None,
            Self::Place { .. } | Self::Modify { .. } | Self::Cancel { .. } => Bucket::Orders,
            Self::Quote | Self::Ohlc | Self::Ltp => Bucket::Quote,
            Self::Historical { .. } => Bucket::Historical,
            _ => Bucket::Other,
        })
    }

    const fn order_action(self) -> Option<OrderAction> {
        match self {
            Self::Place { .. } => Some(OrderAction::Place),
            Self::Modify { .. } => Some(OrderAction::Modify),
            Self::Cancel { .. } => Some(OrderAction::Cancel),
            _ => None,
        }
    }

    const fn is_market_data(self) -> bool {
        matches!(self, Self::Quote | Self::Ohlc | Self::Ltp | Self::Historical { .. })
    }

    const fn is_read_of_account(self) -> bool {
        matches!(
            self,
            Self::Margins(_)
                | Self::Book
                | Self::History(_)
                | Self::OrderTrades(_)
                | Self::Trades
                | Self::Positions
                | Self::Holdings
        )
    }

    const fn needs_token(self) -> bool {
        !matches!(self, Self::Login | Self::SessionToken | Self::Renew | Self::Invalidate | Self::Instruments(_))
    }
}

/// What an order request came to, beside its answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Acted {
    /// Whether the exchange acted on it.
    pub(super) accepted: bool,
    /// The order's number.
    pub(super) order_id: Option<String>,
}

impl KiteExchange {
    /// Answers a request.
    pub fn handle(&mut self, parts: &HttpParts, now: Timestamp) -> Reply {
        self.advance(now);
        if parts.path.starts_with("/nirantar/") {
            return self.handle_control(parts);
        }
        if let Some(reset) = self.reset_before_body(parts) {
            return reset;
        }
        self.log.requests += 1;
        let route = match route(parts.method, &parts.path) {
            Ok(route) => route,
            Err(error) => return error.into(),
        };
        let mut acted = Acted::default();
        let mut reply = self.answer(route, parts, &mut acted).unwrap_or_else(Reply::from);
        if acted.accepted {
            self.lose_answer(&mut reply);
        }
        if reply.transport == Transport::Normal && route.bucket().is_some() {
            let slow = self.faults.take(|fault| if let Fault::Slow(span) = fault { Some(span) } else { None });
            reply.transport = slow.map_or(Transport::Normal, Transport::Delay);
        }
        self.note_request(route, parts, acted, &reply);
        reply
    }

    /// What becomes of a request whose body was not read yet (that of `parts` is not looked at), if that can be said: the
    /// connection is reset. Otherwise the body is to be read and the whole [handled](Self::handle).
    pub fn handle_head(&mut self, parts: &HttpParts, now: Timestamp) -> Option<Reply> {
        self.advance(now);
        self.reset_before_body(parts)
    }

    fn reset_before_body(&mut self, parts: &HttpParts) -> Option<Reply> {
        let route = route(parts.method, &parts.path).ok().filter(|route| route.order_action().is_some())?;
        if !self.faults.hit(Fault::Reset(Moment::BeforeBody)) {
            return None;
        }
        self.log.requests += 1;
        let reset = no_answer();
        // What the body says, and so the tag, nobody has read.
        let head = HttpParts { body: Form::new(), ..parts.clone() };
        self.note_request(route, &head, Acted::default(), &reset);
        Some(reset)
    }

    fn answer(&mut self, route: Route<'_>, parts: &HttpParts, acted: &mut Acted) -> Result<Reply, ApiError> {
        if let Some(refusal) = self.pass_gateway(route)? {
            return Ok(refusal);
        }
        let mut stranger = None;
        if route.needs_token() {
            let token = self.tokens.authorize(parts.authorization.as_ref())?;
            if self.faults.hit(Fault::TokenException) {
                return Err(ApiError::dead_token());
            }
            stranger = self.tokens.stranger(&token).map(str::to_owned);
            if stranger.is_some() && route != Route::Profile {
                return Err(ApiError::new(403, "PermissionException", "Insufficient permission for that call."));
            }
        }
        if route.order_action().is_some() {
            if self.faults.hit(Fault::PermissionException) {
                return Err(ApiError::wrong_ip());
            }
            if self.faults.hit(Fault::Reset(Moment::AfterBody)) {
                return Ok(no_answer());
            }
            if self.faults.hit(Fault::TimedOut { accepted: false }) {
                return Err(ApiError::timed_out());
            }
        }
        if route.is_market_data() && self.faults.hit(Fault::PermissionData) {
            return Err(ApiError::no_data_plan());
        }
        let data = match route {
            Route::Login => return self.login(&parts.query),
            Route::Instruments(exchange) => return self.instruments_csv(exchange),
            Route::SessionToken => self.session_token(&parts.body)?,
            Route::Renew => self.renew(&parts.body)?,
            Route::Invalidate => self.invalidate(&parts.query)?,
            Route::Profile => self.profile(stranger.as_deref())?,
            Route::Margins(segment) => self.margins(segment)?,
            Route::Place { variety } => self.place(variety, &parts.body, acted)?,
            Route::Modify { variety, id } => self.modify(variety, id, &parts.body, acted)?,
            Route::Cancel { variety, id } => self.cancel(variety, id, acted)?,
            Route::Book => return self.book(),
            Route::History(id) => self.history(id)?,
            Route::OrderTrades(id) => return self.order_trades(id),
            Route::Trades => return self.trades(),
            Route::Positions => self.positions()?,
            Route::Holdings => self.holdings()?,
            Route::Quote => self.quote(&parts.query)?,
            Route::Ohlc => self.ohlc(&parts.query)?,
            Route::Ltp => self.ltp(&parts.query)?,
            Route::Historical { token, interval } => self.historical(token, interval, &parts.query)?,
        };
        Ok(Reply::success(data))
    }

    /// 5xx and 429, before anything is looked at.
    fn pass_gateway(&mut self, route: Route<'_>) -> Result<Option<Reply>, ApiError> {
        let Some(bucket) = route.bucket() else {
            return Ok(None);
        };
        let down = self.faults.take(|fault| match fault {
            Fault::Http { status, scope: Scope::All } => Some(status),
            Fault::Http { status, scope: Scope::Orders } if route.order_action().is_some() => Some(status),
            _ => None,
        });
        if let Some(status) = down {
            return Err(ApiError::server(status));
        }
        let within = !self.settings.rate_limits || self.limits.allow(bucket, self.now.as_unix_seconds());
        if !within {
            return Err(ApiError::too_many());
        }
        let throttled = self
            .faults
            .take(|fault| if let Fault::Throttle { retry_after } = fault { Some(retry_after) } else { None });
        Ok(throttled.map(|wait| {
            let refusal = Reply::from(ApiError::too_many());
            match wait {
                // The header knows whole seconds: never fewer than meant.
                Some(wait) => refusal.with_header("Retry-After", wait.as_millis().div_ceil(1_000).to_string()),
                None => refusal,
            }
        }))
    }

    /// The faults that take the answer of an order call that was acted on.
    fn lose_answer(&mut self, reply: &mut Reply) {
        let lie = self.faults.take(|fault| match fault {
            Fault::Http { status, scope: Scope::Accepted } => Some(status),
            _ => None,
        });
        if let Some(status) = lie {
            *reply = ApiError::server(status).into();
        } else if self.faults.hit(Fault::Garbage) {
            reply.body = GARBAGE.to_vec();
        } else if self.faults.hit(Fault::TimedOut { accepted: true }) {
            *reply = ApiError::timed_out().into();
        } else if self.faults.hit(Fault::Reset(Moment::Accepted)) {
            *reply = no_answer();
        } else if let Some(span) =
            self.faults.take(|fault| if let Fault::Late(span) = fault { Some(span) } else { None })
        {
            reply.transport = Transport::Delay(span);
        } else if self.faults.hit(Fault::NoReply) {
            reply.transport = Transport::Hang;
        } else if self.faults.hit(Fault::ReplyCut) {
            reply.transport = Transport::Cut;
        }
    }

    fn note_request(&mut self, route: Route<'_>, parts: &HttpParts, acted: Acted, reply: &Reply) {
        if route == Route::Profile {
            let count = if reply.status == 200 { &mut self.log.probes_accepted } else { &mut self.log.probes_refused };
            *count += 1;
        }
        let token = parts.authorization.as_ref().and_then(|header| header.expose().rsplit_once(':'));
        let token = token.map(|(_, token)| nirantar_brokers::Fingerprint::of(token));
        if let Some(token) = token.filter(|_| route.is_read_of_account()) {
            let reads = self.log.reads.entry(token).or_default();
            let count = if reply.status == 200 { &mut reads.accepted } else { &mut reads.refused };
            *count += 1;
        }
        let Some(action) = route.order_action() else {
            return;
        };
        let named = match route {
            Route::Modify { id, .. } | Route::Cancel { id, .. } => Some(id.to_owned()),
            _ => None,
        };
        self.log.orders.push(OrderLog {
            at: self.now,
            action,
            tag: parts.body.get("tag").map(str::to_owned),
            order_id: acted.order_id.or(named),
            accepted: acted.accepted,
            token,
            status: matches!(reply.transport, Transport::Normal | Transport::Delay(_)).then_some(reply.status),
        });
        self.order_noted();
    }

    /// `GET /connect/login`: approves at once and sends the browser back.
    fn login(&mut self, query: &Form) -> Result<Reply, ApiError> {
        let request = self.tokens.approve(query.get("api_key"), self.now)?;
        let mut back = Form::new()
            .with_secret("request_token", &request)
            .with("action", "login")
            .with("type", "login")
            .with("status", "success")
            .encode();
        // A query string inside the query. What the desk itself says cannot be overridden with it.
        let echo = form_urlencoded::parse(query.get("redirect_params").unwrap_or_default().as_bytes())
            .filter(|(name, _)| !matches!(name.as_ref(), "request_token" | "action" | "type" | "status"))
            .fold(form_urlencoded::Serializer::new(String::new()), |mut echo, (name, value)| {
                echo.append_pair(&name, &value);
                echo
            })
            .finish();
        if !echo.is_empty() {
            back = format!("{back}&{echo}");
        }
        let joint = if self.settings.redirect_url.contains('?') { '&' } else { '?' };
        Ok(Reply::redirect(format!("{}{joint}{back}", self.settings.redirect_url)))
    }
}

/// A connection reset in place of an answer.
fn no_answer() -> Reply {
    Reply::new(500, "text/plain", "").by(Transport::Reset)
}

/// Reads a method and path. Empty segments and a closing slash are part of no path here.
fn route(method: Method, path: &str) -> Result<Route<'_>, ApiError> {
    use Method::{Delete, Get, Post, Put};
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let parts: [Option<&str>; 5] = std::array::from_fn(|_| segments.next());
    if parts.iter().flatten().any(|part| part.is_empty()) {
        return Err(ApiError::no_route());
    }
    let only = |wanted: Method, route| if method == wanted { Ok(route) } else { Err(ApiError::wrong_method()) };
    match parts {
        [Some("connect"), Some("login"), None, ..] => only(Get, Route::Login),
        [Some("session"), Some("token"), None, ..] => match method {
            Post => Ok(Route::SessionToken),
            Delete => Ok(Route::Invalidate),
            _ => Err(ApiError::wrong_method()),
        },
        [Some("session"), Some("refresh_token"), None, ..] => only(Post, Route::Renew),
        [Some("user"), Some("profile"), None, ..] => only(Get, Route::Profile),
        [Some("user"), Some("margins"), segment, None, _] => only(Get, Route::Margins(segment)),
        [Some("orders"), None, ..] => only(Get, Route::Book),
        [Some("orders"), Some(part), None, ..] => match method {
            Get => Ok(Route::History(part)),
            Post => Ok(Route::Place { variety: part }),
            _ => Err(ApiError::wrong_method()),
        },
        [Some("orders"), Some(id), Some("trades"), None, _] if method == Get => Ok(Route::OrderTrades(id)),
        [Some("orders"), Some(variety), Some(id), None, _] => match method {
            Put => Ok(Route::Modify { variety, id }),
            Delete => Ok(Route::Cancel { variety, id }),
            _ => Err(ApiError::wrong_method()),
        },
        [Some("trades"), None, ..] => only(Get, Route::Trades),
        [Some("portfolio"), Some("positions"), None, ..] => only(Get, Route::Positions),
        [Some("portfolio"), Some("holdings"), None, ..] => only(Get, Route::Holdings),
        [Some("instruments"), Some("historical"), Some(token), Some(interval), None] => {
            only(Get, Route::Historical { token, interval })
        }
        [Some("instruments"), exchange, None, ..] => only(Get, Route::Instruments(exchange)),
        [Some("quote"), None, ..] => only(Get, Route::Quote),
        [Some("quote"), Some("ohlc"), None, ..] => only(Get, Route::Ohlc),
        [Some("quote"), Some("ltp"), None, ..] => only(Get, Route::Ltp),
        _ => Err(ApiError::no_route()),
    }
}
