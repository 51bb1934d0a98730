//! How much more memory a server takes up after many accounts were made: a process of its own, which does nothing else,
//! so that nothing that was freed before hides what it takes.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;

use bevy_iap::protocol::sync::Enrolment;
use rayon::prelude::*;

use crate::wire::Connection;
use crate::{shop, wire};

const ACCOUNTS: usize = 100_000;
/// Accounts that are made before the first look, so that everything that is made once was made.
const FIRST: usize = 1_000;
const CONNECTIONS: usize = 8;
/// The argument that makes this program such a server, before its folder and its database.
const SERVE: &str = "--serve";

/// Whether this process was started to be a server. Then it was one, until it was told to end.
pub fn serves() -> bool {
    let mut arguments = std::env::args().skip_while(|argument| argument != SERVE).skip(1);
    let (Some(folder), Some(database)) = (arguments.next(), arguments.next()) else { return false };
    let server = wire::start(folder.as_ref(), database.parse().expect("a database"));
    println!("{}", server.address());
    io::stdout().flush().expect("written");
    io::stdin().read_to_end(&mut Vec::new()).expect("read");
    true
}

/// More bytes of memory of a server's process, and of others that `beside` looks at, after the accounts were made.
pub fn grown(database: &str, beside: impl Fn() -> u64) -> (u64, u64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let myself = std::env::current_exe().expect("it has a path");
    let mut command = Command::new(myself);
    command.arg(SERVE).arg(folder.path()).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Running(command.spawn().expect("it starts"));
    let mut address = String::new();
    let told = server.0.stdout.take().expect("it is piped");
    BufReader::new(told).read_line(&mut address).expect("it tells where it listens");
    let address = address.trim().parse().expect("an address");
    let enrol = |population, count| {
        let bodies: Vec<Vec<u8>> = shop::devices(population, count)
            .par_iter()
            .map(|device| {
                let enrolment = Enrolment::sign(&device.key, &shop::game(), shop::NOW).expect("signs");
                serde_json::to_vec(&enrolment).expect("serialises")
            })
            .collect();
        thread::scope(|scope| {
            for bodies in wire::dealt(bodies, CONNECTIONS) {
                scope.spawn(move || {
                    let mut connection = Connection::open(address);
                    for body in bodies {
                        assert_eq!(connection.post("/v1/devices", "application/json", &body).0, 201);
                    }
                });
            }
        });
    };
    enrol(8, FIRST);
    let before = (own(server.0.id()), beside());
    enrol(9, ACCOUNTS);
    let after = (own(server.0.id()), beside());
    (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1))
}

/// A server's process, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends");
    }
}

/// Bytes of memory of a process, of what it shares with others its part; zero where the system does not say.
pub fn own(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let pss = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    pss.unwrap_or(0) * 1024
}
