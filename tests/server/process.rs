//! The real program, in a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server of its own process. It is killed at the latest when the test lets go of it.
pub struct Process {
    pub child: Child,
    pub address: SocketAddr,
    /// What it has printed until it served.
    pub printed: String,
    pub out: BufReader<ChildStdout>,
}

impl Process {
    /// Serves at any free port, unless `arguments` say otherwise, and gives every account one euro.
    pub fn serve(catalog: &Path, data: &Path, arguments: &[&str]) -> Self {
        let listen = if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let mut child = Self::begin(catalog, data, &[arguments, listen].concat());
        let mut out = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut printed = String::new();
        while !printed.contains("ServerAddress::new(\"") {
            assert_ne!(out.read_line(&mut printed).expect("reads"), 0, "it ended early: {printed}");
        }
        let url = printed.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = url.and_then(|address| address.parse().ok()).expect("an address");
        Self { child, address, printed, out }
    }

    /// Starts the program, and does not wait until it serves.
    pub fn begin(catalog: &Path, data: &Path, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_iap-server"))
            .arg("serve")
            .args(["--welcome", "1.00EUR"])
            .arg("--catalog")
            .arg(catalog)
            .arg("--data")
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts")
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
