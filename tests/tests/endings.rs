//! Issue 3, "Must show" 8, first half: `nirantar run` ends within two seconds of a SIGTERM at whatever moment, with exit
//! code 0 and the last token it was given in the store; resting live orders stay or are cancelled, as the account says.
//!
//! A moment is counted from when the process takes signals: before that it holds nothing yet, and the system ends it.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "processes are started and ended, in real time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;
mod harness;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use harness::{Plan, World};
use nirantar::engine::OnStop;
use nirantar::token::store::StorePlace;
use nirantar_brokers::time::{Clock, SystemClock};
use nirantar_brokers::{OrderRequest, OrderStatus, OrderType, Price, Side};
use nirantar_exchange_mock::Calendar;
use nirantar_exchange_mock::kite::{Control, How, KiteServer, OrderAction, Refresh, Settings};
use nirantar_exchange_mock::prices::Walk;
use nirantar_exchange_mock::universe;
use nirantar_tests::ReservedPort;

/// What is promised.
const WITHIN: Duration = Duration::from_secs(2);
/// How long something may take to come about, on a machine under load.
const DEADLINE: Duration = Duration::from_secs(30);
/// Processes at once.
const SIDE_BY_SIDE: usize = 4;
/// What a token's life is in these stories, and when it is renewed.
const LIFE: &str = "token_ttl = \"3s\"\nrenew_margin = \"1s\"\n";

/// A broker, a folder, and a `nirantar run` in it.
struct Story {
    child: Child,
    control: Control,
    folder: tempfile::TempDir,
    _broker: KiteServer,
    port: ReservedPort,
}

impl Story {
    /// `logged_in`: the store holds a session with a refresh token. `slow`: how long the broker takes for each answer.
    async fn start(logged_in: bool, slow: Option<&str>) -> Self {
        let port = ReservedPort::new().unwrap();
        let settings = Settings {
            refresh: Refresh::Works,
            redirect_url: format!("http://127.0.0.1:{port}/callback"),
            rate_limits: false,
            ..Settings::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let day = clock.now().wall.ist_date();
        let prices = Walk::new(1, &universe::with_start_prices(day), &Calendar::nse(), day);
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let broker = KiteServer::start(anywhere, settings.clone(), clock, Box::new(prices)).await.unwrap();
        let control = broker.control();
        let folder = tempfile::tempdir().unwrap();
        let mut env = format!(
            "ZERODHA_API_KEY={}\nZERODHA_API_SECRET={}\nZERODHA_USER_ID={}\n",
            settings.api_key,
            settings.api_secret.expose(),
            settings.user_id
        );
        if logged_in {
            let session = control.login();
            let (access, refresh) = (session.access_token.expose(), session.refresh_token.as_ref().unwrap().expose());
            env += &format!("ZERODHA_ACCESS_TOKEN={access}\nZERODHA_REFRESH_TOKEN={refresh}\n");
        }
        fs::write(folder.path().join(".env"), env).unwrap();
        let address = broker.addr();
        let configuration = format!(
            "[[account]]\nname = \"main\"\nbroker = \"kite\"\napp = \"approved\"\n{LIFE}\
             rest_url = \"http://{address}\"\nfeed_url = \"ws://{address}\"\nlogin_url = \"http://{address}\"\n\
             instruments = [\"NSE:RELIANCE\"]\n[server]\nlisten = \"127.0.0.1:{port}\"\n"
        );
        fs::write(folder.path().join("nirantar.toml"), configuration).unwrap();
        if let Some(slow) = slow {
            fault(&control, slow);
        }
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let child = child::nirantar()
            .arg("run")
            .current_dir(folder.path())
            .stdout(file("out.log"))
            .stderr(file("run.log"))
            .spawn()
            .unwrap();
        let story = Self { child, control, folder, _broker: broker, port };
        story.until("it takes signals", || takes_sigterm(story.child.id())).await;
        story
    }

    /// Waits for what shows in real time only.
    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, wait).await;
        assert!(waited.is_ok(), "waited in vain until {what}: {}", self.log());
    }

    fn said(&self, words: &str) -> bool {
        fs::read_to_string(self.folder.path().join("out.log")).unwrap().contains(words)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("run.log")).unwrap()
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join(".env")
    }

    /// SIGTERM now: the end comes in time, with code 0.
    async fn end(&mut self, moment: &str) {
        let asked = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        // Time in which a machine under load runs nobody is not the child's.
        let mut stalled = Duration::ZERO;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(asked.elapsed() < DEADLINE, "{moment}: it does not end: {}", self.log());
            let slept = Instant::now();
            tokio::time::sleep(Duration::from_millis(2)).await;
            stalled += slept.elapsed().saturating_sub(Duration::from_millis(20));
        };
        let took = asked.elapsed().saturating_sub(stalled);
        assert!(took < WITHIN, "{moment}: it took {took:?}: {}", self.log());
        assert_eq!(status.code(), Some(0), "{moment}: {status}: {}", self.log());
    }

    /// The last session the broker handed out is the one in the store.
    fn assert_last_token_stored(&self, moment: &str) {
        let last = self.control.with_log(|log| log.sessions.last().copied());
        let stored = StorePlace::named(".env", self.store().parent().unwrap()).open("ZERODHA", "zerodha").read();
        let stored = stored.unwrap().access_token.map(|token| token.fingerprint());
        assert_eq!(stored, last.map(|session| session.token), "{moment}: {last:?} {}", self.log());
    }

    /// A human logs in: the task ends when the server has answered the browser, or is gone.
    async fn log_in(&self) -> tokio::task::JoinHandle<()> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let mut url = format!("http://127.0.0.1:{}/api/auth/login", self.port);
        for _ in 0..2 {
            let answer = client.get(&url).send().await.unwrap();
            let location = answer.headers().get("location").unwrap_or_else(|| panic!("{answer:?}"));
            url = location.to_str().unwrap().to_owned();
        }
        tokio::spawn(async move {
            // Cut off where the process ends first.
            let _ = client.get(&url).send().await;
        })
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fault(control: &Control, rule: &str) {
    control.fault(rule.parse::<nirantar_exchange_mock::kite::FaultRule>().unwrap());
}

/// Whether a process has a handler for SIGTERM, the fifteenth signal.
fn takes_sigterm(process: u32) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << 14) != 0)
}

/// Runs those stories some at a time; how many there were.
async fn all<T>(stories: impl Iterator<Item = T>) -> Vec<T::Output>
where
    T: Future,
{
    futures_util::stream::iter(stories).buffer_unordered(SIDE_BY_SIDE).collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_at_thirty_moments_of_start_probe_and_renewal_ends_in_time_with_the_last_token_stored() {
    let stories = (0..30_u32).map(|number| async move {
        let mut story = Story::start(true, Some("slow=250ms")).await;
        // From the very start, two seconds before the first renewal, to after it.
        tokio::time::sleep(Duration::from_millis(110) * number).await;
        let moment = format!("moment {number}");
        story.end(&moment).await;
        story.assert_last_token_stored(&moment);
        let renewed = story.control.with_log(|log| log.renewals());
        // What ended in the middle of a renewal says so by the answer that it still took.
        (number, renewed, story.log().contains("renewal was cut off"))
    });
    let ended = all(stories).await;
    assert!(ended.iter().all(|(.., cut_off)| !cut_off), "{ended:?}");
    let renewals: std::collections::BTreeSet<usize> = ended.iter().map(|(_, renewed, _)| *renewed).collect();
    assert!(renewals.contains(&0) && renewals.len() > 1, "before and after a renewal: {ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_in_the_middle_of_a_renewal_stores_what_it_brings() {
    let stories = (0..6_u32).map(|number| async move {
        let mut story = Story::start(true, None).await;
        story.until("it is in use", || story.said("main: Valid")).await;
        fault(&story.control, "slow=600ms");
        let renewals = || story.control.with_log(|log| log.renewals());
        let before = renewals();
        story.until("the broker renews", || renewals() > before).await;
        tokio::time::sleep(Duration::from_millis(90) * number).await;
        let moment = format!("{number} x 90 ms into a renewal of 600 ms");
        story.end(&moment).await;
        story.assert_last_token_stored(&moment);
    });
    all(stories).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_never_answers_does_not_hold_up_the_end() {
    let mut story = Story::start(true, None).await;
    story.until("it is in use", || story.said("main: Valid")).await;
    fault(&story.control, "slow=60s");
    let before = story.control.with_log(|log| log.renewals());
    story.until("the broker renews", || story.control.with_log(|log| log.renewals()) > before).await;
    story.end("a renewal without an answer").await;
    assert!(story.log().contains("a renewal was cut off"), "{}", story.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_in_fallback_ends_in_time() {
    let stories = (0..4_u32).map(|number| async move {
        let mut story = Story::start(false, None).await;
        story.until("it is in Fallback", || story.said("main: Fallback")).await;
        tokio::time::sleep(Duration::from_millis(130) * number).await;
        story.end("Fallback").await;
        story.assert_last_token_stored("Fallback");
    });
    all(stories).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_while_a_login_is_being_exchanged_stores_its_token() {
    let stories = (0..6_u32).map(|number| async move {
        let mut story = Story::start(false, None).await;
        story.until("the login page is there", || story.said("log in at http")).await;
        fault(&story.control, "slow=600ms");
        let browser = story.log_in().await;
        let sessions = || story.control.with_log(|log| log.sessions.len());
        story.until("the code is at the broker", || sessions() == 1).await;
        tokio::time::sleep(Duration::from_millis(110) * number).await;
        let moment = format!("{number} x 110 ms into a login");
        story.end(&moment).await;
        story.assert_last_token_stored(&moment);
        assert_eq!(story.control.with_log(|log| log.sessions[0].how), How::Login);
        browser.await.unwrap();
    });
    all(stories).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigusr1_lifts_no_halt() {
    let mut story = Story::start(true, None).await;
    story.until("it is in use", || story.said("main: Valid")).await;
    story.until("the login page is there", || story.said("log in at http")).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://127.0.0.1:{}/api/{path}", story.port);
    let halt = client.post(url("operator/main/halt")).header("x-nirantar", "1").send().await.unwrap();
    assert!(halt.status().is_success(), "{halt:?}");
    let sent = Command::new("kill").args(["-USR1", &story.child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    story.until("the signal is answered", || story.log().contains("SIGUSR1 does not lift a halt")).await;
    let health = client.get(url("system/health")).send().await.unwrap().text().await.unwrap();
    assert!(health.contains("blocked (halted)"), "{health}");
    story.end("halted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resting_live_orders_stay_or_are_cancelled_as_the_account_says() {
    for on_stop in [OnStop::Leave, OnStop::Cancel] {
        let mut world = World::stepped(Plan { on_stop, ..Plan::new(Settings::default()) }).await;
        // Far below the market.
        let far = Price::from_paise(132_000);
        let order = OrderRequest::new(harness::instrument(), Side::Buy, 1, OrderType::Limit(far));
        let mut resting = Vec::new();
        for _ in 0..3 {
            let id = world.engine.submit(order.clone()).await.unwrap();
            world.wait_for_order(&id, OrderStatus::Open).await;
            resting.push(id.to_string());
        }
        world.pass(Duration::from_secs(1)).await;
        let began = Instant::now();
        world.engine.stop().await;
        assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
        let log = world.control.log();
        let placed: Vec<_> = log.orders.iter().filter(|order| order.action == OrderAction::Place).collect();
        let cancelled: Vec<_> = log.orders.iter().filter(|order| order.action == OrderAction::Cancel).collect();
        assert_eq!(placed.iter().filter(|order| order.accepted).count(), 3, "{:?}", log.orders);
        match on_stop {
            OnStop::Leave => assert!(cancelled.is_empty(), "{cancelled:?}"),
            OnStop::Cancel => {
                let mut ids: Vec<_> = placed.iter().map(|order| &order.order_id).collect();
                let mut gone: Vec<_> = cancelled.iter().map(|order| &order.order_id).collect();
                ids.sort();
                gone.sort();
                assert_eq!(ids, gone);
                assert!(cancelled.iter().all(|order| order.accepted), "{cancelled:?}");
            }
        }
    }
}
