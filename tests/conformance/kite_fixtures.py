"""Puts every recorded Kite answer and packet through the parser the official Python SDK has for it, and compares what
comes out with the recording. This proves the SDK under test is the one the recordings belong to, so that the checks
against `nirantar exchange` measure our server and not the SDK.

NIRANTAR_FIXTURES names the folder. Files are found by name, so a larger set of recordings is checked as far as the SDK
has parsers; one without a parser is listed, not failed.
"""

import base64
import csv
import datetime
import io
import json
import os
import struct

import dateutil.parser
import requests
from kiteconnect import KiteConnect, KiteTicker

from harness import expect

ORDER = ("regular", "NSE", "INFY", "BUY", 1, "MIS", "LIMIT")
MARGIN = [{"exchange": "NSE", "tradingsymbol": "INFY"}]
GTT = [{"transaction_type": "BUY", "quantity": 1, "order_type": "LIMIT", "product": "CNC", "price": 1}]

# What the SDK calls for a recording, and the part of `data` it answers with.
WHOLE = lambda data: data
ORDER_ID = lambda data: data["order_id"]
PARSERS = {
    "auctions_list.json": (lambda k: k.get_auction_instruments(), WHOLE),
    "autoslice_response.json": (lambda k: k.place_autoslice_order(*ORDER), WHOLE),
    "basket_margins.json": (lambda k: k.basket_order_margins(MARGIN), WHOLE),
    "convert_position.json": (lambda k: k.convert_position("NSE", "INFY", "BUY", "day", 1, "MIS", "CNC"), WHOLE),
    "generate_session.json": (lambda k: k.generate_session("request", "secret"), WHOLE),
    "gtt_delete_order.json": (lambda k: k.delete_gtt(1), WHOLE),
    "gtt_get_order.json": (lambda k: k.get_gtt(1), WHOLE),
    "gtt_get_orders.json": (lambda k: k.get_gtts(), WHOLE),
    "gtt_modify_order.json": (lambda k: k.modify_gtt(1, "single", "INFY", "NSE", [1], 1, GTT), WHOLE),
    "gtt_place_order.json": (lambda k: k.place_gtt("single", "INFY", "NSE", [1], 1, GTT), WHOLE),
    "holdings.json": (lambda k: k.holdings(), WHOLE),
    "ltp.json": (lambda k: k.ltp("NSE:INFY"), WHOLE),
    "margin_commodity.json": (lambda k: k.margins("commodity"), WHOLE),
    "margins.json": (lambda k: k.margins(), WHOLE),
    "margins_equity.json": (lambda k: k.margins("equity"), WHOLE),
    "mf_holdings.json": (lambda k: k.mf_holdings(), WHOLE),
    "mf_order_cancel.json": (lambda k: k.cancel_mf_order(1), WHOLE),
    "mf_order_response.json": (lambda k: k.place_mf_order("X", "BUY", 1), WHOLE),
    "mf_orders.json": (lambda k: k.mf_orders(), WHOLE),
    "mf_orders_info.json": (lambda k: k.mf_orders(1), WHOLE),
    "mf_sip_cancel.json": (lambda k: k.cancel_mf_sip(1), WHOLE),
    "mf_sip_info.json": (lambda k: k.mf_sips(1), WHOLE),
    "mf_sip_modify.json": (lambda k: k.modify_mf_sip(1), WHOLE),
    "mf_sip_place.json": (lambda k: k.place_mf_sip("X", 1, 1, "monthly"), WHOLE),
    "mf_sips.json": (lambda k: k.mf_sips(), WHOLE),
    "ohlc.json": (lambda k: k.ohlc("NSE:INFY"), WHOLE),
    "order_cancel.json": (lambda k: k.cancel_order("regular", "1"), ORDER_ID),
    "order_info.json": (lambda k: k.order_history("1"), WHOLE),
    "order_margins.json": (lambda k: k.order_margins(MARGIN), WHOLE),
    "order_modify.json": (lambda k: k.modify_order("regular", "1"), ORDER_ID),
    "order_response.json": (lambda k: k.place_order(*ORDER), ORDER_ID),
    "order_trades.json": (lambda k: k.order_trades("1"), WHOLE),
    "orders.json": (lambda k: k.orders(), WHOLE),
    "positions.json": (lambda k: k.positions(), WHOLE),
    "profile.json": (lambda k: k.profile(), WHOLE),
    "quote.json": (lambda k: k.quote("NSE:INFY"), WHOLE),
    "trades.json": (lambda k: k.trades(), WHOLE),
    "trigger_range.json": (lambda k: k.trigger_range("BUY", "NSE:INFY"), WHOLE),
    "virtual_contract_note.json": (lambda k: k.get_virtual_contract_note(MARGIN), WHOLE),
}


class Recorded(requests.adapters.BaseAdapter):
    """Answers every request with one recording."""

    def __init__(self, body, content_type):
        super().__init__()
        self.body, self.content_type = body, content_type

    def send(self, request, **_):
        response = requests.Response()
        response.status_code = 200
        response.headers["content-type"] = self.content_type
        response.raw = io.BytesIO(self.body)
        response.request, response.url = request, request.url
        return response

    def close(self):
        pass


def client(body, content_type):
    """An SDK client that gets this recording for an answer, and no network."""
    kite = KiteConnect("key", access_token="token", root="http://recorded")
    kite.reqsession.mount("http://", Recorded(body, content_type))
    return kite


def same(sdk, recorded, where="data"):
    """Compares all the way down. A time the SDK has made of a text is compared as that time."""
    if isinstance(sdk, datetime.datetime):
        expect(sdk == dateutil.parser.parse(recorded), "%s: %s is not %s" % (where, sdk, recorded))
    elif isinstance(recorded, dict):
        expect(isinstance(sdk, dict) and set(sdk) == set(recorded), "%s: other keys" % where)
        for key in recorded:
            same(sdk[key], recorded[key], "%s.%s" % (where, key))
    elif isinstance(recorded, list):
        expect(isinstance(sdk, list) and len(sdk) == len(recorded), "%s: other length" % where)
        for index, item in enumerate(recorded):
            same(sdk[index], item, "%s[%d]" % (where, index))
    else:
        expect(sdk == recorded, "%s: %r is not %r" % (where, sdk, recorded))


def check_json(body, name):
    """One recorded answer through the SDK's method for it."""
    call, part = PARSERS[name]
    same(call(client(body, "application/json")), part(json.loads(body)["data"]))


def check_candles(body):
    """Recorded candles."""
    recorded = json.loads(body)["data"]["candles"]
    candles = client(body, "application/json").historical_data(1, "", "", "minute")
    rows = [[c["date"], c["open"], c["high"], c["low"], c["close"], c["volume"]] + ([c["oi"]] if "oi" in c else []) for c in candles]
    expect(rows, "no candles")
    same(rows, recorded)


def check_instruments(body):
    """A recorded instrument dump: every row, and the rule that ties the feed's token to the exchange's."""
    rows = client(body, "text/csv").instruments()
    expect(len(rows) == len(list(csv.DictReader(io.StringIO(body.decode())))) > 0, "rows are missing")
    for row in rows:
        segment = int(row["instrument_token"]) & 0xFF
        expect(int(row["instrument_token"]) == int(row["exchange_token"]) * 256 + segment, "token of %(tradingsymbol)s" % row)


def check_postback(body):
    """A recorded webhook body, as the `data` of an order message on the socket."""
    order, seen = json.loads(body), []
    ticker = KiteTicker("key", "token")
    ticker.on_order_update = lambda _, data: seen.append(data)
    ticker._on_message(None, json.dumps({"type": "order", "data": order}).encode(), False)
    expect(seen == [order], "the order did not arrive as it was sent")


def check_packet(raw, expected):
    """A recorded frame, or a bare packet in base64, and the tick recorded beside it if there is one."""
    frame = raw
    if struct.unpack(">H", raw[:2])[0] != 1:  # Text: a frame of one packet begins with 0, 1.
        packet = base64.b64decode(raw)
        frame = struct.pack(">HH", 1, len(packet)) + packet
    ticks = KiteTicker("key", "token")._parse_binary(frame)
    expect(len(ticks) == 1, "%d ticks" % len(ticks))
    tick = ticks[0]
    expect(tick["instrument_token"] == struct.unpack(">I", frame[4:8])[0], "token")
    expect(tick["mode"] == {8: "ltp", 28: "quote", 44: "quote", 32: "full", 184: "full"}[len(frame) - 4], "mode")
    if len(frame) == 188:
        expect(len(tick["depth"]["buy"]) == len(tick["depth"]["sell"]) == 5, "depth")
    if expected is None:
        return
    renamed = {"last_quantity": "last_traded_quantity", "average_price": "average_traded_price", "volume": "volume_traded",
               "buy_quantity": "total_buy_quantity", "sell_quantity": "total_sell_quantity"}
    # The recorded change belongs to another tick; recorded times are texts of the recorder's own zone.
    skipped = {"change", "timestamp", "exchange_timestamp", "last_trade_time"}
    for key, value in expected.items():
        if key not in skipped:
            same(tick[renamed.get(key, key)], value, key)


def run(checks, folder):
    """Every file of the folder the SDK has a parser for."""
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            body = file.read()
        title = "recorded %s" % name
        beside = os.path.join(folder, name.replace(".packet", ".json"))
        if name in PARSERS:
            checks.check(title, check_json, body, name)
        elif name.startswith("historical"):
            checks.check(title, check_candles, body)
        elif name.startswith("instruments") and name.endswith(".csv"):
            checks.check(title, check_instruments, body)
        elif name == "postback.json":
            checks.check(title, check_postback, body)
        elif name.endswith(".packet"):
            expected = None
            if os.path.exists(beside):
                with open(beside, encoding="utf-8") as file:
                    expected = json.load(file)
            checks.check(title, check_packet, body, expected)
        elif name.endswith((".json", ".csv")) and not name.startswith("ticker_"):
            print("note %s: the SDK has no parser for it" % title, flush=True)
