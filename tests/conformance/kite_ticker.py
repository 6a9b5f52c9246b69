"""The SDK's `KiteTicker` at our exchange: three modes, index packets, order updates, and a token that dies under it.

One ticker for all of it: the SDK's reactor runs once in a process.
"""

import threading

from kiteconnect import KiteTicker

from harness import eventually, expect

RELIANCE, INFY, TCS, NIFTY, SENSEX = 738561, 408065, 2953217, 256265, 265
NAMES = {RELIANCE: "RELIANCE", INFY: "INFY", TCS: "TCS", NIFTY: "NIFTY 50", SENSEX: "SENSEX"}


class Listener:
    """A ticker and all it was told. Callbacks come on the reactor's thread, so what they write is under a lock."""

    def __init__(self, desk):
        self.lock = threading.Lock()
        self.seen, self.orders, self.opened, self.closed, self.errors, self.heartbeats = {}, [], 0, [], [], 0
        self.ticker = KiteTicker(desk.kite.api_key, desk.kite.access_token, root=desk.root.replace("http", "ws", 1))
        self.ticker.on_ticks = self.on_ticks
        self.ticker.on_order_update = lambda _, order: self.note(self.orders, order)
        self.ticker.on_close = lambda _, code, reason: self.note(self.closed, (code, str(reason)))
        self.ticker.on_error = lambda _, code, reason: self.note(self.errors, (code, str(reason)))
        self.ticker.on_connect = self.on_connect
        self.ticker.on_message = self.on_message

    def note(self, where, what):
        with self.lock:
            where.append(what)

    def on_connect(self, *_):
        with self.lock:
            self.opened += 1

    def on_message(self, _, payload, is_binary):
        with self.lock:
            self.heartbeats += int(is_binary and len(payload) == 1)

    def on_ticks(self, _, ticks):
        with self.lock:
            for tick in ticks:
                self.seen.setdefault((tick["instrument_token"], tick["mode"]), []).append(tick)

    def ticks(self, token, mode):
        with self.lock:
            return list(self.seen.get((token, mode), []))

    def on_reactor(self, function, *arguments):
        """Runs on the reactor's thread, as the SDK asks of whoever calls a running ticker."""
        self.ticker.factory.reactor.callFromThread(function, *arguments)


def check_ticker(checks, desk):
    """Everything a ticker's user sees."""
    listener = Listener(desk)
    ticker = listener.ticker

    def connects():
        ticker.connect(threaded=True)
        eventually("an open socket", lambda: listener.opened and ticker.is_connected())

    def subscribes():
        listener.on_reactor(ticker.subscribe, list(NAMES))
        listener.on_reactor(ticker.set_mode, ticker.MODE_FULL, [RELIANCE, NIFTY])
        listener.on_reactor(ticker.set_mode, ticker.MODE_QUOTE, [INFY, SENSEX])
        listener.on_reactor(ticker.set_mode, ticker.MODE_LTP, [TCS])

    def arrives(token, mode, fields, tradable):
        # The first may be the state at the time of subscribing; the second is the market's.
        tick = eventually("two ticks", lambda: listener.ticks(token, mode)[1:])[-1]
        expect(tick["tradable"] is tradable, "tradable is %s" % tick["tradable"])
        expect(tick["last_price"] > 0, "no price")
        expect(fields <= set(tick), "fields are missing: %s" % sorted(fields - set(tick)))
        if "ohlc" in fields:
            expect(tick["ohlc"]["low"] <= tick["last_price"] <= tick["ohlc"]["high"], "the price is outside the day's range")
        if "depth" in fields:
            expect(len(tick["depth"]["buy"]) == len(tick["depth"]["sell"]) == 5, "depth is not five levels")

    def changes_mode():
        listener.on_reactor(ticker.set_mode, ticker.MODE_FULL, [TCS])
        eventually("TCS in full", lambda: listener.ticks(TCS, "full"))

    def order_update():
        order = desk.place(price=desk.price(0.97), tag="conformance3")
        updates = lambda: [update for update in listener.orders if update["order_id"] == order]
        eventually("an update of the placed order", updates)
        desk.kite.cancel_order("regular", order)
        last = eventually("its cancellation", lambda: [update for update in updates() if update["status"] == "CANCELLED"])[-1]
        expect(last["tag"] == "conformance3" and last["tradingsymbol"] == "RELIANCE", "another order's update")

    def unsubscribes():
        listener.on_reactor(ticker.unsubscribe, list(NAMES))
        before = listener.heartbeats
        eventually("heartbeats on an idle socket", lambda: listener.heartbeats >= before + 2)

    def refuses_a_dead_token():
        expect(not listener.closed, "the socket was closed before: %s" % listener.closed)
        desk.control(**{"kill-token": "1"})
        eventually("the socket of the dead token closed", lambda: listener.closed)
        # The SDK knocks again by itself, with the same token.
        eventually("403 at the handshake", lambda: [reason for _, reason in listener.closed + listener.errors if "403" in reason])
        expect(listener.opened == 1, "a dead token was let in")
        listener.on_reactor(ticker.stop_retry)
        desk.login()

    quote = {"ohlc", "change"}
    trades = {"volume_traded", "average_traded_price", "total_buy_quantity"}
    full = quote | trades | {"depth", "oi", "last_trade_time", "exchange_timestamp"}
    checks.check("ticker connects", connects)
    checks.check("ticker subscribes and sets modes", subscribes)
    checks.check("ticks in full mode", arrives, RELIANCE, "full", full, True)
    checks.check("ticks in quote mode", arrives, INFY, "quote", quote | trades, True)
    checks.check("ticks in ltp mode", arrives, TCS, "ltp", set(), True)
    checks.check("an index in full mode", arrives, NIFTY, "full", quote | {"exchange_timestamp"}, False)
    checks.check("an index in quote mode", arrives, SENSEX, "quote", quote, False)
    checks.check("a mode changes while it runs", changes_mode)
    checks.check("order updates", order_update)
    checks.check("unsubscribe leaves heartbeats", unsubscribes)
    checks.check("a token that dies closes the socket and 403 refuses it", refuses_a_dead_token)
