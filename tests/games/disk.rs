//! A save folder on a disk that is full or cannot be written: a clear word, and nothing lost.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::shop::{Game, Shop};
use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::storage::{Opened, Storage, StorageError};
use bevy_iap::client::{Connection, OrderState, Record, ServerAddress};
use bevy_iap::plugin::{IapPlugin, PurchaseError, Save, Store};
use bevy_iap::protocol::OrderId;

/// Opens a storage, and gives what is in it.
fn open(storage: &mut FileStorage) -> Result<(Opened, Vec<Record>), StorageError> {
    let mut records = Vec::new();
    let opened = storage.open(&mut |_, record| records.push(record))?;
    Ok((opened, records))
}

/// Set in the process that has the small limit.
const LIMITED: &str = "BEVY_IAP_TEST_LIMITED_SAVE";

/// The limit is on the size of any file (`RLIMIT_FSIZE`), so it needs a process of its own: this test again.
#[test]
#[cfg(unix)]
fn on_a_full_disk_nothing_is_sold_nothing_queued_is_lost_and_it_recovers() {
    if let Some(folder) = std::env::var_os(LIMITED) {
        return buy_until_the_disk_is_full(&folder.to_string_lossy());
    }
    let shop = Shop::open("100.00EUR");
    let status = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 200; exec "$0" --exact "$1" --nocapture"#])
        .arg(std::env::current_exe().expect("this test"))
        .arg("disk::on_a_full_disk_nothing_is_sold_nothing_queued_is_lost_and_it_recovers")
        .env(LIMITED, shop.folder.path())
        .status()
        .expect("a shell");
    assert!(status.success());
    let told: Vec<OrderId> = fs::read_to_string(shop.folder.path().join("queued"))
        .expect("the list")
        .lines()
        .map(|line| line.parse().expect("an order"))
        .collect();
    assert!(told.len() > 20, "{} orders fit", told.len());

    // There is room again: everything that was queued settles, and nothing else does.
    let mut game = shop.play("save");
    game.until("everything is answered", |store| store.orders().all(|order| order.state == OrderState::Granted));
    let settled: Vec<_> = game.store().orders().map(|order| order.id).collect();
    assert_eq!(settled.len(), told.len());
    assert!(told.iter().all(|order| settled.contains(order)));
    game.buy_until("shield", OrderState::Granted);
    shop.audit();
}

fn buy_until_the_disk_is_full(folder: &str) {
    let folder = std::path::Path::new(folder);
    let plugin = IapPlugin {
        save: Save::Folder(folder.join("save")),
        double_tap: std::time::Duration::ZERO,
        offline_grants: bevy_iap::client::OfflineGrants::Wait,
        ..IapPlugin::new("test_game", "test.catalog.ron")
    };
    let mut game = Game::start(&folder.join("assets"), plugin);
    game.until("the store is open", |store| store.availability().is_ok());
    let mut queued = Vec::new();
    let mut refused = 0;
    while refused < 3 {
        let order = game.store_mut().purchase("shield").expect("ordered");
        game.until("it is saved or not", |store| {
            store.order(order).is_some_and(|order| order.state != OrderState::Placed)
        });
        let order = game.order(order);
        match order.state {
            OrderState::Queued => queued.push(order.id.to_string()),
            OrderState::NotSaved => {
                let trouble = order.trouble.expect("words");
                assert!(trouble.contains("journal.iap") && trouble.contains("free some room"), "{trouble}");
                refused += 1;
            }
            other => panic!("{other:?} without a server"),
        }
        assert!(queued.len() < 5_000, "the limit has no effect");
    }
    fs::write(folder.join("queued"), queued.join("\n")).expect("written");
}

/// `iap-server` on the shop's data folder, with no file larger than what the shell's `ulimit -f` says.
#[cfg(unix)]
fn serve(shop: &Shop, limit: &str) -> (std::process::Child, ServerAddress) {
    let catalog = shop.folder.path().join("assets/test.catalog.ron");
    let mut process = Command::new("sh")
        .args(["-c", &format!(r#"trap "" XFSZ; ulimit -f {limit}; exec "$0" "$@""#), env!("CARGO_BIN_EXE_iap-server")])
        .args(["serve", "--listen", "127.0.0.1:0", "--welcome", "100.00EUR", "--catalog"])
        .arg(catalog)
        .arg("--data")
        .arg(shop.save("limited server"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let lines = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut words = lines.map(|line| line.split_whitespace().last().unwrap_or_default().to_owned());
    let url = words.next().expect("the URL");
    let key = words.next().expect("the key");
    let address = ServerAddress::new(&url, &key).expect("a key");
    // The pipe stays open for what else it prints.
    std::thread::spawn(move || words.count());
    (process, address)
}

#[test]
#[cfg(unix)]
fn a_server_whose_disk_is_full_changes_nothing_and_settles_when_there_is_room() {
    let shop = Shop::open("1.00EUR");
    let (mut process, address) = serve(&shop, "2000");
    let plugin = IapPlugin { server: Some(address), ..shop.plugin("save") };
    let mut game = shop.play_with(plugin.clone());
    let failed = |store: &Store| matches!(store.connection(), Connection::Retrying { trouble } if trouble.contains("status 500"));
    while !failed(game.store()) {
        let order = game.store_mut().purchase("shield").expect("ordered");
        game.until("it is granted or the server fails", |store| {
            failed(store) || store.order(order).is_some_and(|order| order.state == OrderState::Granted)
        });
        assert!(game.store().orders().count() < 2_000, "the limit has no effect");
    }
    let granted = game.store().quantity("shield");
    drop(game);
    process.kill().expect("killed");
    process.wait().expect("ended");

    let (mut process, address) = serve(&shop, "unlimited");
    let mut game = shop.play_with(IapPlugin { server: Some(address), ..plugin });
    game.until("everything is answered", |store| store.orders().all(|order| order.state == OrderState::Granted));
    let bought = game.store().orders().count();
    assert_eq!((game.store().quantity("shield"), granted + 1), (u64::try_from(bought).expect("few"), bought as u64));
    drop(game);
    process.kill().expect("killed");
    process.wait().expect("ended");
    let audit = Command::new(env!("CARGO_BIN_EXE_iap-server"))
        .args(["audit", "--data"])
        .arg(shop.save("limited server"))
        .output()
        .expect("runs");
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
}

#[test]
fn a_save_folder_that_cannot_be_written_is_told_with_its_path() {
    let shop = Shop::open("1.00EUR");
    fs::write(shop.folder.path().join("file"), "not a folder").expect("written");
    let plugin = IapPlugin { save: Save::Folder(shop.save("file").join("save")), ..shop.plugin("unused") };
    let mut game = Game::start(&shop.folder.path().join("assets"), plugin);
    game.until("it is told", |store| matches!(store.availability(), Err(PurchaseError::Failed { .. })));
    let error = game.store_mut().purchase("shield").expect_err("not ordered").to_string();
    assert!(error.contains("file/save") && error.contains("check that it can be written"), "{error}");
}

#[test]
fn a_key_that_is_lost_beside_a_journal_is_told_and_nothing_is_overwritten() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    game.buy_until("shield", OrderState::Granted);
    drop(game);
    let (key, journal) = (shop.save("save").join("device.key"), shop.save("save").join("journal.iap"));
    let before = (fs::read(&key).expect("read"), fs::read(&journal).expect("read"));
    fs::remove_file(&key).expect("removed");
    assert!(matches!(open(&mut FileStorage::new(shop.save("save"))), Err(StorageError::KeyMissing { .. })));
    fs::write(&key, "short").expect("written");
    assert!(matches!(open(&mut FileStorage::new(shop.save("save"))), Err(StorageError::KeyDamaged { .. })));
    fs::write(&key, &before.0).expect("written");
    assert_eq!(fs::read(&journal).expect("read"), before.1);
    assert_eq!(shop.play("save").store().quantity("shield"), 1);
}

#[test]
#[cfg(unix)]
fn the_devices_key_is_for_its_owners_eyes_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    open(&mut FileStorage::new(folder.path())).expect("opens");
    let mode = fs::metadata(folder.path().join("device.key")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_real_journal_cut_at_every_byte_of_its_last_record_opens_and_goes_on() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play_with(IapPlugin { server: None, ..shop.plugin("save") });
    game.buy_until("shield", OrderState::Queued);
    drop(game);
    let journal = shop.save("save").join("journal.iap");
    let end_of = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let one = end_of(&fs::read(&journal).expect("read"));
    let mut game = shop.play_with(IapPlugin { server: None, ..shop.plugin("save") });
    game.buy_until("shield", OrderState::Queued);
    drop(game);
    let whole = fs::read(&journal).expect("read");
    let two = end_of(&whole);
    for cut in one..two {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        fs::write(&journal, &bytes).expect("written");
        let mut storage = FileStorage::new(shop.save("save"));
        let (opened, records) = open(&mut storage).expect("opens");
        assert_eq!((records.len(), opened.access.may_write()), (2, true), "cut at {cut}");
        assert_eq!(opened.troubles.len(), usize::from(cut > one), "cut at {cut}: {:?}", opened.troubles);
        // What is appended next is read again, whatever the cut left behind it.
        storage.append(&records[1..]).expect("appends");
        drop(storage);
        assert_eq!(open(&mut FileStorage::new(shop.save("save"))).expect("opens").1.len(), 3, "cut at {cut}");
    }
}

/// A shop, and the journal of a player who bought three shields and left.
fn three_shields() -> (Shop, std::path::PathBuf) {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    for _ in 0..3 {
        game.buy_until("shield", OrderState::Granted);
    }
    drop(game);
    let journal = shop.save("save").join("journal.iap");
    (shop, journal)
}

#[test]
fn damage_in_the_middle_of_a_journal_is_told_and_the_rest_kept() {
    let (shop, journal) = three_shields();
    let mut bytes = fs::read(&journal).expect("read");
    bytes[400] ^= 1;
    fs::write(&journal, &bytes).expect("written");
    let (opened, records) = open(&mut FileStorage::new(shop.save("save"))).expect("opens");
    assert!(opened.is_damaged && opened.troubles[1].contains("journal.damaged-1"), "{:?}", opened.troubles);
    let aside = fs::read(shop.save("save").join("journal.damaged-1")).expect("kept");
    assert!(bytes.windows(aside.len()).any(|part| part == aside) && aside.len() > 1_000, "{} bytes", aside.len());
    // Until it is said that it was told, it is told again.
    let mut storage = FileStorage::new(shop.save("save"));
    let (again, kept) = open(&mut storage).expect("opens");
    assert_eq!((again.is_damaged, &again.troubles, &kept), (true, &opened.troubles, &records));
    storage.reported();
    drop(storage);
    let (again, kept) = open(&mut FileStorage::new(shop.save("save"))).expect("opens");
    assert_eq!((again.is_damaged, again.troubles.len(), kept), (false, 0, records));
}

#[test]
fn what_damage_took_from_a_journal_comes_back_from_the_server() {
    let (shop, journal) = three_shields();
    let whole = fs::read(&journal).expect("read");
    let end = whole.iter().rposition(|&byte| byte != 0).expect("records");
    // One byte anywhere, from the first record to the last, and so many that an order is gone together with its receipt.
    let places = (20..end).step_by(97).map(|at| (at, 1)).chain((20..end - 2_500).step_by(97).map(|at| (at, 2_000)));
    for (at, length) in places {
        let mut bytes = whole.clone();
        bytes[at..at + length].iter_mut().for_each(|byte| *byte ^= 1);
        fs::write(&journal, &bytes).expect("written");
        let mut game = shop.play("save");
        game.until("everything is back", |store| store.quantity("shield") == 3 && store.receipts().len() == 3);
        drop(game);
    }
    let mut game = shop.play("save");
    game.buy_until("shield", OrderState::Granted);
    assert_eq!(game.available(), "0.98");
    shop.audit();
}
