"""Drives `nirantar exchange --broker kite` with Zerodha's official Python SDK (`kiteconnect` on PyPI), as its users do.

    python tests/conformance/kite_python.py PATH/TO/nirantar

One line a check, a count at the end, exit code 1 if anything failed. With NIRANTAR_FIXTURES set, the SDK also decodes
every recording in its folder `kite` first. Waiting is always for a condition, with a deadline; the pauses between calls
keep the broker's rate limits, which the exchange enforces.
"""

import datetime
import os
import sys
import time
import urllib.parse

import requests
from kiteconnect import KiteConnect, exceptions

import kite_fixtures
import kite_rules
from harness import Checks, Exchange, drive, eventually, expect, raises
from kite_ticker import check_ticker

API_KEY, API_SECRET = "nirantar", "nirantar-secret"
WHOLE_SCRIPT_SECONDS = 300
MARKET_REFUSED = "Market orders without market protection are not allowed via API."
DEAD_TOKEN = "Incorrect `api_key` or `access_token`."


class Desk:
    """The SDK's client at our exchange, and what the checks need around it."""

    def __init__(self, address):
        self.root = "http://" + address
        self.expired = 0
        self.kite = self.client()
        self.kite.set_session_expiry_hook(self.on_expiry)
        self.instruments = {}

    def client(self):
        """A client without a session that keeps the rate limits."""
        kite = KiteConnect(API_KEY, root=self.root)
        kite._default_login_uri = self.root + "/connect/login"
        plain, last = kite.reqsession.request, {}

        def paced(method, url, **options):
            path = urllib.parse.urlsplit(url).path
            # Calls a second of each kind: quotes 1, candles 3, orders 10, the rest 10.
            kind, pause = "other", 0.12
            for start, name, seconds in (("/quote", "quote", 1.1), ("/instruments/historical", "candles", 0.4)):
                if path.startswith(start):
                    kind, pause = name, seconds
            time.sleep(max(0.0, last.get(kind, 0.0) + pause - time.monotonic()))
            try:
                return plain(method, url, **options)
            finally:
                last[kind] = time.monotonic()

        kite.reqsession.request = paced
        return kite

    def on_expiry(self):
        self.expired += 1

    def request_token(self):
        """Logs in on the login page, which approves at once, and takes the code off the redirect."""
        answer = requests.get(self.kite.login_url(), allow_redirects=False, timeout=10)
        expect(answer.status_code == 302, "the login page answered %d" % answer.status_code)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)
        expect(query.get("status") == ["success"] and query.get("action") == ["login"], "redirected with %s" % sorted(query))
        return query["request_token"][0]

    def login(self):
        """A whole login."""
        return self.kite.generate_session(self.request_token(), API_SECRET)

    def control(self, **form):
        """Makes something happen at the exchange."""
        answer = requests.post(self.root + "/nirantar/control", data=form, timeout=10)
        expect(answer.status_code == 200, "control answered %d: %s" % (answer.status_code, answer.text))

    def price(self, factor, symbol="RELIANCE"):
        """About `factor` times the last price, on the instrument's tick."""
        last = self.kite.ltp("NSE:" + symbol)["NSE:" + symbol]["last_price"]
        tick = self.instruments[symbol]["tick_size"]
        return round(round(last * factor / tick) * tick, 2)

    def place(self, side="BUY", order_type="LIMIT", symbol="RELIANCE", quantity=1, **more):
        """Places an order in the exchange's regular variety."""
        more.setdefault("product", "MIS")
        return self.kite.place_order("regular", "NSE", symbol, side, quantity, order_type=order_type, **more)

    def row(self, order_id):
        """The order's row in the book."""
        rows = [row for row in self.kite.orders() if row["order_id"] == order_id]
        expect(len(rows) <= 1, "%d rows of one order" % len(rows))
        return rows[0] if rows else None

    def reaches(self, order_id, *statuses):
        """Waits for one of the statuses, and returns the row."""

        def probe():
            row = self.row(order_id)
            return row if row and row["status"] in statuses else None

        return eventually("order in %s" % " or ".join(statuses), probe)


def check_sessions(checks, desk):
    """Logging in, and the ways in which it is refused."""
    kite = desk.kite

    def wrong_secret():
        stranger = desk.client()
        code = desk.request_token()
        raises(exceptions.TokenException, lambda: stranger.generate_session(code, "wrong"), 403, "checksum")

    def session():
        data = desk.login()
        expect(isinstance(data["login_time"], datetime.datetime), "login_time %r" % data["login_time"])
        expect(data["api_key"] == API_KEY and data["access_token"] == kite.access_token, "not our session")
        expect(data["refresh_token"] == "", "an individual's app got a refresh token")
        return data

    def used_code():
        code = desk.request_token()
        kite.generate_session(code, API_SECRET)
        raises(exceptions.TokenException, lambda: desk.client().generate_session(code, API_SECRET), 403)

    def no_session():
        raises(exceptions.TokenException, desk.client().profile, 403)

    def profile():
        data = kite.profile()
        expect(data["user_id"] == opened["user_id"], "somebody else's profile")
        expect("NSE" in data["exchanges"] and "MIS" in data["products"], "exchanges or products are missing")

    checks.check("login without the right secret is refused", wrong_secret)
    checks.check("a call without a session is refused", no_session)
    opened = checks.check("login redirect and generate_session", session) or {}
    checks.check("a request token works once", used_code)
    checks.check("profile", profile)


def check_market_data(checks, desk):
    """Instruments, quotes and candles."""
    kite = desk.kite

    def instruments():
        rows = kite.instruments()
        desk.instruments = {row["tradingsymbol"]: row for row in rows if row["exchange"] == "NSE"}
        expect(desk.instruments["RELIANCE"]["instrument_token"] == 738561, "RELIANCE has another token")
        expect(desk.instruments["NIFTY 50"]["instrument_token"] == 256265, "NIFTY 50 has another token")
        expect(any(row["instrument_token"] == 265 and row["exchange"] == "BSE" for row in rows), "no SENSEX")
        expect(all(isinstance(row["lot_size"], int) for row in rows), "a lot that is no integer")
        expect({row["exchange"] for row in kite.instruments("NSE")} == {"NSE"}, "another exchange's rows")

    def ltp():
        data = kite.ltp("NSE:RELIANCE", "NSE:NOSUCH")
        expect(set(data) == {"NSE:RELIANCE"}, "an unknown instrument must be absent, got %s" % sorted(data))
        expect(data["NSE:RELIANCE"]["last_price"] > 0, "no price")

    def ohlc():
        data = kite.ohlc("NSE:INFY", "NSE:NIFTY 50")
        expect(len(data) == 2, "rows are missing")
        for row in data.values():
            day = row["ohlc"]
            expect(day["low"] <= row["last_price"] <= day["high"], "the last price is outside the day's range")

    def quote():
        row = kite.quote("NSE:RELIANCE")["NSE:RELIANCE"]
        expect(row["instrument_token"] == 738561 and row["last_price"] > 0, "no quote")
        expect(len(row["depth"]["buy"]) == len(row["depth"]["sell"]) == 5, "depth is not five levels")
        expect({"volume", "average_price", "oi", "net_change", "lower_circuit_limit", "timestamp"} <= set(row), "fields are missing")

    def throttled():
        # Three at once: two fall into one second wherever the second ends, and one a second is allowed.
        plain = KiteConnect(API_KEY, access_token=kite.access_token, root=desk.root)
        codes = []
        for _ in range(3):
            try:
                plain.ltp("NSE:RELIANCE")
            except exceptions.NetworkException as error:
                codes.append(error.code)
        expect(429 in codes, "the rate limit never struck: %s" % codes)

    def candles():
        today = kite.quote("NSE:RELIANCE")["NSE:RELIANCE"]["timestamp"]
        today = today if isinstance(today, datetime.datetime) else datetime.datetime.fromisoformat(today)
        opening = today.replace(hour=9, minute=15, second=0)
        rows = kite.historical_data(738561, opening, today + datetime.timedelta(minutes=1), "minute")
        expect(rows, "no candles")
        for row in rows:
            expect(row["low"] <= min(row["open"], row["close"]) and max(row["open"], row["close"]) <= row["high"], "a candle is bent")
            expect(row["date"].utcoffset() == datetime.timedelta(hours=5, minutes=30), "a candle is not in IST")

    checks.check("instruments", instruments)
    checks.check("ltp", ltp)
    checks.check("ohlc", ohlc)
    checks.check("quote", quote)
    checks.check("too many quotes in a second", throttled)
    checks.check("historical_data", candles)


def check_orders(checks, desk):
    """Placing, changing and cancelling, in each order type."""
    kite = desk.kite

    def limit():
        order = desk.place(price=desk.price(0.97), tag="conformance1")
        row = desk.reaches(order, "OPEN")
        expect(row["tag"] == "conformance1" and "conformance1" in row["tags"], "the tag is lost")
        expect(isinstance(row["order_timestamp"], datetime.datetime), "order_timestamp %r" % row["order_timestamp"])
        lower = desk.price(0.96)
        expect(kite.modify_order("regular", order, price=lower, quantity=3) == order, "another order was modified")
        eventually("the changed price and quantity", lambda: (desk.row(order)["price"], desk.row(order)["quantity"]) == (lower, 3))
        expect(kite.cancel_order("regular", order) == order, "another order was cancelled")
        row = desk.reaches(order, "CANCELLED")
        expect(row["filled_quantity"] == 0, "filled without a price")
        states = [state["status"] for state in kite.order_history(order)]
        wanted = ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN", "MODIFY VALIDATION PENDING",
                  "MODIFY PENDING", "MODIFIED", "OPEN", "CANCELLED"]
        rest = iter(states)
        expect(all(state in rest for state in wanted), "history is %s" % states)

    def bare_market():
        raises(exceptions.InputException, lambda: desk.place(order_type="MARKET"), 400, MARKET_REFUSED)
        raises(exceptions.InputException, lambda: desk.place(order_type="MARKET", market_protection=0), 400, MARKET_REFUSED)

    def market():
        order = desk.place(order_type="MARKET", market_protection=-1, quantity=2, tag="conformance2")
        row = desk.reaches(order, "COMPLETE")
        expect(row["filled_quantity"] == 2 and row["average_price"] > 0, "not filled")
        expect(row["order_type"] == "LIMIT" and row["price"] > 0, "a protected market order becomes a limit order")
        expect("mktp" in row["tags"] and "conformance2" in row["tags"], "tags are %s" % row["tags"])
        fills = kite.order_trades(order)
        expect(sum(fill["quantity"] for fill in fills) == 2, "fills are missing")
        expect(all(isinstance(fill["fill_timestamp"], datetime.datetime) for fill in fills), "a fill has no time")
        ids = {fill["trade_id"] for fill in kite.trades()}
        expect({fill["trade_id"] for fill in fills} <= ids, "the day's trades lack a fill")

    def marketable():
        order = desk.place("SELL", price=desk.price(0.99))
        row = desk.reaches(order, "COMPLETE")
        expect(row["average_price"] >= row["price"], "sold below its limit")

    def stop_limit():
        trigger = desk.price(1.05)
        order = desk.place(order_type="SL", price=trigger, trigger_price=trigger)
        desk.reaches(order, "TRIGGER PENDING")
        higher = desk.price(1.06)
        kite.modify_order("regular", order, order_type="SL", price=higher, trigger_price=higher)
        eventually("the changed trigger", lambda: desk.row(order)["trigger_price"] == higher)
        kite.cancel_order("regular", order)
        desk.reaches(order, "CANCELLED")

    def stop_market():
        trigger = desk.price(0.95)
        bare = lambda: desk.place("SELL", order_type="SL-M", trigger_price=trigger)
        raises(exceptions.InputException, bare, 400)
        order = desk.place("SELL", order_type="SL-M", trigger_price=trigger, market_protection=2)
        desk.reaches(order, "TRIGGER PENDING")
        kite.cancel_order("regular", order)
        desk.reaches(order, "CANCELLED")

    def immediate():
        order = desk.place(price=desk.price(0.95), validity="IOC")
        expect(desk.reaches(order, "CANCELLED")["filled_quantity"] == 0, "filled far from the market")

    def sliced():
        answer = kite.place_autoslice_order("regular", "NSE", "RELIANCE", "BUY", 1, "MIS", "LIMIT", price=desk.price(0.95))
        children = [child["order_id"] for child in answer["children"]]
        expect(answer["order_id"] not in children and children, "children are %s" % children)
        for child in children:
            expect("autoslice" in desk.reaches(child, "OPEN")["tags"], "a slice is not marked as one")
            kite.cancel_order("regular", child)
            desk.reaches(child, "CANCELLED")

    def refused():
        raises(exceptions.InputException, lambda: desk.place(quantity=0, price=desk.price(0.97)), 400)
        raises(exceptions.InputException, lambda: desk.place(symbol="NOSUCH", price=1.0), 400)
        raises(exceptions.InputException, lambda: desk.place(price=desk.price(0.97) + 0.01), 400)

    def unknown_order():
        for call in (kite.cancel_order, kite.modify_order):
            try:
                call("regular", "1")
            except exceptions.KiteException as error:
                expect(not isinstance(error, exceptions.TokenException) and 400 <= error.code < 600, "HTTP %s" % error.code)
            else:
                raise AssertionError("an order nobody placed was changed")

    checks.check("limit order: place, modify, cancel, history", limit)
    checks.check("market order without protection is refused", bare_market)
    checks.check("market order with protection fills, with trades", market)
    checks.check("marketable limit order fills within its limit", marketable)
    checks.check("stop-loss limit order: place, modify, cancel", stop_limit)
    checks.check("stop-loss market order needs protection too", stop_market)
    checks.check("immediate-or-cancel order", immediate)
    checks.check("autoslice order", sliced)
    checks.check("malformed orders are refused", refused)
    checks.check("an unknown order cannot be changed", unknown_order)


def check_account(checks, desk):
    """Positions, holdings and funds."""
    kite = desk.kite

    def positions():
        data = kite.positions()
        expect(set(data) == {"net", "day"}, "keys are %s" % sorted(data))
        rows = [row for row in data["net"] if row["tradingsymbol"] == "RELIANCE" and row["product"] == "MIS"]
        expect(len(rows) == 1 and rows[0]["quantity"] == 1, "bought 2 and sold 1, but rows are %s" % rows)
        expect(rows[0]["buy_quantity"] == 2 and rows[0]["sell_quantity"] == 1, "turnover is wrong")

    def flat():
        order = desk.place("SELL", price=desk.price(0.99))
        desk.reaches(order, "COMPLETE")
        rows = [row for row in kite.positions()["net"] if row["tradingsymbol"] == "RELIANCE"]
        expect([row["quantity"] for row in rows] == [0], "a flat position must stay as a row, rows are %s" % rows)

    def holdings():
        expect(isinstance(kite.holdings(), list), "no list")

    def margins():
        both, equity = kite.margins(), kite.margins("equity")
        expect(set(both) == {"equity", "commodity"}, "segments are %s" % sorted(both))
        expect(equity["net"] > 0 and {"cash", "live_balance"} <= set(equity["available"]), "no funds")
        expect({"debits", "span"} <= set(equity["utilised"]), "utilised is missing")

    checks.check("positions", positions)
    checks.check("a flat position stays in net", flat)
    checks.check("holdings", holdings)
    checks.check("margins", margins)


def check_refusals(checks, desk):
    """What is a dead token, what is not, and what the SDK makes of each."""
    kite = desk.kite

    def wrong_ip():
        before = desk.expired
        desk.control(fault="permission-exception")
        try:
            raises(exceptions.PermissionException, lambda: desk.place(price=desk.price(0.97)), 403)
        finally:
            desk.control(clear="all")
        expect(desk.expired == before, "a wrong IP was taken for an expired session")
        kite.profile()

    def invalidated():
        desk.login()
        expect(kite.invalidate_access_token() is True, "not `true`")
        raises(exceptions.TokenException, kite.profile, 403, DEAD_TOKEN)
        desk.login()
        kite.profile()

    def replaced():
        old = desk.client()
        old.set_access_token(kite.access_token)
        desk.login()
        raises(exceptions.TokenException, old.profile, 403, DEAD_TOKEN)
        kite.profile()

    checks.check("a wrong IP is a PermissionException, not an expiry", wrong_ip)
    checks.check("invalidate_access_token", invalidated)
    checks.check("a new login kills the old token", replaced)


def check_death(checks, desk):
    """The token dies; everything authorised says so, the hook fires, and a new login goes on."""
    kite = desk.kite

    def dead():
        before = desk.expired
        desk.control(**{"kill-token": "1"})
        raises(exceptions.TokenException, kite.profile, 403, DEAD_TOKEN)
        expect(desk.expired == before + 1, "the session-expiry hook fired %d times" % (desk.expired - before))
        raises(exceptions.TokenException, lambda: desk.place(price=1000.0), 403, DEAD_TOKEN)
        raises(exceptions.TokenException, kite.orders, 403, DEAD_TOKEN)

    def back():
        book = desk.login() and kite.orders()
        expect(len(book) > 0, "the day's orders are gone with the token")

    checks.check("a dead token is a TokenException and fires the hook", dead)
    checks.check("a new login sees the same day", back)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    checks = Checks()
    folder = os.environ.get("NIRANTAR_FIXTURES")
    if folder:
        kite_fixtures.run(checks, os.path.join(folder, "kite"))
    else:
        print("skipped: the recordings, since NIRANTAR_FIXTURES is not set", flush=True)
        if os.environ.get("NIRANTAR_REQUIRE_FIXTURES") == "1":
            checks.check("the recordings are there", expect, False, "NIRANTAR_REQUIRE_FIXTURES=1 without NIRANTAR_FIXTURES")

    parts = (check_sessions, check_market_data, check_orders, check_account, check_refusals, check_ticker, check_death)

    def use(address):
        desk = Desk(address)
        for part in parts:
            part(checks, desk)
        kite_rules.run(checks, Desk, sys.argv[1])

    return drive(checks, Exchange(sys.argv[1], "kite"), WHOLE_SCRIPT_SECONDS, use)


if __name__ == "__main__":
    sys.exit(main())
