//! `nirantar exchange` as a child process of a test, on a free port of loopback. It is ended with the test.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a child may take to say that it listens. Generous: a busy machine is no failure.
const START: Duration = Duration::from_secs(60);

/// The command under test, without arguments, and without what the environment of the tests may hold.
pub(crate) fn nirantar() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nirantar-child"));
    for name in ["API_KEY", "API_SECRET", "USER_ID", "ACCESS_TOKEN"] {
        command.env_remove(format!("ZERODHA_{name}"));
    }
    command.env_remove("NIRANTAR_EXCHANGE_SECRET").env_remove("NIRANTAR_LOG").stdin(Stdio::null());
    command
}

/// A running exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Exchange {
    /// Starts one with these options more and waits until it listens.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut child = nirantar()
            .args(["exchange", "--broker", "kite", "--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let stderr = BufReader::new(child.stderr.take().expect("its stderr is a pipe"));
        let (found, listens) = mpsc::channel();
        // Reads to the end, or the child would stop at a full pipe.
        std::thread::spawn(move || {
            let mut said = Vec::new();
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening on ") {
                    let _ = found.send(Ok(address.to_owned()));
                }
                said.push(line);
            }
            let _ = found.send(Err(said.join("\n")));
        });
        let address = match listens.recv_timeout(START) {
            Ok(Ok(address)) => address.parse().expect("it says an address"),
            Ok(Err(said)) => panic!("the exchange ended and said: {said}"),
            Err(_) => panic!("the exchange did not listen within {START:?}"),
        };
        Self { child, address }
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks it to end, as a supervisor does, and waits until it has.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.expect("there is a `kill`").success());
        self.child.wait().expect("it ends")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
