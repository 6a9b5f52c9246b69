"""Drives `nirantar exchange --broker upstox` with Upstox' official Python SDK (`upstox-python-sdk` on PyPI), as its users do.

    python tests/conformance/upstox_python.py PATH/TO/nirantar

One line a check, a count at the end, exit code 1 if anything failed. Two things of the SDK to know: `Configuration()`
gives copies of one first instance, so every field is set each time; and it has no timeout of its own.
"""

import http.server
import json
import os
import sys
import threading
import time
import urllib.parse

import upstox_client
from upstox_client.rest import ApiException

from harness import Checks, Exchange, ask, control, drive, eventually, expect, raises, redirected

API_KEY, USER_ID = "conformance-key", "AB1234"
SECRET, SECRET_VARIABLE = "conformance-secret", "NIRANTAR_CONFORMANCE_SECRET"
REDIRECT = "http://127.0.0.1:9/callback?from=upstox"
VERSION = "2.0"
WHOLE_SCRIPT_SECONDS = 60
DEAD_TOKEN, BAD_CODE, BAD_CLIENT, BAD_REDIRECT, READ_ONLY = (
    "UDAPI100050",
    "UDAPI100057",
    "UDAPI100069",
    "UDAPI100068",
    "UDAPI100067",
)


class Desk:
    """The SDK's clients at our exchange, and what the checks need around them."""

    def __init__(self, address):
        self.root = "http://" + address

    def client(self, token=None):
        """A client under that token."""
        configuration = upstox_client.Configuration()
        configuration.host = configuration.order_host = self.root
        configuration.access_token = token
        return upstox_client.ApiClient(configuration)

    def login_api(self, token=None):
        return upstox_client.LoginApi(self.client(token))

    def profile(self, token):
        return upstox_client.UserApi(self.client(token)).get_profile(VERSION).data

    def funds(self, token):
        return upstox_client.UserApi(self.client(token)).get_user_fund_margin(VERSION).data

    def book(self, token):
        return upstox_client.OrderApi(self.client(token)).get_order_book(VERSION).data

    def dialog(self, **more):
        """The address of the login page, which the documentation shows and the SDK leaves to its user."""
        fields = dict(response_type="code", client_id=API_KEY, redirect_uri=REDIRECT, state="a state & more")
        fields.update(more)
        return self.root + "/v2/login/authorization/dialog?" + urllib.parse.urlencode(fields)

    def redirect(self, decision="approve"):
        """Opens the login page and answers it; the fields of the redirect."""
        status, _, page = ask(self.dialog())
        expect(status == 200 and USER_ID in page, "the login page answered %d" % status)
        address, fields = redirected(self.dialog(decision=decision))
        expect(address == REDIRECT.partition("?")[0] and fields["from"] == "upstox", "redirected to %s" % address)
        expect(fields["state"] == "a state & more", "the state came back as `%s`" % fields["state"])
        return fields

    def exchange(self, code, **other):
        """Buys a session with a code."""
        fields = dict(client_id=API_KEY, client_secret=SECRET, redirect_uri=REDIRECT, grant_type="authorization_code")
        fields.update(other)
        return self.login_api().token(VERSION, code=code, **fields)

    def login(self):
        """A whole login."""
        return self.exchange(self.redirect()["code"])


def refused(status, code, function):
    """Expects an `ApiException` with that HTTP status and that code, in both of the wire's spellings."""
    error = raises(ApiException, function)
    expect(error.status == status, "expected HTTP %d, got %d" % (status, error.status))
    body = json.loads(error.body)
    first = body["errors"][0]
    expect(body["status"] == "error" and first["message"], "no words in the refusal")
    for name in ("errorCode", "error_code"):
        expect(first[name] == code, "expected %s, got %s" % (code, first[name]))


def check_login(checks, desk):
    """The login page, and the exchange of its code."""

    def dialog():
        # The SDK's own call sends no `response_type`, and reads nothing from the page.
        desk.login_api().authorize(API_KEY, REDIRECT, VERSION, state="x")

    def other_redirect():
        refused(400, BAD_REDIRECT, lambda: desk.login_api().authorize(API_KEY, "http://127.0.0.1:9/other", VERSION))

    def declined():
        fields = desk.redirect("refuse")
        expect(fields["error"] and "code" not in fields, "redirected with %s" % sorted(fields))

    def session():
        answer = desk.login()
        expect(answer.user_id == USER_ID and answer.broker == "UPSTOX" and answer.is_active is True, "not our session")
        expect("NSE" in answer.exchanges and "I" in answer.products and "LIMIT" in answer.order_types, "an empty account")
        expect(answer.access_token.count(".") == 2, "the token is no JWT")
        expect(answer.extended_token and answer.extended_token != answer.access_token, "no extended token")

    def used_code():
        code = desk.redirect()["code"]
        desk.exchange(code)
        refused(400, BAD_CODE, lambda: desk.exchange(code))

    def wrong_secret():
        code = desk.redirect()["code"]
        refused(400, BAD_CLIENT, lambda: desk.exchange(code, client_secret="wrong"))
        refused(400, BAD_CODE, lambda: desk.exchange(code))

    def missing():
        for field, code in (("client_id", "UDAPI1017"), ("redirect_uri", "UDAPI1018"), ("client_secret", "UDAPI1024")):
            refused(400, code, lambda: desk.exchange(desk.redirect()["code"], **{field: ""}))
        refused(400, "UDAPI1022", lambda: desk.exchange(""))
        refused(400, "UDAPI1023", lambda: desk.exchange("code", grant_type=""))

    checks.check("authorize opens the login page", dialog)
    checks.check("authorize with another redirect is refused", other_redirect)
    checks.check("a declined login brings no code", declined)
    checks.check("token exchange", session)
    checks.check("a used code is refused", used_code)
    checks.check("a wrong secret is refused and spends the code", wrong_secret)
    checks.check("every missing field has its own code", missing)


def check_account(checks, desk):
    """What a living token may ask, and what the read-only one may not."""
    session = checks.check("login", desk.login)
    if not session:
        return
    token = session.access_token

    def profile():
        data = desk.profile(token)
        expect(data.user_id == USER_ID and data.user_type == "individual" and data.is_active is True, "not our profile")

    def funds():
        data = desk.funds(token)
        expect(set(data) == {"equity", "commodity"}, "segments are %s" % sorted(data))
        expect(data["equity"].available_margin > 0 and data["equity"].used_margin == 0, "no funds")

    def night():
        control(desk.root, fault="funds=423:UDAPI100072@1")
        refused(423, "UDAPI100072", lambda: desk.funds(token))
        expect(desk.profile(token).user_id == USER_ID, "423 is no dead token")

    def extended():
        expect(desk.book(session.extended_token) == [], "the book is not empty")
        refused(403, READ_ONLY, lambda: desk.profile(session.extended_token))

    checks.check("profile", profile)
    checks.check("funds", funds)
    checks.check("funds at night are 423, which is no dead token", night)
    checks.check("the extended token reads the book and is no proof of a session", extended)


def check_death(checks, desk):
    """Every way a token is refused."""

    def strangers():
        for token in ("", "made.up.token"):
            for call in (desk.profile, desk.funds, desk.book):
                refused(401, DEAD_TOKEN, lambda: call(token))

    def logout():
        token = desk.login().access_token
        answer = desk.login_api(token).logout(VERSION)
        expect(answer.status == "success" and answer.data is True, "not logged out")
        refused(401, DEAD_TOKEN, lambda: desk.profile(token))
        refused(401, DEAD_TOKEN, lambda: desk.login_api(token).logout(VERSION))

    def dead():
        token = desk.login().access_token
        control(desk.root, kill_token=1)
        for call in (desk.profile, desk.funds, desk.book):
            refused(401, DEAD_TOKEN, lambda: call(token))
        order = upstox_client.PlaceOrderRequest(
            quantity=1, product="D", validity="DAY", price=1.0, instrument_token="NSE_EQ|INE002A01018", order_type="LIMIT",
            transaction_type="BUY", disclosed_quantity=0, trigger_price=0.0, is_amo=False,
        )
        refused(401, DEAD_TOKEN, lambda: upstox_client.OrderApi(desk.client(token)).place_order(order, VERSION))
        expect(desk.profile(desk.login().access_token).user_id == USER_ID, "a new login does not go on")

    def suspect():
        token = desk.login().access_token
        control(desk.root, fault="orders=401:%s@1" % DEAD_TOKEN)
        refused(401, DEAD_TOKEN, lambda: desk.book(token))
        expect(desk.profile(token).user_id == USER_ID, "the token is dead after all")

    def replaced():
        old, new = desk.login().access_token, desk.login().access_token
        refused(401, DEAD_TOKEN, lambda: desk.profile(old))
        expect(desk.profile(new).user_id == USER_ID, "the new token is dead")

    checks.check("an empty token and a made-up one are UDAPI100050", strangers)
    checks.check("logout ends the token, once", logout)
    checks.check("a dead token is UDAPI100050 everywhere until the next login", dead)
    checks.check("UDAPI100050 on an order path under a living token", suspect)
    checks.check("a new login kills the old token", replaced)


class Notifier:
    """The app's notifier: keeps what is posted to it."""

    def __init__(self):
        notices = self.notices = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                notices.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d/notify" % self.server.server_port


def check_approval(checks, desk):
    """The approval on the phone: asked for by the SDK, delivered to the notifier."""
    notifier = Notifier()
    control(desk.root, notifier_url=notifier.url)

    def request(secret=SECRET, key=API_KEY):
        body = upstox_client.IndieUserTokenRequest(client_secret=secret)
        return desk.login_api().init_token_request_for_indie_user(body, key)

    def strangers():
        refused(400, BAD_CLIENT, lambda: request(secret="wrong"))
        refused(400, BAD_CLIENT, lambda: request(key="other-key"))

    def approved():
        data = request().data
        expect(data.notifier_url == notifier.url, "another notifier")
        # Milliseconds since 1970, as a text; the exchange's clock may show a day or two ago.
        expect(int(data.authorization_expiry) > (time.time() - 10 * 86_400) * 1000, "it lapses at %s" % data.authorization_expiry)
        control(desk.root, approve=1)
        notice = eventually("the notice", lambda: notifier.notices)[0]
        expect(notice["client_id"] == API_KEY and notice["user_id"] == USER_ID, "another's notice")
        expect(notice["message_type"] == "access_token", "a notice of %s" % notice["message_type"])
        expect(int(notice["issued_at"]) < int(notice["expires_at"]), "it is dead on arrival")
        expect(desk.profile(notice["access_token"]).user_id == USER_ID, "the token does not work")

    def declined():
        request()
        control(desk.root, decline=1)
        expect(len(notifier.notices) == 1, "a decline was notified")

    checks.check("an approval asked for with a wrong secret or key is refused", strangers)
    checks.check("an approval is asked for, granted and delivered", approved)
    checks.check("a declined approval delivers nothing", declined)
    notifier.server.shutdown()


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    os.environ[SECRET_VARIABLE] = SECRET
    checks = Checks()
    options = ("--api-key", API_KEY, "--user-id", USER_ID, "--api-secret-env", SECRET_VARIABLE, "--redirect-url", REDIRECT)

    def use(address):
        desk = Desk(address)
        for part in (check_login, check_account, check_death, check_approval):
            part(checks, desk)

    return drive(checks, Exchange(sys.argv[1], "upstox", *options), WHOLE_SCRIPT_SECONDS, use)


if __name__ == "__main__":
    sys.exit(main())
