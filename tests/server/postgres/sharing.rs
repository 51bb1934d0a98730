//! Several servers on one database.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::sync::{SyncRequest, Wait};
use bevy_iap::protocol::{ConsumptionStatus, GameId, SecretKey};
use bevy_iap::server::audit::audit;
use bevy_iap::server::ledger::operation::{Hold, Payout};
use bevy_iap::server::ledger::{
    Action, ConsumptionOutcome, Ledger, LedgerError, OperateError, Operation, OperationId, PostgresLedger, PostgresUrl,
    VerifiedConsumption,
};
use bevy_iap::server::{Database, LocalServer, ServerConfig, ServerError, cli};

use super::{Till, is_new, orders, receipts};
use crate::cluster;
use crate::support::{Device, catalog, game, send_sync};

#[test]
fn same_orders_sent_to_three_servers_at_once_are_charged_once_with_the_same_receipts() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(20);
    let batch = Arc::new(orders(&mut devices, "shield", 10));
    let start = Arc::new(Barrier::new(3));
    let servers: Vec<_> = [200, 50, 7]
        .into_iter()
        .map(|size| {
            let (mut till, batch, start) = (Till::at(&url), Arc::clone(&batch), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let settle = |part: &[_]| till.settle(part).expect("settles");
                batch.chunks(size).flat_map(settle).collect::<Vec<_>>()
            })
        })
        .collect();
    let outcomes: Vec<_> = servers.into_iter().map(|server| server.join().expect("ends")).collect();
    let told: Vec<_> = outcomes.iter().map(|outcomes| receipts(&batch, outcomes)).collect();
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    assert_eq!(outcomes.iter().flatten().filter(|outcome| is_new(outcome)).count(), 200, "each is new once");
    for device in &devices {
        assert_eq!(till.euros(device), 950_000);
    }
    till.assert_right();
}

/// Has three servers operate at once, `count` times each, and gives how many were not refused.
fn at_once(url: &PostgresUrl, count: u8, action: impl Fn(u8) -> Action) -> usize {
    let start = Arc::new(Barrier::new(3));
    let servers: Vec<_> = (0..3)
        .map(|server| {
            let actions: Vec<Action> = (0..count).map(&action).collect();
            let (mut till, start) = (Till::at(url), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let mut operate = |(number, action): (u8, Action)| {
                    let id = OperationId([server, number, action.sha256().0[0], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                    match till.operate(&Operation::new(id, action)) {
                        Ok(_) => true,
                        Err(OperateError::Refused(_)) => false,
                        Err(error) => panic!("{error}"),
                    }
                };
                (0..).zip(actions).filter(|(number, action)| operate((*number, action.clone()))).count()
            })
        })
        .collect();
    servers.into_iter().map(|server| server.join().expect("ends")).sum()
}

#[test]
fn what_an_account_holds_is_set_aside_once_whichever_server_is_asked() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let devices = till.devices(40);
    let money = "1EUR".parse().expect("money");
    let hold = |number| {
        let account = devices[usize::from(number)].account();
        Hold { account, money, expires_at: 2_000_000 }.into()
    };
    assert_eq!(at_once(&url, 40, hold), 40, "each wallet once");
    assert!(devices.iter().all(|device| till.euros(device) == 0));
    till.assert_right();
}

#[test]
fn creator_is_paid_no_more_than_is_payable_whichever_server_is_asked() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(10);
    till.settle(&orders(&mut devices, "skin", 1)).expect("settles");
    // 70 % of ten skins of 0.07 are 0.49.
    let payout = |_| {
        let (creator, source) = ("ann".parse().expect("a name"), "bank".parse().expect("a name"));
        Payout { creator, money: "0.07EUR".parse().expect("money"), source }.into()
    };
    assert_eq!(at_once(&url, 4, payout), 7);
    till.assert_right();
}

#[test]
fn servers_that_make_the_tables_at_once_all_start() {
    let Some(cluster) = cluster::shared() else { return };
    for _ in 0..5 {
        let (url, schema) = cluster.fresh_books();
        let start = Arc::new(Barrier::new(4));
        let servers: Vec<_> = (0..4)
            .map(|_| {
                let (url, start) = (url.clone(), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    PostgresLedger::open(&url, &game()).map(drop)
                })
            })
            .collect();
        for server in servers {
            server.join().expect("ends").expect("starts");
        }
        assert_eq!(cluster.admin_at(&schema, "SELECT value FROM meta WHERE name = 'version'"), ["6"]);
    }
}

#[test]
fn product_that_everybody_buys_is_written_in_stripes_and_read_as_one() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let servers: Vec<_> = (0..4)
        .map(|_| {
            let mut till = Till::at(&url);
            thread::spawn(move || {
                let mut devices = till.devices(10);
                for part in orders(&mut devices, "skin", 10).chunks(20) {
                    assert!(till.settle(part).expect("settles").iter().all(is_new));
                }
            })
        })
        .collect();
    servers.into_iter().for_each(|server| server.join().expect("ends"));
    let stripes = cluster.admin_at(&schema, "SELECT stripe FROM accounts WHERE kind = 'revenue'");
    assert!(stripes.len() > 1, "{stripes:?}");
    let mut rows = Revenue::default();
    Till::at(&url).ledger.read(&mut rows).expect("reads");
    // 400 of 0.07 each, of which 17.5 % are the game's.
    assert_eq!(rows.0, [4_900_000]);
    Till::at(&url).assert_right();
}

/// The credits of the revenue, one for each row.
#[derive(Default)]
struct Revenue(Vec<i64>);

macro_rules! ignores {
    ($($row:ident: $type:ident,)*) => {
        impl bevy_iap::server::ledger::BookReader for Revenue {
            fn account(&mut self, row: bevy_iap::server::ledger::AccountRow) {
                if row.kind == "revenue" {
                    self.0.push(row.credits_posted);
                }
            }
            $(fn $row(&mut self, _: bevy_iap::server::ledger::$type) {})*
        }
    };
}

ignores! {
    transfer: TransferRow,
    device: DeviceRow,
    order: OrderRow,
    receipt: ReceiptRow,
    hold: HoldRow,
    operation: OperationRow,
}

#[test]
fn books_of_a_newer_version_another_game_or_none_are_refused_unharmed() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    assert!(matches!(PostgresLedger::open_existing(&url), Err(LedgerError::NoBooks)));
    let mut till = Till::at(&url);
    let device = till.devices(1).remove(0);
    let other = GameId::new("chess").expect("a name");
    let error = PostgresLedger::open(&url, &other).expect_err("another game");
    assert!(matches!(error, LedgerError::OtherGame { .. }), "{error}");
    cluster.admin_at(&schema, "UPDATE meta SET value = '7' WHERE name = 'version'");
    let error = PostgresLedger::open(&url, &game()).expect_err("a newer version");
    assert!(matches!(error, LedgerError::NewerVersion { found: 7, known: 6 }), "{error}");
    cluster.admin_at(&schema, "UPDATE meta SET value = '6' WHERE name = 'version'");
    assert_eq!(Till::at(&url).euros(&device), 1_000_000);
}

#[test]
fn damaged_account_fails_its_own_orders_and_nobody_elses() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(2);
    let (device, account) = (devices[0].id(), devices[0].account());
    cluster.admin_at(&schema, &format!("UPDATE accounts SET source = 'no source' WHERE owner = '{account}'"));
    let batch = orders(&mut devices, "shield", 2);
    let outcomes = till.settle(&batch).expect("settles");
    let settled = batch.iter().zip(&outcomes).filter(|(_, outcome)| is_new(outcome));
    let settled: BTreeSet<_> = settled.map(|(order, _)| order.order().device).collect();
    assert!(!settled.contains(&device) && settled.len() == 1, "{outcomes:?}");
    cluster.admin_at(&schema, "UPDATE accounts SET source = 'welcome' WHERE kind = 'wallet'");
    assert_eq!(till.settle(&batch).expect("settles").iter().filter(|outcome| is_new(outcome)).count(), 2);
    till.assert_right();
}

fn start(folder: &Path, database: &str) -> Result<LocalServer, ServerError> {
    let mut config = ServerConfig::new(folder, catalog());
    config.welcome = Some("1EUR".parse().expect("money"));
    config.database = database.parse::<Database>().expect("a URL");
    LocalServer::start(config)
}

#[test]
fn two_servers_serve_one_device_and_share_one_key() {
    let Some(cluster) = cluster::shared() else { return };
    let (_, schema) = cluster.fresh_books();
    let url = cluster.text_url(&schema);
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let first = start(folders[0].path(), &url).expect("starts");
    let error = start(folders[1].path(), &url).expect_err("it has no key");
    assert!(matches!(error, ServerError::KeyMissing(_)), "{error}");
    let key = |folder: usize| folders[folder].path().join("server.key");
    fs::write(key(1), "A".repeat(43) + "\n").expect("writes");
    let error = start(folders[1].path(), &url).expect_err("it has another key");
    assert!(matches!(error, ServerError::OtherKey { .. }), "{error}");
    fs::copy(key(0), key(1)).expect("copies");
    let second = start(folders[1].path(), &url).expect("starts");

    let mut device = Device::new();
    assert_eq!(device.enrol(first.address()).status, 201);
    assert_eq!(device.enrol(second.address()).status, 200);
    let order = device.order("shield", 1);
    for server in [&first, &second] {
        let request = device.request(0, std::slice::from_ref(&order)).sign(&device.key).expect("signs");
        let answer = send_sync(server.address(), &request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let response = device.read(server.public_key(), &request, &answer);
        assert_eq!((response.receipts.len(), response.wallet[0].available.value()), (1, 995_000));
    }
    let data = folders[1].path().display().to_string();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["iap-server", "audit", "--data", &data, "--database", &url];
    assert_eq!(cli::run(arguments, &mut out, &mut err), 0, "{}", String::from_utf8_lossy(&err));
    assert!(String::from_utf8_lossy(&out).contains("1 orders"), "{}", String::from_utf8_lossy(&out));
    assert!(first.audit().expect("audits").is_clean());
}

#[test]
fn what_one_server_does_reaches_whoever_waits_at_the_other() {
    let Some(cluster) = cluster::shared() else { return };
    let (_, schema) = cluster.fresh_books();
    let url = cluster.text_url(&schema);
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let first = start(folders[0].path(), &url).expect("starts");
    fs::copy(folders[0].path().join("server.key"), folders[1].path().join("server.key")).expect("copies");
    let second = start(folders[1].path(), &url).expect("starts");
    let device = Device::new();
    assert_eq!(device.enrol(first.address()).status, 201);

    let wallet = first.show(&device.account()).expect("the account is there").wallet;
    let wait = Some(Wait { seconds: 30, wallet: wallet.clone() });
    let request = SyncRequest { wait, ..device.request(0, &[]) }.sign(&device.key).expect("signs");
    let (address, sent, started) = (first.address(), request.clone(), Instant::now());
    let waiting = thread::spawn(move || send_sync(address, &sent));
    thread::sleep(Duration::from_millis(300));
    second.credit(&device.account(), "0.50EUR".parse().expect("money")).expect("credits");
    let response = device.read(first.public_key(), &request, &waiting.join().expect("it ends"));
    assert_ne!(response.wallet, wallet);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn lot_that_is_taken_for_empty_or_for_full_is_found_by_the_audit() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(2);
    till.settle(&orders(&mut devices[..1], "shield", 200)).expect("settles");
    till.assert_right();
    for (device, told) in devices.iter().zip(["it is open, and empty", "it is not open, and not empty"]) {
        let swap = format!("UPDATE accounts SET open = NOT open WHERE owner = '{}'", device.account());
        cluster.admin_at(&schema, &swap);
        let key = SecretKey::from_seed(&[42; 32]).public();
        let report = audit(&mut till.ledger, &[key], &game()).expect("audits");
        assert!(report.differences.len() == 1 && report.differences[0].contains(told), "{report}");
        cluster.admin_at(&schema, &swap);
    }
    till.assert_right();
}

#[test]
fn item_that_several_servers_are_asked_to_use_up_is_used_once() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(1);
    till.settle(&orders(&mut devices, "shield", 10)).expect("settles");
    let device = devices.remove(0);
    // Each server is sent the same one, and fifteen that no other is sent.
    let wanted = |sequence: u64| {
        let token = device.consumption(sequence, "shield", 1).sign(&device.key).expect("signs");
        VerifiedConsumption::verify(token, device.key.public(), &device.account(), &game()).expect("verifies")
    };
    let (shared, start) = (wanted(1), Arc::new(Barrier::new(3)));
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let batch: Vec<_> = std::iter::once(shared.clone()).chain((2..17).map(wanted)).collect();
            let (mut till, start) = (Till::at(&url), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let consume = |one: &VerifiedConsumption| till.consume(std::slice::from_ref(one)).expect("decides");
                batch.iter().flat_map(consume).collect::<Vec<_>>()
            })
        })
        .collect();
    let outcomes: Vec<_> = servers.into_iter().flat_map(|server| server.join().expect("ends")).collect();
    let count = |wanted: fn(&ConsumptionOutcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let consumed =
        count(|outcome| matches!(outcome, ConsumptionOutcome::Settled { status: ConsumptionStatus::Consumed, .. }));
    assert_eq!((outcomes.len(), consumed), (48, 10));
    assert_eq!(count(|outcome| *outcome == ConsumptionOutcome::Replayed), 2);
    till.assert_right();
}
