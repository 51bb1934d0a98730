//! The command line: what it prints, what it exits with, and that a server survives being stopped any way at all.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bevy_iap::server::{DataFolder, LocalServer, ServerConfig, ServerError, cli};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::process::Process;
use crate::support::{CATALOG, Device, Shop, catalog, try_send};

/// What a command exited with, and what it printed.
pub fn run(arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli::run(["iap-server"].iter().chain(arguments), &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (code, text(out), text(err))
}

/// Checks that a command works, and returns what it printed.
pub fn works(arguments: &[&str]) -> String {
    let (code, out, err) = run(arguments);
    // The id that was chosen is told before anything is done.
    assert!(code == cli::SUCCESS && (err.is_empty() || err.starts_with("id  ")), "{arguments:?}: {err}");
    out
}

/// Checks that a command fails, and returns why.
pub fn fails(arguments: &[&str]) -> String {
    let (code, out, err) = run(arguments);
    assert_eq!((code, out.as_str()), (cli::FAILURE, ""), "{arguments:?}: {err}");
    err
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A folder with a catalogue, and where a store can be.
struct Place {
    folder: TempDir,
    catalog: String,
    data: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let catalog = folder.path().join("catalog.ron");
        fs::write(&catalog, CATALOG).expect("writes");
        let (catalog, data) = (text(&catalog).to_owned(), text(&folder.path().join("store")).to_owned());
        Self { folder, catalog, data }
    }

    /// The real program, serving.
    fn serve(&self) -> Process {
        Process::serve(Path::new(&self.catalog), Path::new(&self.data), &[])
    }
}

#[test]
fn served_store_prints_what_to_paste_and_stops_cleanly_when_asked() {
    let place = Place::new();
    for signal in ["-TERM", "-INT"] {
        let mut process = place.serve();
        let key = DataFolder::open(Path::new(&place.data)).and_then(|folder| folder.key()).expect("a key").public();
        let line = format!("ServerAddress::new(\"http://{}\", \"{key}\")", process.address);
        assert!(process.printed.lines().any(|found| found.trim() == line), "{}", process.printed);
        assert!(works(&["keys", "show", "--data", &place.data]).contains(&key.to_string()));
        let device = Device::new();
        assert_eq!(device.enrol(process.address).status, 201);
        process.signal(signal);
        let mut rest = String::new();
        process.out.read_to_string(&mut rest).expect("reads");
        assert_eq!(rest.trim(), "stopped");
        assert_eq!(process.child.wait().expect("ends").code(), Some(0));
    }
    assert!(works(&["audit", "--data", &place.data]).contains("2 devices"));
}

#[test]
fn server_that_is_killed_in_the_middle_of_its_work_has_lost_nothing_it_answered() {
    let place = Place::new();
    let mut answered = 0;
    for _ in 0..3 {
        let process = place.serve();
        let address = process.address;
        answered += thread::scope(|scope| {
            let buyers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(move || {
                        let mut device = Device::new();
                        device.enrol(address);
                        let mut granted = 0;
                        loop {
                            let order = device.order("shield", 1);
                            let request = device.request(0, &[order]).sign(&device.key).expect("signs");
                            let body = request.as_str().as_bytes();
                            let headers = [("content-type", "application/jose")];
                            match try_send(address, "POST", "/v1/sync", &headers, body) {
                                Some(answer) if answer.status == 200 => granted += 1,
                                _ => return granted,
                            }
                        }
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(300));
            process.signal("-KILL");
            buyers.into_iter().map(|buyer| buyer.join().expect("ends")).sum::<u64>()
        });
    }
    assert!(answered > 0);
    let report = works(&["audit", "--data", &place.data]);
    let orders = report.split(", ").find_map(|part| part.strip_suffix(" orders")).and_then(|count| count.parse().ok());
    assert!(orders.is_some_and(|orders: u64| orders >= answered), "{answered} were answered: {report}");
}

#[test]
fn commands_work_beside_a_server_that_is_running() {
    let shop = Shop::open();
    let mut device = shop.device();
    let (account, data) = (device.account(), text(shop.folder.path()));
    let claims = device.claims("double_jump", 1);
    let order = device.sign(&claims);
    device.sync(&shop, 0, &[order]);

    let told = works(&["credit", account.as_str(), "0.50", "EUR", "--data", data]);
    assert!(told.starts_with(&format!("credited 0.50 EUR; {account} now holds 1.45 EUR\nid  ")), "{told}");
    assert_eq!(device.euros(&shop), 1_450_000);

    let told = works(&["show", account.as_str(), "--data", data]);
    assert!(told.contains("wallet    holds 1.45 EUR") && told.contains(&format!("{}  granted", claims.id)), "{told}");

    let id = claims.id.to_string();
    let told = works(&["refund", &id, "--data", data]);
    assert!(told.starts_with(&format!("refunded 0.05 EUR for 1 × double_jump to {account}\nid  ")), "{told}");
    assert!(fails(&["refund", &id, "--data", data]).contains("was refunded before"));
    assert_eq!(device.receipts(&shop, 1, &[]).len(), 1);
    assert!(works(&["audit", "--data", data]).ends_with("no differences\n"));
}

#[test]
fn operation_that_fails_has_told_the_id_under_which_it_is_done_once() {
    let shop = Shop::open();
    let (device, data) = (shop.device(), text(shop.folder.path()));
    let account = device.account();
    let store = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    let set_source = |source: &str| store.execute("UPDATE accounts SET source = ?1", [source]).expect("changes");
    set_source("no source at all");
    let credit = ["credit", account.as_str(), "1", "EUR", "--data", data];
    let (code, out, err) = run(&credit);
    assert_eq!((code, out.as_str()), (cli::FAILURE, ""));
    let id = err.lines().next().and_then(|line| line.strip_prefix("id  ")).expect("the id comes first");
    assert!(err.contains(&format!("do the same again under the id {id}, and it is done once")), "{err}");
    set_source("welcome");
    for _ in 0..2 {
        let told = works(&[&credit[..], &["--id", id]].concat());
        assert!(told.contains("now holds 2.00 EUR") && told.ends_with(&format!("id  {id}\n")), "{told}");
    }
    assert_eq!(device.euros(&shop), 2_000_000);
}

#[test]
fn refund_of_a_part_needs_an_id() {
    let (code, out, err) = run(&["refund", &"1".repeat(32), "--quantity", "1", "--data", "."]);
    assert_eq!((code, out.as_str()), (cli::USAGE, ""));
    assert!(err.contains("--id <ID>"), "{err}");
}

#[test]
fn account_may_start_with_a_hyphen() {
    let shop = Shop::open();
    let data = text(shop.folder.path());
    for account in ["-hAbc", "--help-me", "-V", "-"] {
        for arguments in [&["credit", account, "1", "EUR", "--data", data][..], &["show", account, "--data", data]] {
            assert!(fails(arguments).contains(&format!("there is no account {account};")), "{arguments:?}");
        }
        assert!(fails(&["credit", "--data", data, account, "1", "EUR"]).contains(account));
    }
}

#[test]
fn credit_that_is_not_above_zero_is_refused() {
    let shop = Shop::open();
    let (account, data) = (shop.device().account(), text(shop.folder.path()));
    for amount in ["0", "-1"] {
        assert!(
            fails(&["credit", account.as_str(), amount, "EUR", "--data", data])
                .contains("is not above zero; write an amount above zero")
        );
    }
    for (amount, currency, told) in [("1,5", "EUR", "write 1.5"), ("1", "euro", "ISO 4217"), ("1", "eur", "write EUR")]
    {
        let (code, _, err) = run(&["credit", account.as_str(), amount, currency, "--data", data]);
        assert_eq!(code, cli::USAGE, "{err}");
        assert!(err.contains(told), "{err}");
    }
}

#[test]
fn audit_that_finds_something_fails() {
    let shop = Shop::open();
    shop.device();
    let path = shop.folder.path().join("store.sqlite");
    let connection = Connection::open(path).expect("opens");
    connection.execute("UPDATE accounts SET credits_posted = 5", []).expect("changes");
    let (code, out, _) = run(&["audit", "--data", text(shop.folder.path())]);
    assert_eq!(code, cli::FAILURE);
    assert!(out.contains("its credits are 5, and its transfers add up to 1000000"), "{out}");
}

#[test]
fn catalogue_is_checked_with_every_mistake_and_its_place() {
    let place = Place::new();
    assert!(works(&["catalog", "check", &place.catalog]).contains("arcade, 7 products, 8 prices"));
    let bad = place.folder.path().join("bad.ron");
    fs::write(&bad, CATALOG.replace("\"0.005\"", "\"0,005\"").replace("hours: 24", "hours: 0")).expect("writes");
    let told = fails(&["catalog", "check", text(&bad)]);
    assert!(told.contains("bad.ron:5:") && told.contains("write 0.005") && told.contains("bad.ron:7:"), "{told}");
    assert_eq!(fails(&["serve", "--catalog", text(&bad), "--data", &place.data]), told);
    assert!(fails(&["catalog", "check", "nowhere.ron"]).contains("`nowhere.ron` cannot be read"));
}

#[test]
fn what_cannot_be_served_is_told_with_what_to_do() {
    let place = Place::new();
    let serve =
        |data: &str, listen: &str| fails(&["serve", "--catalog", &place.catalog, "--data", data, "--listen", listen]);
    let other = TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = other.local_addr().expect("an address").to_string();
    let expected = format!("error: address {address} is in use; stop the other server or pass --listen\n");
    assert_eq!(serve(&place.data, &address), expected);
    let inside_a_file = format!("{}/store", place.catalog);
    assert!(serve(&inside_a_file, "127.0.0.1:0").contains("cannot be used"));

    let shop = Shop::open();
    let served = text(shop.folder.path());
    assert!(serve(served, "127.0.0.1:0").contains("is served by another `iap-server`"));
    assert!(fails(&["show", "somebody", "--data", "/nowhere"]).contains("there is no store in `/nowhere`"));
}

/// Starts a server on a folder where one was stopped, after `change`; it must be refused.
fn refused_after(change: impl FnOnce(&Path, &mut ServerConfig)) -> ServerError {
    let shop = Shop::open();
    let Shop { server, folder } = shop;
    server.stop();
    let mut config = ServerConfig::new(folder.path(), catalog());
    change(folder.path(), &mut config);
    LocalServer::start(config).expect_err("it must be refused")
}

#[test]
fn folder_that_is_not_this_servers_is_refused() {
    let error = refused_after(|_, config| {
        let text = CATALOG.replace("arcade", "chess");
        config.catalog = bevy_iap::protocol::Catalog::parse("catalog.ron", &text).expect("a good catalogue");
    });
    assert!(error.to_string().contains("the books are of the game arcade, and this is chess"), "{error}");
    let error = refused_after(|folder, _| {
        let connection = Connection::open(folder.join("store.sqlite")).expect("opens");
        connection.pragma_update(None, "user_version", 99).expect("set");
    });
    assert!(error.to_string().contains("version 99") && error.to_string().contains("newer"), "{error}");
    let error = refused_after(|folder, _| fs::write(folder.join("store.sqlite"), [7; 5_000]).expect("writes"));
    assert!(matches!(error, ServerError::Books { .. }), "{error}");
}

#[test]
fn key_that_games_trust_is_never_replaced() {
    let error = refused_after(|folder, _| fs::remove_file(folder.join("server.key")).expect("removes"));
    assert!(matches!(error, ServerError::KeyMissing(_)), "{error}");
    for damaged in ["", "short\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let error = refused_after(|folder, _| fs::write(folder.join("server.key"), damaged).expect("writes"));
        assert!(matches!(error, ServerError::Key { .. }), "{error}");
    }
    let Shop { server, folder } = Shop::open();
    let key = server.public_key();
    server.stop();
    let server = LocalServer::start(ServerConfig::new(folder.path(), catalog())).expect("starts again");
    assert_eq!(server.public_key(), key);
}

#[cfg(unix)]
#[test]
fn key_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let shop = Shop::open();
    let file = shop.folder.path().join("server.key");
    assert_eq!(fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).expect("reads");
    assert_eq!((text.len(), text.ends_with('\n')), (44, true));
}

#[test]
fn wrong_arguments_and_asking_for_help_exit_as_they_should() {
    assert_eq!(run(&[]).0, cli::USAGE);
    assert_eq!(run(&["serve", "--port", "1"]).0, cli::USAGE);
    assert_eq!(run(&["refund", "xyz", "--data", "."]).0, cli::USAGE);
    for arguments in [&["--help"][..], &["serve", "--help"], &["credit", "--help"], &["--version"]] {
        assert!(!works(arguments).is_empty());
    }
}

#[test]
fn local_server_can_be_used_and_stopped_inside_async_code() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let shop = Shop::open();
        let device = shop.device();
        shop.server.credit(&device.account(), "1EUR".parse().expect("money")).expect("credits");
        assert_eq!(device.euros(&shop), 2_000_000);
        shop.server.stop();
    });
}
