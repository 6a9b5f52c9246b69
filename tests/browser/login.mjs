// The login page in a real browser, from the click to "connected", against the simulator.
//
//   NIRANTAR=path/to/nirantar node tests/browser/login.mjs FOLDER
//
// Writes a screenshot of every page it sees into FOLDER, on a desk's and on a phone's screen, and ends with 1 when a page
// is not what it should be. Needs playwright-core (NODE_PATH or a node_modules above) and a chromium (CHROMIUM names
// another than /usr/bin/chromium).

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const PATIENCE_MS = 60_000;
const API_SECRET = "browser-test-secret-1234";
const SCREENS = [
    { name: "desk", viewport: { width: 1200, height: 800 } },
    { name: "phone", viewport: { width: 375, height: 667 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
];

const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT ?? "playwright-core");
const [binary, shots] = [resolve(process.env.NIRANTAR ?? "target/debug/nirantar"), process.argv[2]];
if (!shots) {
    console.error("usage: NIRANTAR=path/to/nirantar node tests/browser/login.mjs FOLDER");
    process.exit(2);
}

/** A port nobody listens on, a moment ago. */
function freePort() {
    return new Promise((found, failed) => {
        const server = createServer().once("error", failed);
        server.listen(0, "127.0.0.1", () => {
            const { port } = server.address();
            server.close(() => found(port));
        });
    });
}

/** A child that is ended with us, and everything it has said. */
class Child {
    said = "";

    constructor(argument, cwd, secret) {
        const env = { PATH: process.env.PATH, NIRANTAR_EXCHANGE_SECRET: secret };
        this.process = spawn(binary, argument, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
        this.ended = new Promise((ended) => this.process.once("exit", ended));
        this.process.once("error", (error) => (this.said += `${error}\n`));
        for (const stream of [this.process.stdout, this.process.stderr]) {
            stream.setEncoding("utf8").on("data", (text) => {
                this.said += text;
                this.process.emit("said");
            });
        }
    }

    /** Waits until it has said something. */
    async until(pattern) {
        const found = new Promise((found, failed) => {
            const look = () => {
                const match = this.said.match(pattern);
                if (match) found(match);
            };
            this.process.on("said", look);
            const why = () => failed(new Error(`${pattern} never came; it said:\n${this.said}`));
            this.ended.then(why);
            setTimeout(why, PATIENCE_MS).unref();
            look();
        });
        return found;
    }

    async end() {
        this.process.kill("SIGTERM");
        await this.ended;
    }
}

function expect(condition, words) {
    if (!condition) throw new Error(words);
}

async function shoot(page, name) {
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    expect(width[0] <= width[1], `${name} is wider than its screen: ${width}`);
}

/** From the login link to "connected", on one screen; the account "main" of two is chosen with a click. */
async function logIn(browser, root, screen, folder) {
    const { name, ...options } = screen;
    const page = await browser.newPage(options);
    page.setDefaultTimeout(PATIENCE_MS);
    const outside = [];
    page.on("request", (request) => {
        if (!request.url().startsWith("http://127.0.0.1:")) outside.push(new URL(request.url()).host);
    });
    await page.goto(`${root}/api/auth/login`);
    await shoot(page, `${name}-1-accounts`);
    await page.click("text=Log in: main");
    // In market hours, with a living token, the price of the login is named first.
    if ((await page.title()).startsWith("This login has a price")) {
        await shoot(page, `${name}-2-price`);
        await page.click("text=Log in all the same");
    }
    await page.waitForURL(/request_token=/);
    await shoot(page, `${name}-3-connected`);
    const title = await page.innerText("h1");
    expect(title === "Connected", `the page says: ${title}`);
    const words = await page.innerText("main");
    expect(words.includes("NR0001 at kite"), `it does not say who is connected: ${words}`);
    const html = await page.content();
    const token = readFileSync(join(folder, "main.env"), "utf8").match(/^ZERODHA_ACCESS_TOKEN=(\S+)$/m)?.[1];
    const address = new URL(page.url()).searchParams;
    for (const secret of [token, address.get("request_token"), address.get("state"), API_SECRET]) {
        expect(secret && !html.includes(secret), "a secret stands in the page, or there is none");
    }
    // Loaded again, it says how things stand, uses nothing twice, and offers no second login.
    const [again] = await Promise.all([page.waitForResponse((response) => response.url() === page.url()), page.reload()]);
    expect(again.status() === 409, `loaded again it answers ${again.status()}`);
    await page.waitForSelector("h1:text-is('Connected')");
    expect((await page.innerText("main")).includes("This login was used"), "it does not say that the login was used");
    expect((await page.locator("a").count()) === 0, "it offers another login, which would end this one");
    await shoot(page, `${name}-4-used`);
    await page.goto(`${root}/api/auth/callback?request_token=x&status=success&state=y`);
    await page.waitForSelector("h1:text-is('This login was not started here')");
    await shoot(page, `${name}-5-not-ours`);
    expect(outside.length === 0, `the pages asked for something elsewhere: ${outside}`);
    await page.close();
}

/** An account at the simulator. */
const account = (name, exchange) => `[[account]]
name = "${name}"
broker = "kite"
store = "${name}.env"
user_id = "NR0001"
rest_url = "http://${exchange}"
feed_url = "ws://${exchange}"
login_url = "http://${exchange}"
instruments = ["NSE:RELIANCE"]
`;

async function test(children, folder) {
    const port = await freePort();
    const root = `http://127.0.0.1:${port}`;
    // By the engine's own clock: a token of last Friday would be dead before it is taken.
    const options = ["exchange", "--broker", "kite", "--listen", "127.0.0.1:0", "--wall-clock"];
    const exchange = new Child([...options, "--redirect-url", `${root}/callback`], folder, API_SECRET);
    children.push(exchange);
    const [, at] = await exchange.until(/^listening on (\S+)$/m);
    const server = `[server]\nlisten = "127.0.0.1:${port}"\n`;
    writeFileSync(join(folder, "nirantar.toml"), server + account("main", at) + account("spare", at));
    for (const name of ["main", "spare"]) {
        writeFileSync(join(folder, `${name}.env`), `ZERODHA_API_KEY=nirantar\nZERODHA_API_SECRET=${API_SECRET}\n`);
    }
    const running = new Child(["run"], folder, "");
    children.push(running);
    await running.until(/log in at http/);
    const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
        args: [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    });
    try {
        for (const screen of SCREENS) {
            await logIn(browser, root, screen, folder);
        }
    } finally {
        await browser.close();
    }
    expect(/main: Valid, orders live/.test(running.said), `the engine does not say so:\n${running.said}`);
    expect(!running.said.includes(API_SECRET), "the log shows the api secret");
}

const children = [];
const folder = mkdtempSync(join(tmpdir(), "nirantar-browser-"));
mkdirSync(shots, { recursive: true });
try {
    await test(children, folder);
    console.log(`from click to connected on ${SCREENS.map(({ name }) => name).join(" and ")}; screenshots in ${shots}`);
} catch (error) {
    console.error(error);
    for (const child of children) console.error(`--- ${child.process.spawnargs.join(" ")}\n${child.said}`);
    process.exitCode = 1;
} finally {
    for (const child of children.reverse()) await child.end();
    rmSync(folder, { recursive: true, force: true });
}
