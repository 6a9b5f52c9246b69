"""What the exchange and the broker refuse, as the official SDK sees it: the exception's class, its HTTP code, its words.

Each hour of the day has an exchange of its own, since its clock starts there.
"""

import os
import tempfile

from kiteconnect import exceptions

from harness import Exchange, expect, raises

# A future of an index (lot 65, freeze quantity 1,800), as a row of the broker's dump.
DUMP = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,instrument_type,segment,exchange\n"
    '12345858,48226,NIFTY99DECFUT,"NIFTY",0,2099-12-29,0,0.1,65,FUT,NFO-FUT,NFO\n'
)


def refuses(checks, what, kind, call, text, code=400):
    checks.check("rule: " + what, lambda: raises(kind, call, code, text))


def rejects(checks, what, desk, place, text):
    """An order that gets a number and is rejected by risk management."""

    def rejected():
        row = desk.reaches(place(), "REJECTED")
        expect(text in row["status_message"], "rejected with `%s`" % row["status_message"])

    checks.check("rule: " + what, rejected)


def opened(program, desk_class, *options):
    exchange = Exchange(program, "kite", *options)
    try:
        desk = desk_class(exchange.address())
        desk.login()
        rows = desk.kite.instruments()
        desk.instruments = {row["tradingsymbol"]: row for row in rows if row["exchange"] == "NSE"}
        # The clock starts in the middle of the day: the market must have come so far.
        expect(desk.kite.ltp("NSE:RELIANCE"), "no price")
    except BaseException:
        exchange.stop()
        raise
    return exchange, desk


def continuous(checks, desk):
    wrong, refused = exceptions.InputException, exceptions.OrderException
    kite = desk.kite

    def future(**more):
        fields = dict(order_type="LIMIT", product="NRML", price=26000.0, quantity=65)
        fields.update(more)
        return kite.place_order("regular", "NFO", "NIFTY99DECFUT", "BUY", fields.pop("quantity"), **fields)

    tick = desk.price(0.97)
    refuses(checks, "a price off its tick", wrong, lambda: desk.place(price=tick + 0.03), "Tick size for this script is")
    refuses(checks, "a quantity off its lot", wrong, lambda: future(quantity=66), "multiples of 65")
    refuses(checks, "more than the freeze quantity", wrong, lambda: future(quantity=1820), "freeze quantity of 1800")
    refuses(checks, "above the upper circuit limit", wrong, lambda: desk.place(price=desk.price(1.3)), "upper circuit limit")
    refuses(checks, "below the lower circuit limit", wrong, lambda: desk.place(price=desk.price(0.7)), "lower circuit limit")
    refuses(checks, "a market order without protection", wrong, lambda: desk.place(order_type="MARKET"), "market protection")
    refuses(checks, "CNC in derivatives", wrong, lambda: future(product="CNC"), "CNC is not allowed for derivatives")
    refuses(checks, "NRML in shares", wrong, lambda: desk.place(product="NRML", price=tick), "NRML is not allowed for equity")
    refuses(checks, "no quantity", wrong, lambda: desk.place(quantity=0, price=tick), "quantity")
    refuses(checks, "an unknown instrument", wrong, lambda: desk.place(symbol="NOSUCH", price=1.0), "does not exist")
    refuses(checks, "an index is no instrument to trade", wrong, lambda: desk.place(symbol="NIFTY 50", price=26000.0), "not tradable")
    stop = dict(order_type="SL", price=desk.price(1.01), trigger_price=desk.price(1.02))
    refuses(checks, "a buy stop's trigger above its limit", wrong, lambda: desk.place(**stop), "cannot be above the limit")
    rejects(checks, "CNC sells what is held", desk, lambda: desk.place("SELL", product="CNC", price=desk.price(1.02)), "Insufficient stock holdings")
    rejects(checks, "an order beyond the funds", desk, lambda: desk.place(product="CNC", quantity=100000, price=tick), "Insufficient funds")
    desk.control(fault="halt")
    refuses(checks, "a halted market", refused, lambda: desk.place(price=tick), "is halted")
    desk.control(clear="halt")
    desk.control(fault="reject@1")
    rejects(checks, "rejected on demand", desk, lambda: desk.place(price=tick), "RMS")


def closing(checks, desk):
    refused = exceptions.OrderException
    near = desk.price(1.0)
    refuses(checks, "closing auction: stop-loss", refused,
            lambda: desk.place(order_type="SL", price=near, trigger_price=near), "Stop-loss orders are not allowed")
    refuses(checks, "closing auction: IOC", refused, lambda: desk.place(price=near, validity="IOC"), "IOC orders are not allowed")
    refuses(checks, "closing auction: disclosed quantity", refused,
            lambda: desk.place(price=near, quantity=10, disclosed_quantity=1), "disclosed quantity")
    refuses(checks, "closing auction: outside its band", exceptions.InputException,
            lambda: desk.place(price=desk.price(1.05)), "upper circuit limit")
    checks.check("rule: closing auction: a limit order inside the band", lambda: desk.reaches(desk.place(price=near), "OPEN"))


def frozen(checks, desk):
    refuses(checks, "closing auction: market orders late", exceptions.OrderException,
            lambda: desk.place(order_type="MARKET", market_protection=-1), "Market orders are currently not allowed.")


def squared(checks, desk):
    refuses(checks, "MIS after the square-off", exceptions.OrderException,
            lambda: desk.place(price=desk.price(0.99)), "not allowed after the square-off time")


def opening(checks, desk):
    refuses(checks, "outside market hours", exceptions.OrderException, lambda: desk.place(price=1450.0), "Markets are closed")


def run(checks, desk_class, program):
    folder = tempfile.mkdtemp(prefix="nirantar-rules-")
    dump = os.path.join(folder, "instruments.csv")
    with open(dump, "w", encoding="utf-8") as file:
        file.write(DUMP)
    hours = (
        (continuous, ("--instruments", dump)),
        (closing, ("--start-at", "15:21:00")),
        (frozen, ("--start-at", "15:25:30")),
        (squared, ("--start-at", "15:11:00", "--square-off")),
        (opening, ("--start-at", "16:30:00")),
    )
    for part, options in hours:
        made = checks.check("an exchange with %s" % " ".join(options[-2:]), lambda: opened(program, desk_class, *options))
        if made:
            exchange, desk = made
            try:
                part(checks, desk)
            finally:
                exchange.stop()
