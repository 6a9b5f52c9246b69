"""What every conformance script needs: checks that are counted, and `nirantar exchange` as a child process."""

import http.client
import os
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse

START_SECONDS = 60
CALL_SECONDS = 10
HERE = os.path.dirname(os.path.abspath(__file__))


class Checks:
    """Runs checks one by one, prints a line for each, and counts."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, name, function, *arguments):
        """Runs one check. It passes by returning; what it returns is returned. A failure is printed and gives None."""
        try:
            result = function(*arguments)
        except Exception as error:  # Whatever goes wrong in one check must not hide the others.
            self.failed += 1
            # The check's own line, not that of `expect` or of the SDK below it.
            frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(HERE) and f.filename != __file__]
            where = " (%s:%s)" % (os.path.basename(frames[-1].filename), frames[-1].lineno) if frames else ""
            print("FAIL %s: %s: %s%s" % (name, type(error).__name__, error, where), flush=True)
            return None
        self.passed += 1
        print("ok   %s" % name, flush=True)
        return result

    def finish(self):
        """Prints the count. The exit code: 0 when all passed and there was something to pass."""
        print("%d passed, %d failed" % (self.passed, self.failed), flush=True)
        return 0 if self.failed == 0 and self.passed > 0 else 1


def expect(condition, message):
    """An assertion that `python -O` does not remove."""
    if not condition:
        raise AssertionError(message)


def raises(kind, function, code=None, text=None):
    """Expects an SDK exception of exactly that class, with that HTTP code and that text in its message."""
    try:
        result = function()
    except Exception as error:
        expect(type(error) is kind, "expected %s, got %s: %s" % (kind.__name__, type(error).__name__, error))
        got = getattr(error, "code", None)
        expect(code is None or got == code, "expected HTTP %s, got %s" % (code, got))
        expect(text is None or text in str(error), "expected `%s` in `%s`" % (text, error))
        return error
    # Not the answer itself, which may hold a token.
    raise AssertionError("expected %s, got an answer of type %s" % (kind.__name__, type(result).__name__))


def eventually(what, probe, seconds=20.0, every=0.2):
    """Asks again and again, at most `seconds` long, until the answer is true; returns that answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        expect(time.monotonic() < deadline, "not within %g s: %s" % (seconds, what))
        time.sleep(every)


def ask(url, form=None):
    """One request as a browser makes it, which follows no redirect: GET, or POST of a form. Its status, headers and text."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=CALL_SECONDS)
    try:
        path = parts.path + ("?" + parts.query if parts.query else "")
        if form is None:
            connection.request("GET", path)
        else:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", path, urllib.parse.urlencode(form), headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def redirected(url):
    """The fields that the page at `url` sends the browser on with, and the address before them."""
    status, headers, _ = ask(url)
    expect(status == 302, "expected a redirect, got HTTP %d" % status)
    address, _, query = headers["Location"].partition("?")
    return address, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))


def control(root, **form):
    """Makes something happen at the exchange; `_` in a name stands for `-`."""
    fields = {name.replace("_", "-"): value for name, value in form.items()}
    status, _, text = ask(root + "/nirantar/control", fields)
    expect(status == 200, "control answered %d: %s" % (status, text))


def drive(checks, exchange, seconds, use):
    """Runs `use(address)` against the exchange, at most `seconds` long, ends it, and returns the exit code."""

    def give_up():
        print("FAIL the script did not end within %d s" % seconds, flush=True)
        exchange.stop()
        os._exit(1)

    watchdog = threading.Timer(seconds, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        address = checks.check("nirantar exchange starts", exchange.address)
        if address:
            use(address)
            checks.check("nirantar exchange is still running", lambda: expect(exchange.process.poll() is None, "it ended"))
    finally:
        watchdog.cancel()
        exchange.stop()
        if checks.failed:
            print("\n".join(["stderr of nirantar exchange:"] + exchange.stderr[-20:]), file=sys.stderr)
    return checks.finish()


class Exchange:
    """`nirantar exchange` of that broker on a free loopback port, ended with the script."""

    def __init__(self, program, broker, *options):
        self.stderr = []
        self._address = None
        self._ready = threading.Event()
        command = [program, "exchange", "--broker", broker, "--listen", "127.0.0.1:0"] + list(options)
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        # Read to the end, or the child would stop at a full pipe.
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            self.stderr.append(line.rstrip())
            if self._address is None and "listening on " in line:
                self._address = line.split("listening on ", 1)[1].split()[0]
                self._ready.set()
        self._ready.set()

    def address(self):
        """`127.0.0.1:PORT`, once it accepts."""
        self._ready.wait(START_SECONDS)
        expect(self._address, "it never said `listening on ADDR`; stderr: %s" % self.stderr[-5:])
        return self._address

    def stop(self):
        """Ends the child, the hard way if it must."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
