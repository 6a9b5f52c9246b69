"""Drives `nirantar exchange --broker fyers` with FYERS' official Python SDK (`fyers-apiv3` on PyPI), as its users do.

    python tests/conformance/fyers_python.py PATH/TO/nirantar

One line a check, a count at the end, exit code 1 if anything failed. The SDK raises nothing: a refusal is the broker's
JSON as a dictionary. It has no method for the refresh grant, so nothing here renews.
"""

import asyncio
import os
import sys
import tempfile

from fyers_apiv3 import fyersModel

from harness import Checks, Exchange, ask, control, drive, expect, redirected

# Of the usual length with the suffix: the SDK decodes the id together with the token, and other lengths break it.
CLIENT_ID, USER_ID = "ABCDE12345-100", "XN00001"
SECRET, SECRET_VARIABLE = "conformance-secret", "NIRANTAR_CONFORMANCE_SECRET"
REDIRECT = "http://127.0.0.1:9/callback?from=fyers"
WHOLE_SCRIPT_SECONDS = 60
BAD_CODE, DEAD_TOKEN, BAD_APP, BAD_FIELD = -437, -16, -352, -50


class Desk:
    """The SDK's models at our exchange, and what the checks need around them."""

    def __init__(self, address, folder):
        self.root, self.folder = "http://" + address, folder
        fyersModel.Config.API = self.root + "/api/v3"
        fyersModel.Config.DATA_API = self.root + "/data"

    def session(self, secret=SECRET, grant_type="authorization_code", **more):
        """A session that has not begun."""
        fields = dict(client_id=CLIENT_ID, redirect_uri=REDIRECT, response_type="code", state="a state & more")
        fields.update(more)
        return fyersModel.SessionModel(secret_key=secret, grant_type=grant_type, **fields)

    def code(self, session, answer="allow"):
        """Opens the login page of the session and answers it; the fields of the redirect."""
        url = session.generate_authcode()
        status, _, page = ask(url)
        expect(status == 200 and USER_ID in page, "the login page answered %d" % status)
        address, fields = redirected(url + "&answer=" + answer)
        expect(address == REDIRECT.partition("?")[0] and fields["from"] == "fyers", "redirected to %s" % address)
        return fields

    def login(self):
        """A whole login: the access token."""
        session = self.session()
        session.set_token(self.code(session)["auth_code"])
        return ok(session.generate_token())["access_token"]

    def model(self, token, client_id=CLIENT_ID, is_async=False):
        """The SDK's client under that token. Its log files go where they are thrown away."""
        return fyersModel.FyersModel(client_id=client_id, token=token, is_async=is_async, log_path=self.folder)


def ok(answer):
    """Expects a success."""
    said = {name: answer.get(name) for name in ("s", "code", "message")}
    expect(said["s"] == "ok" and said["code"] == 200, "got %s" % said)
    return answer


def refused(answer, code, text=None):
    """Expects a refusal with that code and that text in its words."""
    # A refusal holds no token and may be shown; a success may hold one.
    expect(answer.get("s") == "error", "expected %d, got a success" % code)
    expect(answer.get("code") == code, "expected %d, got %s" % (code, answer))
    expect(text is None or text in answer["message"], "expected `%s` in `%s`" % (text, answer["message"]))


def check_login(checks, desk):
    """The login page, and the exchange of its code."""

    def page():
        fields = desk.code(desk.session())
        expect(fields["s"] == "ok" and fields["code"] == "200", "redirected with %s" % sorted(fields))
        expect(fields["state"] == "a state & more", "the state came back as `%s`" % fields["state"])
        expect(fields["auth_code"].count(".") == 2, "the code is no JWT")

    def extras():
        fields = desk.code(desk.session(scope="openid", nonce="n", state=None))
        expect(fields["state"] == "None", "what the SDK makes of no state came back as `%s`" % fields["state"])

    def cancelled():
        fields = desk.code(desk.session(), "cancel")
        expect(fields["s"] == "error" and "auth_code" not in fields, "redirected with %s" % sorted(fields))

    def other_app():
        status, _, _ = ask(desk.session(client_id="ZZZZZ99999-100").generate_authcode())
        expect(status == 400, "the login page answered %d" % status)

    def token():
        session = desk.session()
        session.set_token(desk.code(session)["auth_code"])
        answer = ok(session.generate_token())
        for name in ("access_token", "refresh_token"):
            expect(answer[name].count(".") == 2, "%s is no JWT" % name)

    def used_code():
        session = desk.session()
        session.set_token(desk.code(session)["auth_code"])
        ok(session.generate_token())
        refused(session.generate_token(), BAD_CODE, "invalid auth code")

    def made_up_code():
        session = desk.session()
        session.set_token("made.up.code")
        refused(session.generate_token(), BAD_CODE)

    def wrong_secret():
        session, stranger = desk.session(), desk.session(secret="wrong")
        code = desk.code(session)["auth_code"]
        stranger.set_token(code)
        refused(stranger.generate_token(), BAD_APP)
        session.set_token(code)
        ok(session.generate_token())

    def wrong_grant():
        session = desk.session(grant_type="refresh_token")
        session.set_token(desk.code(session)["auth_code"])
        refused(session.generate_token(), BAD_FIELD, "grant_type")

    checks.check("generate_authcode: the page, the redirect and the state", page)
    checks.check("generate_authcode with scope, nonce and no state", extras)
    checks.check("a cancelled login brings no code", cancelled)
    checks.check("another app has no login page", other_app)
    checks.check("generate_token: both tokens", token)
    checks.check("a used code is refused", used_code)
    checks.check("a made-up code is refused", made_up_code)
    checks.check("a wrong secret is refused and leaves the code", wrong_secret)
    checks.check("a wrong grant is refused", wrong_grant)


def check_account(checks, desk):
    """What a living token may ask, through the SDK's plain client and its asynchronous one."""
    token = checks.check("login", desk.login)
    if not token:
        return
    model = desk.model(token)

    def profile():
        data = ok(model.get_profile())["data"]
        expect(data["fy_id"] == USER_ID and data["name"], "somebody else's profile")

    def funds():
        rows = ok(model.funds())["fund_limit"]
        titles = {row["title"]: row for row in rows}
        balance = titles["Available Balance"]
        expect(balance["equityAmount"] > 0 and "commodityAmount" in balance, "no money in %s" % balance)
        expect(len({row["id"] for row in rows}) == len(rows), "ids repeat")

    def asynchronous():
        async def all_three():
            model = desk.model(token, is_async=True)
            stranger = desk.model("made.up.token", is_async=True)
            try:
                return await model.get_profile(), await model.funds(), await stranger.get_profile()
            finally:
                for one in (model, stranger):
                    await one.service.session.close()

        mine, money, theirs = asyncio.run(all_three())
        expect(ok(mine)["data"]["fy_id"] == USER_ID and ok(money)["fund_limit"], "not our account")
        refused(theirs, DEAD_TOKEN)

    def unknown_path():
        answer = model.tradebook()
        expect(answer["s"] == "error", "a session's server has no trades, but answered %s" % sorted(answer))

    checks.check("get_profile", profile)
    checks.check("funds", funds)
    checks.check("the asynchronous client", asynchronous)
    checks.check("what is not served is an error in the broker's envelope", unknown_path)


def check_death(checks, desk):
    """Every way a token is refused, and what the SDK makes of it."""

    def strangers():
        token = desk.login()
        refused(desk.model("made.up.token").get_profile(), DEAD_TOKEN)
        refused(desk.model(token, client_id="ZZZZZ99999-100").get_profile(), DEAD_TOKEN)
        ok(desk.model(token).get_profile())

    def logout():
        model = desk.model(desk.login())
        expect("logged out" in ok(model.logout())["message"], "other words")
        refused(model.get_profile(), DEAD_TOKEN)
        refused(model.logout(), DEAD_TOKEN, "Invalid or Expired")

    def dead():
        model = desk.model(desk.login())
        control(desk.root, kill_token=1)
        refused(model.get_profile(), DEAD_TOKEN, "Could not authenticate the user")
        refused(model.funds(), DEAD_TOKEN)
        ok(desk.model(desk.login()).get_profile())

    def replaced():
        old = desk.model(desk.login())
        new = desk.model(desk.login())
        refused(old.get_profile(), DEAD_TOKEN)
        ok(new.get_profile())

    def kept():
        control(desk.root, new_login="keeps")
        old, new = desk.model(desk.login()), desk.model(desk.login())
        ok(old.get_profile())
        ok(new.get_profile())
        control(desk.root, new_login="kills")

    def trouble():
        model = desk.model(desk.login())
        control(desk.root, fault="profile=429:-429@1")
        refused(model.get_profile(), -429)
        control(desk.root, fault="profile=502@1")
        refused(model.get_profile(), 502, "Bad request")
        control(desk.root, fault="profile=lost-reply@1")
        # The SDK says -99 for the network's trouble, which is also a rejected order's code.
        refused(model.get_profile(), -99)
        ok(model.get_profile())

    checks.check("a made-up token and another app's id are refused", strangers)
    checks.check("logout ends the token, once", logout)
    checks.check("a dead token is refused until the next login", dead)
    checks.check("a new login kills the old token", replaced)
    checks.check("or keeps it, where that is switched", kept)
    checks.check("a limit, a gateway's page and a lost answer are no dead token", trouble)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    os.environ[SECRET_VARIABLE] = SECRET
    checks = Checks()
    options = ("--api-key", CLIENT_ID, "--user-id", USER_ID, "--api-secret-env", SECRET_VARIABLE)
    exchange = Exchange(sys.argv[1], "fyers", *options)
    with tempfile.TemporaryDirectory() as folder:

        def use(address):
            desk = Desk(address, folder)
            for part in (check_login, check_account, check_death):
                part(checks, desk)

        return drive(checks, exchange, WHOLE_SCRIPT_SECONDS, use)


if __name__ == "__main__":
    sys.exit(main())
