//! A small HTTP/1.1 server that stands in for Telegram's Bot API and for a webhook, and does what it is told: answers,
//! refuses, hangs, breaks off. It keeps every request it got.
#![allow(dead_code, unreachable_pub, reason = "each file of tests uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nirantar_brokers::{Form, Secret};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// By the wall clock, far beyond anything a test waits for, for a machine under load.
const DEADLINE: Duration = Duration::from_secs(30);

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200.
    Good,
    /// That status.
    Status(u16),
    /// Telegram's 429, with the seconds to wait.
    TryAfter(u64),
    /// 403 in words that quote path and body, as some servers do.
    Quoting,
    /// The connection is dropped.
    Cut,
    /// No answer at all.
    Hang,
}

#[derive(Clone, Debug)]
struct Request {
    path: String,
    body: String,
    answer: Answer,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    answers: VecDeque<Answer>,
    hangs: bool,
}

/// The server. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct SinkServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

impl SinkServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), state: Arc::default(), news: Arc::default() };
        let myself = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(myself.clone().serve(stream));
            }
        });
        server
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How the next requests are answered, whoever sends them; after those all is good.
    pub fn next_answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().answers.extend(answers);
    }

    /// From now on nothing is answered.
    pub fn hang(&self) {
        self.state.lock().unwrap().hangs = true;
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    pub fn bodies(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.iter().map(|request| request.body.clone()).collect()
    }

    pub fn paths(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.iter().map(|request| request.path.clone()).collect()
    }

    /// What the webhook took.
    pub fn hooks(&self) -> Vec<Value> {
        self.taken("/hook")
    }

    /// What the webhook took of one kind.
    pub fn of_kind(&self, kind: &str) -> Vec<Value> {
        self.hooks().into_iter().filter(|alert| alert["kind"] == kind).collect()
    }

    /// The messages the bot took, all for the right chat.
    pub fn texts(&self) -> Vec<String> {
        let text = |message: Value| {
            assert_eq!(message["chat_id"], super::CHAT);
            message["text"].as_str().unwrap().to_owned()
        };
        self.taken("/bot").into_iter().map(text).collect()
    }

    fn taken(&self, path: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let of_it = |request: &&Request| request.answer == Answer::Good && request.path.starts_with(path);
        state.requests.iter().filter(of_it).map(|request| serde_json::from_str(&request.body).unwrap()).collect()
    }

    /// Waits, in real time, for something that requests bring about.
    pub async fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let news = self.news.notified();
                if is_so(self) {
                    return;
                }
                news.await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, wait).await;
        assert!(waited.is_ok(), "waited in vain for {what}: {:#?}", self.state.lock().unwrap());
    }

    /// The one-use code of a login at the broker's page.
    pub async fn code_of_a_login(&self, broker: &str) -> Secret {
        let host = broker.trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&host).await.unwrap();
        let request =
            format!("GET /connect/login?v=3&api_key=nirantar HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).expect("a redirect");
        let (_, query) = location.trim().split_once('?').unwrap();
        Secret::new(Form::parse(query.as_bytes()).get("request_token").unwrap())
    }

    /// One connection, request after request.
    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        while let Some((path, body)) = read_request(&mut stream, &mut bytes).await {
            let answer = {
                let mut state = self.state.lock().unwrap();
                let next = state.answers.pop_front().unwrap_or(Answer::Good);
                let answer = if state.hangs { Answer::Hang } else { next };
                state.requests.push(Request { path: path.clone(), body: body.clone(), answer });
                answer
            };
            let (status, body) = match answer {
                Answer::Good => (200, r#"{"ok":true}"#.to_owned()),
                Answer::Status(status) => (status, r#"{"ok":false,"description":"no"}"#.to_owned()),
                Answer::TryAfter(seconds) => {
                    (429, format!(r#"{{"ok":false,"parameters":{{"retry_after":{seconds}}}}}"#))
                }
                Answer::Quoting => (403, format!("Cannot POST {path}: {body}")),
                Answer::Cut | Answer::Hang => (0, String::new()),
            };
            let answered = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let written = if status > 0 { stream.write_all(answered.as_bytes()).await } else { Ok(()) };
            self.news.notify_waiters();
            match answer {
                Answer::Cut => return,
                Answer::Hang => std::future::pending::<()>().await,
                _ if written.is_err() => return,
                _ => {}
            }
        }
    }
}

/// The path and the body of the next request; `None` once the client is gone.
async fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let length = length.unwrap_or(0);
            if rest.len() >= length {
                let path = head.split(' ').nth(1)?.to_owned();
                bytes.drain(..head.len() + 4 + length);
                return Some((path, rest[..length].to_owned()));
            }
        }
        let mut more = [0; 4096];
        let read = stream.read(&mut more).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&more[..read]);
    }
}
