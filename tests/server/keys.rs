//! Keys that change: a server signs with short-lived keys that a root allows, and devices believe what the root says.

mod files;
mod full;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bevy_iap::protocol::sync::SyncResponse;
use bevy_iap::protocol::{JwkSet, KeyId, PublicKey, Receipt, ServerKeys, Status, Token, TrustedKeys as _, UnixSeconds};
use bevy_iap::server::clock::{Clock, SystemClock};
use bevy_iap::server::rotation::{self, Times};
use bevy_iap::server::{DataFolder, LocalServer, ServerConfig, SigningKeys};

use crate::command::{fails, text, works};
use crate::support::{Answer, Device, Shop, catalog, game, get, send_sync};

/// A device that learns lists of keys as the client does.
struct Trusting {
    device: Device,
    keys: ServerKeys,
}

impl Trusting {
    fn new(shop: &Shop) -> Self {
        Self { device: shop.device(), keys: ServerKeys::pinned([shop.server.public_key()]) }
    }

    fn pinning(device: Device, roots: &[PublicKey]) -> Self {
        Self { device, keys: ServerKeys::pinned(roots.iter().copied()) }
    }

    fn ask(&self, shop: &Shop, orders: &[Token]) -> (Token, Answer) {
        let mut request = self.device.request(0, orders);
        request.keys = self.keys.number();
        let request = request.sign(&self.device.key).expect("signs");
        let answer = send_sync(shop.address(), &request);
        (request, answer)
    }

    /// Syncs, learns the list that comes before the answer, and checks that the answer and its receipts count.
    fn sync(&mut self, shop: &Shop, orders: &[Token]) -> (SyncResponse, Vec<Receipt>) {
        let (request, answer) = self.ask(shop, orders);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (list, response) = match answer.text().split_once('\n') {
            Some((list, response)) => (Some(list), response),
            None => (None, answer.text()),
        };
        if let Some(list) = list {
            assert_eq!(self.keys.learn(&Token::from_text(list), &game()), Ok(true), "it is newer than what was known");
        }
        let (account, keys) = (self.device.account(), self.keys.as_of(0));
        let token = Token::from_text(response);
        let response = SyncResponse::verify(&token, &keys, &account, &game(), &request).expect("the answer counts");
        // What an answer that counts holds is vouched for by it.
        let listed = self.keys.all();
        let verify = |token: &Token| Receipt::verify_for(token, &listed, &game(), &account).expect("it verifies");
        let receipts = response.receipts.iter().map(verify).collect();
        (response, receipts)
    }

    fn buy(&mut self, shop: &Shop) -> Receipt {
        let order = self.device.order("shield", 1);
        let (_, receipts) = self.sync(shop, std::slice::from_ref(&order));
        let of_it = receipts.into_iter().find(|receipt| receipt.order_sha256 == order.sha256());
        let receipt = of_it.expect("the order is answered");
        assert_eq!(receipt.status, Status::Granted);
        receipt
    }
}

fn judged(shop: &Shop, key: KeyId, at: UnixSeconds) -> bool {
    let keys = SigningKeys::read(&folder(shop), &game()).expect("reads");
    keys.trusted().as_of(0).judge(key, at).is_ok()
}

fn folder(shop: &Shop) -> DataFolder {
    DataFolder::open(shop.folder.path()).expect("a store")
}

/// The number of the list that is in the folder.
fn number(folder: &DataFolder) -> u64 {
    SigningKeys::read(folder, &game()).expect("reads").trusted().number()
}

/// Waits until the running server signs with the keys that are in its folder.
fn taken(shop: &Shop) -> KeyId {
    let wanted = SigningKeys::read(&folder(shop), &game()).expect("reads").key_id();
    let started = Instant::now();
    let device = shop.device();
    loop {
        let request = device.request(0, &[]).sign(&device.key).expect("signs");
        let answer = send_sync(shop.address(), &request);
        if let Some((list, response)) = answer.text().split_once('\n') {
            let mut keys = ServerKeys::pinned([shop.server.public_key()]);
            keys.learn(&Token::from_text(list), &game()).expect("a list");
            let (account, keys, response) = (device.account(), keys.all(), Token::from_text(response));
            let response = SyncResponse::verify(&response, &keys, &account, &game(), &request).expect("verifies");
            // The list is there before the key that it allows.
            if response.server == wanted {
                return wanted;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the server does not take the key {wanted}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn data(shop: &Shop) -> String {
    text(shop.folder.path()).to_owned()
}

/// The same folder, served anew.
fn served_again(shop: Shop) -> Shop {
    let Shop { server, folder } = shop;
    drop(server);
    let mut config = ServerConfig::new(folder.path(), catalog());
    config.welcome = Some("1EUR".parse().expect("one euro"));
    Shop { server: LocalServer::start(config).expect("the server starts"), folder }
}

#[test]
fn running_server_takes_a_rotated_key_and_devices_follow_by_the_root_that_they_pin() {
    let shop = Shop::open();
    let mut early = Trusting::new(&shop);
    let first = early.buy(&shop);
    assert_eq!(first.server, shop.server.public_key().id());

    let told = works(&["keys", "rotate", "--data", &data(&shop)]);
    let signing = taken(&shop);
    assert!(
        told.contains(&signing.to_string()) && told.contains(&format!("number {}", number(&folder(&shop)))),
        "{told}"
    );
    let (_, receipts) = early.sync(&shop, &[]);
    assert_eq!(
        (early.keys.number(), receipts.len()),
        (number(&folder(&shop)), 1),
        "the receipt of before still counts"
    );
    assert_eq!(early.buy(&shop).server, signing);
    // The list comes once.
    let (_, answer) = early.ask(&shop, &[]);
    assert!(!answer.text().contains('\n'));

    works(&["keys", "rotate", "--data", &data(&shop)]);
    assert_ne!(taken(&shop), signing);
    assert_eq!(early.sync(&shop, &[]).1.len(), 2);
    assert_eq!(Trusting::new(&shop).buy(&shop).feed, 1);
    assert!(works(&["audit", "--data", &data(&shop)]).contains("no differences"));
    let set: JwkSet = serde_json::from_slice(&get(shop.address(), "/.well-known/jwks.json").body).expect("a key set");
    assert_eq!(set.public_keys().len(), 3, "the root and both signing keys");
}

#[test]
fn server_runs_without_its_root_once_keys_were_rotated() {
    let shop = Shop::open();
    let root = shop.server.public_key();
    let mut device = Trusting::new(&shop);
    works(&["keys", "rotate", "--data", &data(&shop)]);
    let safe = tempfile::tempdir().expect("a temporary folder");
    let moved = safe.path().join("root.key");
    fs::rename(shop.folder.path().join("server.key"), &moved).expect("moves");

    let shop = served_again(shop);
    assert_eq!(shop.server.public_key(), root);
    let receipt = device.buy(&shop);
    assert_ne!(receipt.server, root.id());
    let shown = works(&["keys", "show", "--data", &data(&shop)]);
    assert!(
        shown.contains(&root.to_string()) && shown.contains(&format!("number {}", number(&folder(&shop)))),
        "{shown}"
    );
    let order = receipt.order.to_string();
    works(&["refund", &order, "--data", &data(&shop)]);
    let (_, receipts) = device.sync(&shop, &[]);
    assert_eq!(receipts.last().map(|receipt| receipt.status), Some(Status::Refunded));

    let refused = fails(&["keys", "rotate", "--data", &data(&shop)]);
    assert!(refused.contains("server.key"), "{refused}");
    works(&["keys", "rotate", "--data", &data(&shop), "--root", text(&moved)]);
    taken(&shop);
    assert_eq!(device.buy(&shop).status, Status::Granted);
    assert_eq!(device.keys.number(), number(&folder(&shop)));
}

#[test]
fn revoked_key_signs_nothing_more_and_a_new_one_takes_its_place_at_once() {
    let shop = Shop::open();
    let mut device = Trusting::new(&shop);
    works(&["keys", "rotate", "--data", &data(&shop)]);
    let stolen = taken(&shop);
    device.buy(&shop);
    let stolen_key = fs::read(shop.folder.path().join("signing.key")).expect("reads");

    let told = works(&["keys", "revoke", &stolen.to_string(), "--data", &data(&shop)]);
    assert!(told.contains(&format!("revoked  {stolen}")), "{told}");
    let replaced = taken(&shop);
    assert_ne!(replaced, stolen);
    let (_, receipts) = device.sync(&shop, &[]);
    assert_eq!(receipts.len(), 1, "what it signed before counts");
    assert_eq!(device.buy(&shop).server, replaced);

    // The thief's answers count for nobody who heard of it.
    let thief = tempfile::tempdir().expect("a temporary folder");
    fs::write(thief.path().join("server.key"), stolen_key).expect("writes");
    let thief =
        Shop { server: LocalServer::start(ServerConfig::new(thief.path(), catalog())).expect("starts"), folder: thief };
    assert_eq!(thief.server.public_key().id(), stolen);
    device.device.enrol(thief.address());
    let (request, answer) = device.ask(&thief, &[]);
    let token = Token::from_text(answer.text());
    let believed = SyncResponse::verify(&token, &device.keys.as_of(0), &device.device.account(), &game(), &request);
    assert!(believed.is_err_and(|error| error.to_string().contains("revoked")));
    assert!(works(&["audit", "--data", &data(&shop)]).contains("no differences"));
}

#[test]
fn second_root_signs_when_the_first_is_lost_or_stolen() {
    let shop = Shop::open();
    let safe = tempfile::tempdir().expect("a temporary folder");
    let second = safe.path().join("second.key");
    let told = works(&["keys", "second-root", text(&second), "--data", &data(&shop)]);
    let roots = SigningKeys::read(&folder(&shop), &game()).expect("reads").roots().to_vec();
    assert!(roots.len() == 2 && roots[0] == shop.server.public_key() && told.contains(&roots[1].to_string()));
    assert!(fails(&["keys", "second-root", text(&second), "--data", &data(&shop)]).contains("is there already"));

    let mut device = Trusting::pinning(shop.device(), &roots);
    device.buy(&shop);
    works(&["keys", "rotate", "--data", &data(&shop)]);
    fs::remove_file(shop.folder.path().join("server.key")).expect("is lost");
    let first = roots[0].id().to_string();
    let revoked = ["keys", "revoke", &first, "--data", &data(&shop), "--root", text(&second)];
    works(&revoked);
    taken_by(&shop, &mut device, number(&folder(&shop)));
    assert_eq!(device.buy(&shop).status, Status::Granted);
    assert_eq!(device.sync(&shop, &[]).1.len(), 2);
    let refused =
        fails(&["keys", "revoke", &roots[1].id().to_string(), "--data", &data(&shop), "--root", text(&second)]);
    assert!(refused.contains("cannot revoke itself"), "{refused}");

    // What is shown to be pinned is the root that is left.
    let shown = works(&["keys", "show", "--data", &data(&shop)]);
    assert!(shown.contains(&format!("{first}, revoked")), "{shown}");
    assert_eq!(SigningKeys::read(&folder(&shop), &game()).expect("reads").root(), roots[1]);
    assert_eq!(served_again(shop).server.public_key(), roots[1]);
}

/// Waits until the server gives a list to a device that pins other roots than the first alone.
fn taken_by(shop: &Shop, device: &mut Trusting, number: u64) {
    let started = Instant::now();
    while device.keys.number() < number {
        assert!(started.elapsed() < Duration::from_secs(30), "the server does not take the list {number}");
        device.sync(shop, &[]);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn list_without_its_new_key_lets_the_one_before_sign_on_and_a_key_without_its_list_is_not_used() {
    let shop = Shop::open();
    works(&["keys", "rotate", "--data", &data(&shop)]);
    let before = fs::read(shop.folder.path().join("signing.key")).expect("reads");
    works(&["keys", "rotate", "--data", &data(&shop)]);
    // As where the list was copied, and the key not yet.
    fs::write(shop.folder.path().join("signing.key"), before).expect("writes");
    let shop = served_again(shop);
    let mut device = Trusting::new(&shop);
    device.buy(&shop);
    assert_eq!(device.keys.number(), number(&folder(&shop)));

    // A list that does not allow the key that is there is told, and nothing is signed with it.
    let other = tempfile::tempdir().expect("a temporary folder");
    let stranger =
        Shop { server: LocalServer::start(ServerConfig::new(other.path(), catalog())).expect("starts"), folder: other };
    let copied = fs::copy(stranger.folder.path().join("server.key"), shop.folder.path().join("signing.key"));
    copied.expect("copies");
    let refused = fails(&["keys", "show", "--data", &data(&shop)]);
    assert!(refused.contains("does not allow it to sign"), "{refused}");
    assert_eq!(device.buy(&shop).status, Status::Granted, "the server goes on with what it had");
}

#[test]
fn nothing_that_a_stolen_root_signs_counts_as_a_receipt_whatever_time_it_writes() {
    let shop = Shop::open();
    let second = shop.folder.path().join("second.key");
    works(&["keys", "second-root", text(&second), "--data", &data(&shop)]);
    works(&["keys", "rotate", "--data", &data(&shop)]);
    let stolen = SigningKeys::read(&folder(&shop), &game()).expect("reads").roots()[1].id();
    works(&["keys", "revoke", &stolen.to_string(), "--data", &data(&shop)]);
    let now = SystemClock.now();
    for at in [-1, 0, 1, now - 1_000, now, now + 1_000] {
        assert!(!judged(&shop, stolen, at), "{at}");
    }
}

#[test]
fn honest_receipts_of_a_key_that_is_revoked_as_of_an_earlier_time_are_no_differences() {
    let shop = Shop::open();
    works(&["keys", "rotate", "--data", &data(&shop)]);
    let stolen = taken(&shop);
    let mut device = Trusting::new(&shop);
    assert_eq!(device.buy(&shop).server, stolen);
    works(&["keys", "revoke", &stolen.to_string(), "--at", "2020-01-01", "--data", &data(&shop)]);
    assert!(works(&["audit", "--data", &data(&shop)]).contains("no differences"));
    assert!(shop.server.audit().expect("reads").is_clean());
}

#[test]
fn new_key_counts_on_clocks_that_are_behind_and_the_one_before_until_servers_have_looked() {
    let shop = Shop::open();
    let root = shop.server.public_key().id();
    let now = SystemClock.now();
    works(&["keys", "rotate", "--overlap-days", "0", "--data", &data(&shop)]);
    let signing = taken(&shop);
    assert!(judged(&shop, signing, now - 290) && !judged(&shop, signing, now - 400));
    assert!(judged(&shop, root, now + 50) && !judged(&shop, root, now + 120));
}

#[test]
fn signing_key_that_is_lost_is_replaced_by_a_rotation() {
    let shop = Shop::open();
    works(&["keys", "rotate", "--data", &data(&shop)]);
    taken(&shop);
    fs::remove_file(shop.folder.path().join("signing.key")).expect("is lost");
    let safe = tempfile::tempdir().expect("a temporary folder");
    let root = safe.path().join("root.key");
    fs::rename(shop.folder.path().join("server.key"), &root).expect("moves");
    let Shop { server, folder } = shop;
    drop(server);
    let refused = LocalServer::start(ServerConfig::new(folder.path(), catalog())).expect_err("nothing to sign with");
    assert!(refused.to_string().contains("signing.key"), "{refused}");
    works(&["keys", "rotate", "--data", text(folder.path()), "--root", text(&root)]);
    let shop =
        Shop { server: LocalServer::start(ServerConfig::new(folder.path(), catalog())).expect("starts"), folder };
    let mut device = Trusting::new(&shop);
    device.sync(&shop, &[]);
    assert_eq!(device.keys.number(), number(&DataFolder::open(shop.folder.path()).expect("a store")));
}

#[test]
fn backup_names_every_file_of_keys_that_must_be_kept_with_it() {
    let shop = Shop::open();
    works(&["keys", "rotate", "--data", &data(&shop)]);
    let file = shop.folder.path().join("books.backup");
    let told = works(&["backup", text(&file), "--data", &data(&shop)]);
    for name in ["server.key", "signing.key", "keys.jwt", "roots.pub"] {
        assert!(told.contains(name), "{told}");
    }
}

#[derive(Debug)]
struct ShiftedClock(AtomicI64);

impl Clock for ShiftedClock {
    fn now(&self) -> UnixSeconds {
        SystemClock.now() + self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn server_whose_key_has_ended_signs_nothing_until_it_has_a_new_one() {
    let clock = Arc::new(ShiftedClock(AtomicI64::new(0)));
    let of_server = Arc::clone(&clock);
    let shop = Shop::with(|config| config.clock = of_server);
    works(&["keys", "rotate", "--days", "30", "--data", &data(&shop)]);
    taken(&shop);
    let mut device = Trusting::new(&shop);
    device.buy(&shop);

    clock.0.store(31 * 86_400, Ordering::Relaxed);
    let order = device.device.order("shield", 1);
    let (_, answer) = device.ask(&shop, std::slice::from_ref(&order));
    answer.assert_refused("/problems/unavailable", 503);
    let times = Times { now: clock.now(), days: 30, overlap_days: 7 };
    rotation::rotate(&folder(&shop), &game(), None, times).expect("rotates");
    taken_by_clock(&shop, &mut device);
    let (_, receipts) = device.sync(&shop, &[order]);
    assert_eq!(receipts.len(), 2);
    assert!(receipts.iter().all(|receipt| receipt.status == Status::Granted));
}

/// Waits until the server answers again.
fn taken_by_clock(shop: &Shop, device: &mut Trusting) {
    let started = Instant::now();
    while device.ask(shop, &[]).1.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(30), "the server does not take the new key");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn secret_keys_are_for_their_owner_alone() {
    let shop = Shop::open();
    let second = shop.folder.path().join("second.key");
    works(&["keys", "second-root", text(&second), "--data", &data(&shop)]);
    works(&["keys", "rotate", "--data", &data(&shop)]);
    for file in ["server.key", "signing.key", "second.key"] {
        let path: &Path = &shop.folder.path().join(file);
        let length = fs::metadata(path).expect("is there").len();
        assert_eq!(length, 44, "{file}");
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).expect("is there").permissions()) & 0o777,
            0o600
        );
    }
}
