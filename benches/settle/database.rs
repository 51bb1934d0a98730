//! A PostgreSQL server of the benchmark's own, on the disk that everything else is measured on.
//!
//! It is set up as its programs set it up: every commit is flushed to the disk (`fsync` and `synchronous_commit` are
//! on), as SQLite's are with `synchronous=FULL`.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use bevy_iap::server::ledger::PostgresUrl;
use tempfile::TempDir;

use crate::memory;
use crate::one_by_one::CONNECTIONS;

/// The server; it is stopped when this is dropped.
pub struct Database {
    programs: PathBuf,
    user: Option<(u32, u32)>,
    folder: TempDir,
    port: u16,
}

/// A server, or none if PostgreSQL is not installed, which is told. Where everything must be measured, that is a
/// failure.
pub fn start() -> Option<Database> {
    let database = programs().map(Database::start);
    if database.is_none() {
        let missing =
            "there is no PostgreSQL on this computer; install it, for example with `apt-get install postgresql`";
        assert!(env::var_os("CI").is_none(), "{missing}");
        println!("NOT MEASURED: {missing}");
    }
    database
}

/// Where the server's programs are.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = installed.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders.into_iter().find(|folder| ["initdb", "pg_ctl", "pgbench"].iter().all(|name| folder.join(name).exists()))
}

/// The user to run as: PostgreSQL refuses to be run by root.
fn user() -> Option<(u32, u32)> {
    let number = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("`id` runs");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("the user `postgres` exists")
    };
    (number(&["-u"]) == 0).then(|| (number(&["-u", "postgres"]), number(&["-g", "postgres"])))
}

impl Database {
    fn start(programs: PathBuf) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let user = user();
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("the folder is given away");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let database = Self { programs, user, folder, port };
        let path = database.folder.path().display().to_string();
        database.run("initdb", &["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", &path]);
        let options = format!("-c listen_addresses=127.0.0.1 -p {port} -k {path}");
        let log = format!("{path}/log");
        database.run("pg_ctl", &["-s", "-w", "-D", &path, "-o", &options, "-l", &log, "start"]);
        database
    }

    /// Runs one of its programs, and gives what it has written.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.output(program, arguments);
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(output.status.success(), "{program} {arguments:?}: {}{log}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        if program == "pg_ctl" {
            // The server that it starts would keep a pipe open for as long as it lives.
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command.output().expect("it runs")
    }

    /// Bytes of memory of all its processes.
    pub fn memory(&self) -> u64 {
        let text = fs::read_to_string(self.folder.path().join("postmaster.pid")).expect("it runs");
        let first: u32 = text.lines().next().and_then(|first| first.parse().ok()).expect("a number");
        let started_by = |process: u32| -> Option<u32> {
            let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let own = processes.filter(|process| *process == first || started_by(*process) == Some(first));
        own.map(memory::own).sum()
    }

    /// A database of a new name, and the URL of it.
    pub fn make(&self, name: &str) -> PostgresUrl {
        self.run("createdb", &["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", name]);
        self.url(name).parse().expect("a good URL")
    }

    pub fn url(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let path = self.folder.path().display().to_string();
        self.output("pg_ctl", &["-s", "-w", "-m", "immediate", "-D", &path, "stop"]);
    }
}

/// PostgreSQL's own benchmark: the transactions of TPC-B, three updates, a query and an insert each, as pgbench does them
/// unless it is told otherwise.
pub struct Pgbench<'a> {
    database: &'a Database,
}

impl<'a> Pgbench<'a> {
    /// Makes its tables: of as many branches as there are connections, as its documentation wants it, so that these do
    /// not wait for each other more than they must.
    pub fn prepare(database: &'a Database) -> Self {
        database.make("pgbench");
        let bench = Self { database };
        bench.run(&["-i", "-q", "-s", &CONNECTIONS.to_string()]);
        bench
    }

    /// Transactions a second.
    pub fn rate(&self) -> f64 {
        let text = self.run(&["-c", &CONNECTIONS.to_string(), "-j", "2", "-T", "10"]);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("it tells no rate: {text}"))
    }

    fn run(&self, arguments: &[&str]) -> String {
        let port = self.database.port.to_string();
        let whose = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
        self.database.run("pgbench", &[&whose, arguments, &["pgbench"]].concat())
    }
}
