//! A database that is away, busy or in the way.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::server::cli;
use bevy_iap::server::ledger::{Ledger, LedgerError, PostgresLedger, PostgresUrl};

use super::{Till, is_new, order, orders, receipts};
use crate::cluster::{self, Cluster};
use crate::support::game;

/// A way to the database that loses the connection right after the database has committed, before it can say so.
pub struct Cutter {
    pub url: PostgresUrl,
    pub port: u16,
    pub armed: Arc<AtomicBool>,
    pub cuts: Arc<AtomicUsize>,
    /// Whether it lets nobody through after that.
    pub stays_shut: Arc<AtomicBool>,
    /// Whether it only falls silent, and leaves the connection open.
    pub silent: Arc<AtomicBool>,
}

impl Cutter {
    pub fn before(cluster: &Cluster, schema: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (own, port) = (listener.local_addr().expect("an address").port(), cluster.port());
        let url = cluster.text_url(schema).replace(&format!(":{port}/"), &format!(":{own}/"));
        let (armed, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stays_shut, silent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let cutter = Self {
            url: url.parse().expect("a URL"),
            port: own,
            armed: Arc::clone(&armed),
            cuts: Arc::clone(&cuts),
            stays_shut: Arc::clone(&stays_shut),
            silent: Arc::clone(&silent),
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stays_shut.load(Ordering::SeqCst) && cuts.load(Ordering::SeqCst) > 0 {
                    continue;
                }
                let database = TcpStream::connect(("127.0.0.1", port)).expect("connects");
                let (mut up, mut down) = (client.try_clone().expect("clones"), database.try_clone().expect("clones"));
                thread::spawn(move || std::io::copy(&mut up, &mut down));
                let (armed, cuts, silent) = (Arc::clone(&armed), Arc::clone(&cuts), Arc::clone(&silent));
                thread::spawn(move || pass(database, client, &armed, &cuts, &silent));
            }
        });
        cutter
    }
}

/// Passes on what the database says, until it says that it has committed.
fn pass(mut database: TcpStream, mut client: TcpStream, armed: &AtomicBool, cuts: &AtomicUsize, silent: &AtomicBool) {
    let mut chunk = [0; 65536];
    while let Ok(length @ 1..) = database.read(&mut chunk) {
        let committed = chunk[..length].windows(7).any(|window| window == b"COMMIT\0");
        if committed && armed.swap(false, Ordering::SeqCst) {
            cuts.fetch_add(1, Ordering::SeqCst);
            while silent.load(Ordering::SeqCst) && matches!(database.read(&mut chunk), Ok(1..)) {}
            let _ = client.shutdown(Shutdown::Both);
            let _ = database.shutdown(Shutdown::Both);
            return;
        }
        if client.write_all(&chunk[..length]).is_err() {
            return;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

#[test]
fn commit_whose_answer_is_lost_is_not_done_twice() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let cutter = Cutter::before(cluster, &schema);
    let mut till = Till::at(&url);
    let mut devices = till.devices(3);
    let mut cut = Till::at(&cutter.url);
    for round in 1..=5 {
        let batch = orders(&mut devices, "shield", 2);
        cutter.armed.store(true, Ordering::SeqCst);
        let outcomes = cut.settle(&batch).expect("settles");
        assert_eq!(cutter.cuts.load(Ordering::SeqCst), round);
        assert!(!outcomes.iter().any(is_new), "they were settled by the commit whose answer was lost");
        assert_eq!(receipts(&batch, &outcomes), receipts(&batch, &till.settle(&batch).expect("settles")));
        assert_eq!(till.euros(&devices[0]), 1_000_000 - 10_000 * round as i64);
    }
    till.assert_right();
}

#[test]
fn command_whose_commit_is_not_answered_is_done_once_under_the_id_that_it_told() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let cutter = Cutter::before(cluster, &schema);
    let mut till = Till::at(&url);
    let device = till.devices(1).remove(0);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("server.key"), format!("{}Kio\n", "Kioq".repeat(10))).expect("writes");
    let data = folder.path().display().to_string();
    let credit = |port: u16, id: &[&str]| {
        let database = cluster.text_url(&schema).replace(&format!(":{}/", cluster.port()), &format!(":{port}/"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let account = device.account();
        let arguments =
            ["iap-server", "credit", account.as_str(), "1", "EUR", "--data", &data, "--database", &database];
        let code = cli::run(arguments.iter().chain(id), &mut out, &mut err);
        (code, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
    };
    let port = cutter.port;
    cutter.stays_shut.store(true, Ordering::SeqCst);
    cutter.armed.store(true, Ordering::SeqCst);
    let (code, out, err) = credit(port, &[]);
    assert_eq!((code, out.as_str(), cutter.cuts.load(Ordering::SeqCst)), (cli::FAILURE, "", 1), "{err}");
    assert_eq!(till.euros(&device), 2_000_000, "it was done, and nobody was told");
    let id = err.lines().next().and_then(|line| line.strip_prefix("id  ")).expect("the id comes first");
    let (code, out, err) = credit(cluster.port(), &["--id", id]);
    assert!(code == cli::SUCCESS && out.contains("now holds 2.00 EUR"), "{out}{err}");
    assert_eq!(till.euros(&device), 2_000_000);
    till.assert_right();
}

#[test]
fn connection_that_is_ended_at_any_moment_costs_no_order_and_charges_none_twice() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(4);
    // How long it takes to connect again and settle, on this machine.
    let mut taken: Vec<Duration> = (0..5)
        .map(|_| {
            cluster.disconnect(&schema);
            let started = Instant::now();
            till.settle(&orders(&mut devices, "shield", 1)).expect("settles");
            started.elapsed()
        })
        .collect();
    taken.sort_unstable();
    let usual = taken[2];
    let done = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&done);
    let settling = thread::spawn(move || {
        for round in 5..60 {
            let batch = orders(&mut devices, "shield", 1);
            let outcomes = till.settle(&batch).expect("settles");
            assert_eq!(receipts(&batch, &outcomes).len(), 4, "{round}");
        }
        ended.store(true, Ordering::SeqCst);
        (till, devices)
    });
    let mut kills: u32 = 0;
    while !done.load(Ordering::SeqCst) && !settling.is_finished() {
        cluster.disconnect(&schema);
        kills += 1;
        // Another moment of the transaction each time, and after its end as well.
        thread::sleep(usual * if kills.is_multiple_of(13) { 32 } else { kills % 13 } / 8);
    }
    let (mut till, devices) = settling.join().expect("settles");
    assert!(kills > 3, "{kills}");
    for device in &devices {
        assert_eq!(till.euros(device), 1_000_000 - 60 * 5_000);
    }
    till.assert_right();
}

#[test]
fn database_that_crashes_and_comes_back_is_survived() {
    let Some(cluster) = cluster::own("max_connections=20") else { return };
    let (url, _) = cluster.fresh_books();
    let ledger = PostgresLedger::open(&url, &game()).expect("opens").with_patience(Duration::from_secs(60));
    let mut till = Till::of(ledger);
    let mut devices = till.devices(4);
    let settling = thread::spawn(move || {
        let (mut rounds, end) = (0, Instant::now() + Duration::from_secs(4));
        while Instant::now() < end {
            let batch = orders(&mut devices, "shield", 1);
            assert_eq!(receipts(&batch, &till.settle(&batch).expect("settles")).len(), 4);
            rounds += 1;
            thread::sleep(Duration::from_millis(20));
        }
        (till, devices, rounds)
    });
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(700));
        cluster.crash();
    }
    let (mut till, devices, rounds) = settling.join().expect("settles");
    assert_eq!(till.euros(&devices[0]), 1_000_000 - rounds.min(200) * 5_000);
    till.assert_right();
}

#[test]
fn database_without_a_free_connection_is_told_and_found_again() {
    let Some(cluster) = cluster::own("max_connections=8") else { return };
    let (url, schema) = cluster.fresh_books();
    let ledger = PostgresLedger::open(&url, &game()).expect("opens").with_patience(Duration::from_millis(300));
    let mut till = Till::of(ledger);
    let mut devices = till.devices(1);
    let batch = orders(&mut devices, "shield", 1);
    cluster.disconnect(&schema);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let crowd = runtime.block_on(async {
        let mut crowd = Vec::new();
        // The connection that was ended may take a moment to go.
        for _ in 0..100 {
            match tokio_postgres::connect(&cluster.text_url("public"), tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    crowd.push(client);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        crowd
    });
    let error = till.settle(&batch).expect_err("there is no connection");
    assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("too many clients"), "{error}");
    drop(crowd);
    runtime.shutdown_timeout(Duration::from_secs(5));
    let end = Instant::now() + Duration::from_secs(10);
    let outcomes = loop {
        match till.settle(&batch) {
            Ok(outcomes) => break outcomes,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    };
    assert!(is_new(&outcomes[0]));
    till.assert_right();
}

#[test]
fn transaction_that_deadlocks_is_done_again() {
    let Some(cluster) = cluster::own("deadlock_timeout=500ms") else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(2);
    devices.sort_by_key(|device| device.id().to_string());
    let [low, high] = [0, 1].map(|number: usize| devices[number].id().to_string());
    let batch = orders(&mut devices, "shield", 1);
    let text = cluster.text_url(&schema);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let lock = |id: &str| format!("SELECT 1 FROM devices WHERE id = '{id}' FOR UPDATE");
    let hostile = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&text, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        // It never gives way by itself.
        client.batch_execute("SET deadlock_timeout = '1min'; BEGIN").await.expect("begins");
        client.batch_execute(&lock(&high)).await.expect("locks");
        client
    });
    let settling = thread::spawn(move || (till.settle(&batch), till));
    let waiting = "SELECT 1 FROM pg_locks WHERE NOT granted";
    while cluster.admin(waiting).is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    // Each waits for the other now; the database ends the transaction of the server.
    runtime.block_on(hostile.batch_execute(&lock(&low))).expect("the hostile session wins");
    runtime.block_on(hostile.batch_execute("COMMIT")).expect("commits");
    let (outcomes, mut till) = settling.join().expect("ends");
    assert!(outcomes.expect("settles").iter().all(is_new));
    till.assert_right();
}

#[test]
fn books_can_be_used_from_threads_that_run_async_code() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut builders = [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()];
    for builder in &mut builders {
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut till = Till::at(&url);
            let mut device = till.devices(1).remove(0);
            assert!(is_new(&till.settle(&[order(&mut device, "shield")]).expect("settles")[0]));
            cluster.disconnect(&schema);
            assert!(till.ledger.device(device.id()).expect("reads").is_some());
        });
    }
}

#[test]
fn password_is_in_no_error_and_no_log() {
    let Some(cluster) = cluster::shared() else { return };
    let url = format!("postgres://nobody:s3cret@127.0.0.1:{}/nothing", cluster.port());
    let url: PostgresUrl = url.parse().expect("a URL");
    let error = PostgresLedger::open(&url, &game()).expect_err("there is no such user");
    assert!(!format!("{error} {error:?} {url} {url:?}").contains("s3cret"), "{error:?}");

    let told = |arguments: &[&str]| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = cli::run(["iap-server"].iter().chain(arguments), &mut out, &mut err);
        (code, String::from_utf8_lossy(&[out, err].concat()).into_owned())
    };
    let url = "postgres://iap:s3cret@localhost/store";
    let (code, text) = told(&["serve", "--print-config", "--database", url]);
    assert!(code == 0 && text.contains("postgres://iap@localhost:5432/store") && !text.contains("s3cret"), "{text}");
    let far = "postgres://iap:s3cret@far.example/store";
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("server.key"), "").expect("writes");
    let (code, text) = told(&["audit", "--data", &folder.path().display().to_string(), "--database", far]);
    assert!(code == 1 && text.contains("does not encrypt") && !text.contains("s3cret"), "{text}");
}
