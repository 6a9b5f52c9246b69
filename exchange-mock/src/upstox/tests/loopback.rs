//! The same over real sockets and a stepped clock: the date of every answer, a cut reply, and the notifier.

use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::time::SteppedClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// How long a test waits for what must come, in real time.
const PATIENCE: Duration = Duration::from_secs(20);

async fn server(settings: Settings) -> UpstoxServer {
    let clock = Arc::new(SteppedClock::starting_at(at("09:00:00")));
    UpstoxServer::start("127.0.0.1:0".parse().unwrap(), settings, clock).await.unwrap()
}

async fn raw(server: &UpstoxServer, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let length = body.len();
    let request = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Takes one notice and answers with that status: its first line and its body.
async fn notifier(status: u16) -> (NotifierUrl, tokio::task::JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/n/path", listener.local_addr().unwrap()).parse().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        loop {
            let mut chunk = [0; 1024];
            let read = stream.read(&mut chunk).await.unwrap();
            request.extend_from_slice(&chunk[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                if body.len() == length.parse::<usize>().unwrap() {
                    let answer = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    return (head.lines().next().unwrap().to_owned(), body.to_owned());
                }
            }
            assert!(read > 0, "the notice broke off");
        }
    });
    (url, task)
}

/// Waits until the server has noted so many notices.
async fn noted(control: &Control, expected: Tally) {
    let noted = async {
        while control.with_log(|log| log.notices) != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("the notice was not noted");
}

#[tokio::test]
async fn an_approval_is_posted_to_the_notifier() {
    let server = server(Settings::default()).await;
    let control = server.control();
    for (status, expected) in [(200, Tally { granted: 1, refused: 0 }), (500, Tally { granted: 1, refused: 1 })] {
        let (url, posted) = notifier(status).await;
        control.notifier(Some(url));
        let path = "POST /v3/login/auth/token/request/nirantar";
        let asked = raw(&server, path, r#"{"client_secret":"nirantar-secret"}"#).await;
        assert!(asked.starts_with("HTTP/1.1 200") && asked.contains("notifier_url"), "{asked}");
        let notice = control.approve().unwrap();
        let (line, body) = tokio::time::timeout(PATIENCE, posted).await.unwrap().unwrap();
        assert_eq!((line.as_str(), body.as_str()), ("POST /n/path HTTP/1.1", notice.expose()));
        noted(&control, expected).await;
        assert_eq!(control.approve(), Err(NothingAsked));
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_lost_reply_is_a_cut_connection_and_every_answer_has_the_servers_date() {
    let server = server(Settings { grant: Grant::Works, ..Settings::default() }).await;
    let control = server.control();
    let refresh = control.login().refresh_token.unwrap();
    let form = format!(
        "grant_type=refresh_token&refresh_token={}&client_id=nirantar&client_secret=nirantar-secret\
         &redirect_uri=http%3A%2F%2F127.0.0.1%2F",
        refresh.expose()
    );
    control.lose_replies(1);
    assert_eq!(raw(&server, "POST /v2/login/authorization/token", &form).await, "");
    assert_eq!(control.log().renewals, Tally { granted: 1, refused: 0 });
    let again = raw(&server, "POST /v2/login/authorization/token", &form).await.to_lowercase();
    assert!(again.starts_with("http/1.1 400") && again.contains("date: fri, 20 nov 2026 03:30:00 gmt"), "{again}");
    let log = raw(&server, "GET /nirantar/log", "").await;
    assert!(log.contains(r#""renewals":{"granted":1,"refused":1}"#) && !log.contains(refresh.expose()), "{log}");
    assert_eq!(control.kill_tokens(), 1);
}
