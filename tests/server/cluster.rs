//! A real PostgreSQL for tests, which starts by itself in a temporary folder and ends with the test, however that ends.

use std::env;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;

use bevy_iap::server::ledger::PostgresUrl;
use tempfile::TempDir;

/// What a server of the database and its folder are ended by: it waits until whoever started it is gone.
const KEEPER: &str = r#"read -r _; "$1/pg_ctl" -s -m immediate -D "$2" stop; rm -rf "$2"/*"#;

/// A PostgreSQL server.
pub struct Cluster {
    programs: PathBuf,
    user: Option<(u32, u32)>,
    folder: TempDir,
    port: u16,
    keeper: Child,
}

/// The server that the tests of this program share; none if PostgreSQL is not installed, which is told by name. Where
/// everything must be tested, that is a failure.
pub fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = SHARED.get_or_init(|| Some(Cluster::start(&programs()?, "max_connections=60"))).as_ref();
    if cluster.is_none() {
        skip();
    }
    cluster
}

/// A server for one test alone.
pub fn own(setting: &str) -> Option<Cluster> {
    let cluster = programs().map(|programs| Cluster::start(&programs, setting));
    if cluster.is_none() {
        skip();
    }
    cluster
}

fn skip() {
    let missing = "there is no PostgreSQL on this computer; install it, for example with `apt-get install postgresql`";
    assert!(env::var_os("CI").is_none(), "{missing}");
    let name = thread::current().name().unwrap_or("a test").to_owned();
    // Not captured, as what `eprintln` writes is.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {missing}");
}

/// Where the server's programs are.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    folders.sort();
    folders.reverse();
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
}

/// The user to run as: PostgreSQL refuses to be run by root.
fn user() -> Option<(u32, u32)> {
    let number = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("`id` runs");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("the user `postgres` exists")
    };
    (number(&["-u"]) == 0).then(|| (number(&["-u", "postgres"]), number(&["-g", "postgres"])))
}

impl Cluster {
    fn start(programs: &Path, setting: &str) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder");
        let user = user();
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("the folder is given away");
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(programs).arg(folder.path()).stdin(Stdio::piped());
        // In a group of its own, so that what ends the tests with all that they started does not end it too.
        keeper.process_group(0);
        let keeper = as_user(&mut keeper, user).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
        let cluster = Self { programs: programs.to_owned(), user, folder, port, keeper };
        cluster.run("initdb", &["-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]);
        // What is tested is what the server does, and not the disk.
        let options =
            format!("-c fsync=off -c listen_addresses=127.0.0.1 -p {port} -k {} -c {setting}", cluster.path());
        let log = cluster.folder.path().join("log");
        cluster.run("pg_ctl", &["-s", "-w", "-o", &options, "-l", &log.display().to_string(), "start"]);
        cluster
    }

    fn path(&self) -> std::path::Display<'_> {
        self.folder.path().display()
    }

    /// Ends the server as a crash would, and starts it again.
    pub fn crash(&self) {
        self.run("pg_ctl", &["-s", "-w", "-m", "immediate", "restart"]);
    }

    /// Ends the connections of whoever works in a schema.
    pub fn disconnect(&self, schema: &str) {
        let mine = format!("FROM pg_stat_activity WHERE application_name = '{schema}' AND pid <> pg_backend_pid()");
        self.admin(&format!("SELECT pg_terminate_backend(pid) {mine}"));
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-D").arg(self.folder.path()).args(arguments).current_dir(self.folder.path());
        let status = as_user(&mut command, self.user).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(status.expect("runs").success(), "{program} {arguments:?}: {log}");
    }

    /// The URL of a place for books that nobody else uses: a schema of its own, which is made if it is missing.
    pub fn books(&self, schema: &str) -> PostgresUrl {
        self.admin(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        self.text_url(schema).parse().expect("a good URL")
    }

    /// As [`Cluster::books`], under a new name.
    pub fn fresh_books(&self) -> (PostgresUrl, String) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let schema = format!("books_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        (self.books(&schema), schema)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn text_url(&self, schema: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?application_name={schema}&options=-csearch_path%3D{schema}",
            self.port
        )
    }

    /// Does something as the database's own administrator, and gives the first column of what comes of it.
    pub fn admin(&self, statements: &str) -> Vec<String> {
        self.admin_at("public", statements)
    }

    pub fn admin_at(&self, schema: &str, statements: &str) -> Vec<String> {
        let url = self.text_url(schema).replacen(&format!("application_name={schema}"), "application_name=test", 1);
        let statements = statements.to_owned();
        let (done, result) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let rows = runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
                tokio::spawn(connection);
                client.simple_query(&statements).await
            });
            let _ = done.send(rows);
        });
        let messages = result.recv().expect("it is done").expect("the database does it");
        let first = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.into_iter().filter_map(first).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        match self.keeper.wait() {
            Err(error) if error.kind() != ErrorKind::InvalidInput => eprintln!("the database was not stopped: {error}"),
            _ => {}
        }
    }
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    match user {
        Some((user, group)) => command.uid(user).gid(group),
        None => command,
    }
}
