//! Accounts with several devices, end to end: what was bought is on every one of them, once, and a lost device, a lost
//! answer or a kill in the middle changes nothing of that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bevy::prelude::On;
use bevy_iap::client::transport::http::HttpTransport;
use bevy_iap::client::transport::{Pending, Request, Transport, TransportError};
use bevy_iap::client::{Connection, OrderState};
use bevy_iap::plugin::{AccountError, ConsumeRefused, IapPlugin, PurchaseError, Store};
use bevy_iap::protocol::sync::SyncRequest;
use bevy_iap::protocol::{AccountId, PublicKey, Token};
use bevy_iap::server::LoginConfig;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use crate::shop::{Game, Shop};

/// Real HTTP, on which answers to a path are lost after so many of them.
#[derive(Debug)]
struct Cut {
    http: HttpTransport,
    path: &'static str,
    /// How many answers still arrive.
    left: AtomicU64,
    bodies: Mutex<Vec<(&'static str, Token)>>,
}

impl Cut {
    fn new(shop: &Shop, path: &'static str, left: u64) -> Arc<Self> {
        let http = HttpTransport::new(&shop.address.url).expect("a transport");
        Arc::new(Self { http, path, left: AtomicU64::new(left), bodies: Mutex::default() })
    }

    fn plugin(self: &Arc<Self>, shop: &Shop, save: &str) -> IapPlugin {
        IapPlugin { transport: Some(self.clone()), listen: false, ..shop.plugin(save) }
    }

    /// The cursors of the syncs so far, by the device with `key`, for `account`.
    fn cursors(&self, key: PublicKey, account: &AccountId) -> Vec<u64> {
        let bodies = self.bodies.lock().expect("not poisoned");
        let game = "test_game".parse().expect("a name");
        let of_account = |token: &Token| SyncRequest::verify(token, key, account, &game).ok();
        bodies.iter().filter_map(|(_, token)| of_account(token)).map(|request| request.cursor).collect()
    }
}

impl Transport for Cut {
    fn send(&self, request: Request) -> Pending {
        let text = std::str::from_utf8(&request.body).unwrap_or_default();
        self.bodies.lock().expect("not poisoned").push((request.path, Token::from_text(text)));
        let counts = request.path == self.path;
        let take = |left: u64| left.checked_sub(1);
        let is_lost = counts && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err();
        let answer = self.http.send(request);
        Box::pin(async move {
            // The server has done it by the time that the answer is lost.
            let answer = answer.await?;
            if is_lost { Err(TransportError::TimedOut) } else { Ok(answer) }
        })
    }
}

fn code_of(game: &mut Game) -> String {
    game.store_mut().request_link_code().expect("asked");
    game.until("there is a code", |store| store.link_code().is_some());
    game.store().link_code().expect("a code").code.to_string()
}

fn account_of(game: &Game) -> AccountId {
    game.store().account().expect("open").clone()
}

/// Joins the account of `first`, and waits until it is so.
fn join(game: &mut Game, first: &mut Game) {
    let (code, account) = (code_of(first), account_of(first));
    game.store_mut().join_by_code(&code.to_lowercase().replace('-', " ")).expect("asked");
    game.until("it has joined", |store| store.account() == Some(&account) && !store.is_asking());
}

fn has(shields: u64) -> impl Fn(&Store) -> bool {
    move |store| store.quantity("shield") == shields
}

#[test]
fn a_second_device_joins_by_a_code_and_has_everything_and_both_go_on() {
    let shop = Shop::open("1.00EUR");
    let mut first = shop.play("first");
    first.buy_until("double_jump", OrderState::Granted);
    first.buy_until("shield", OrderState::Granted);
    let mut second = shop.play("second");
    assert_eq!(
        second.store_mut().join_by_code("no code"),
        Err(AccountError::LinkCode(bevy_iap::protocol::account::LinkCodeError))
    );
    join(&mut second, &mut first);
    second.until("everything is there", |store| store.owns("double_jump") && has(1)(store));
    assert_eq!(second.available(), first.available());
    second.buy_until("shield", OrderState::Granted);
    first.until("the other's purchase is there too", has(2));
    first.buy_until("shield", OrderState::Granted);
    second.until("and the other way round", has(3));
    assert_eq!(second.store_mut().purchase("double_jump"), Err(PurchaseError::AlreadyOwned));
    first.store_mut().request_devices().expect("asked");
    assert_eq!(first.store_mut().request_devices(), Err(AccountError::AlreadyAsking));
    first.until("the devices are known", |store| store.account_devices().len() == 2);
    let other = second.store().device().expect("open");
    first.store_mut().name_device(other, " the tablet ").expect("asked");
    let named =
        |store: &Store| store.account_devices()[1].name.as_ref().is_some_and(|name| name.as_str() == "the tablet");
    first.until("it has its name", named);
    drop((first, second));
    let second = shop.play("second");
    assert!(second.store().owns("double_jump") && has(3)(second.store()), "also without asking anybody");
    shop.audit();
}

#[test]
fn what_a_guest_bought_moves_along_once() {
    let shop = Shop::open("1.00EUR");
    let (mut first, mut second) = (shop.play("first"), shop.play("second"));
    first.buy_until("shield", OrderState::Granted);
    second.buy_until("shield", OrderState::Granted);
    let moved = second.buy_until("double_jump", OrderState::Granted);
    join(&mut second, &mut first);
    for game in [&mut first, &mut second] {
        game.until("everything of both is there", |store| has(2)(store) && store.owns("double_jump"));
    }
    assert_eq!(second.order(moved).state, OrderState::Granted);
    join(&mut second, &mut first);
    second.buy_until("shield", OrderState::Granted);
    first.until("the purchase is there", has(3));
    assert_eq!(second.store().quantity("shield"), 3, "a second time moves nothing");
    shop.audit();
}

#[test]
fn a_code_is_good_once() {
    let shop = Shop::open("1.00EUR");
    let (mut first, mut second, mut third) = (shop.play("first"), shop.play("second"), shop.play("third"));
    let code = code_of(&mut first);
    second.store_mut().join_by_code(&code).expect("asked");
    let account = account_of(&first);
    second.until("it has joined", |store| store.account() == Some(&account));
    let own = account_of(&third);
    third.store_mut().join_by_code(&code).expect("asked");
    third.until("it is refused", |store| !store.is_asking());
    assert_eq!(account_of(&third), own);
    third.buy_until("shield", OrderState::Granted);
    assert_eq!(second.store().quantity("shield"), 0);
    shop.audit();
}

#[test]
fn a_revoked_device_buys_nothing_and_shows_what_it_has() {
    let shop = Shop::open("1.00EUR");
    let (mut first, mut second) = (shop.play("first"), shop.play("second"));
    first.buy_until("double_jump", OrderState::Granted);
    join(&mut second, &mut first);
    second.until("everything is there", |store| store.owns("double_jump"));
    second.offline(true);
    second.buy_until("shield", OrderState::Queued);
    let device = second.store().device().expect("open");
    first.store_mut().revoke_device(device).expect("asked");
    first.until("it is revoked", |store| !store.is_asking());
    second.offline(false);
    second.until("it says so", Store::is_revoked);
    for _ in 0..2 {
        assert_eq!(second.store_mut().purchase("shield"), Err(PurchaseError::DeviceRevoked));
        assert_eq!(second.store().availability(), Err(PurchaseError::DeviceRevoked));
        assert!(second.store().owns("double_jump") && second.store().quantity("shield") == 0);
        second.until("and asks nothing any more", |store| *store.connection() == Connection::Revoked);
        drop(second);
        second = shop.play("second");
    }
    first.buy_until("shield", OrderState::Granted);
    assert_eq!(first.available(), "0.945", "the other's order was never charged");
    shop.audit();
}

#[test]
fn a_lost_answer_is_found_again_after_the_game_ended() {
    let shop = Shop::open("1.00EUR");
    let mut first = shop.play("first");
    first.buy_until("double_jump", OrderState::Granted);
    let cut = Cut::new(&shop, "/v1/account", 0);
    let mut second = shop.play_with(cut.plugin(&shop, "second"));
    second.buy_until("shield", OrderState::Granted);
    let (guest, account, code) = (account_of(&second), account_of(&first), code_of(&mut first));
    second.store_mut().join_by_code(&code).expect("asked");
    first.until("the other has joined", has(1));
    let waiting = second.store_mut().purchase("shield").expect("ordered");
    second.until("it is asked again", |store| matches!(store.connection(), Connection::Retrying { .. }));
    second.wait_for(waiting, OrderState::Sent);
    assert_eq!(account_of(&second), guest, "nobody has signed that it is another");
    drop(second);
    let mut second = shop.play("second");
    second.until("it finds out by itself", |store| store.account() == Some(&account));
    second.until("everything is there", |store| store.owns("double_jump") && has(1)(store));
    second.wait_for(waiting, OrderState::NotSaved);
    // The next one does not follow the one that nobody was sent.
    second.buy_until("shield", OrderState::Granted);
    shop.audit();
}

#[test]
fn a_restore_of_a_thousand_receipts_goes_on_where_it_was() {
    let shop = Shop::open("10.00EUR");
    let mut first = shop.play("first");
    for _ in 0..4 {
        let orders: Vec<_> = (0..250).map(|_| first.store_mut().purchase("shield").expect("ordered")).collect();
        let last = orders[orders.len() - 1];
        first.wait_for(last, OrderState::Granted);
    }
    first.until("all are there", has(1_000));
    // The second device hears its own first sync, the one before it joins, and two pages of four.
    let cut = Cut::new(&shop, "/v1/sync", 4);
    let mut second = shop.play_with(cut.plugin(&shop, "second"));
    second.until("it is online", |store| *store.connection() == Connection::Online);
    join(&mut second, &mut first);
    second.until("half of it is there", |store| store.quantity("shield") >= 512);
    second.until("and no more", |store| matches!(store.connection(), Connection::Retrying { .. }));
    assert_eq!(second.store().quantity("shield"), 512);
    drop(second);
    let cut = Cut::new(&shop, "/v1/sync", u64::MAX);
    let mut second = shop.play_with(cut.plugin(&shop, "second"));
    assert_eq!(second.store().quantity("shield"), 512, "what was heard is there");
    second.until("all are there", has(1_000));
    let key = std::fs::read_to_string(shop.save("second").join("device.key")).expect("a key");
    let cursors = cut.cursors(public_key(key.trim()), &account_of(&second));
    assert_eq!(cursors[0], 512, "nothing is asked for twice: {cursors:?}");
    shop.audit();
}

/// The public half of a key as it is in `device.key`.
fn public_key(seed: &str) -> PublicKey {
    use base64::Engine;
    let seed = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(seed).expect("base64url");
    bevy_iap::protocol::SecretKey::from_seed(&seed.try_into().expect("32 bytes")).public()
}

#[test]
fn another_key_has_everything_and_a_copy_of_the_old_one_buys_nothing() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("player");
    game.buy_until("double_jump", OrderState::Granted);
    drop(game);
    shop.copy("player", "thief");
    let mut game = shop.play("player");
    let (device, account) = (game.store().device().expect("open"), account_of(&game));
    game.store_mut().replace_key().expect("asked");
    game.until("it has another key", |store| store.device() != Some(device) && !store.is_asking());
    game.buy_until("shield", OrderState::Granted);
    assert_eq!((account_of(&game), game.store().owns("double_jump")), (account, true));
    drop(game);
    assert!(!shop.save("player").join("device.key.next").exists());
    let mut thief = shop.play("thief");
    thief.until("it was revoked", Store::is_revoked);
    assert_eq!(thief.store_mut().purchase("shield"), Err(PurchaseError::DeviceRevoked));
    let mut game = shop.play("player");
    game.buy_until("shield", OrderState::Granted);
    assert!(game.store().owns("double_jump") && game.store().quantity("shield") == 2);
    shop.audit();
}

/// Real HTTP, on which no question about the account is ever answered.
#[derive(Debug)]
struct Silent(HttpTransport);

impl Transport for Silent {
    fn send(&self, request: Request) -> Pending {
        match request.path {
            "/v1/account" => Box::pin(std::future::pending()),
            _ => self.0.send(request),
        }
    }
}

#[test]
fn what_waits_for_an_answer_about_the_account_is_saved_when_the_game_ends() {
    let shop = Shop::open("1.00EUR");
    let silent = Silent(HttpTransport::new(&shop.address.url).expect("a transport"));
    let mut game = shop.play_with(IapPlugin { transport: Some(Arc::new(silent)), ..shop.plugin("player") });
    game.buy_until("shield", OrderState::Granted);
    game.store_mut().join_by_code("7K3M-9QXD").expect("asked");
    let waiting = game.store_mut().purchase("shield").expect("ordered");
    game.store_mut().consume("shield", 1).expect("used");
    drop(game);
    let mut game = shop.play("player");
    game.wait_for(waiting, OrderState::Granted);
    assert!(has(1)(game.store()), "one of two was used up");
    shop.audit();
}

#[test]
fn without_a_server_or_a_network_every_question_is_answered_too() {
    let mut shop = Shop::open("1.00EUR");
    let mut alone = shop.play_with(IapPlugin { server: None, ..shop.plugin("alone") });
    assert_eq!(alone.store_mut().request_link_code(), Err(AccountError::NoServer));
    let mut game = shop.play("player");
    game.offline(true);
    assert_eq!(game.store_mut().replace_key(), Err(AccountError::Offline));
    game.offline(false);
    game.buy_until("shield", OrderState::Granted);
    shop.server.take().expect("runs").stop();
    game.store_mut().join_by_code("7K3M-9QXD").expect("asked");
    game.until("it is told", |store| !store.is_asking());
    assert_eq!(game.store_mut().purchase("shield").map(|_| ()), Ok(()));
    let last = game.store().orders().next_back().expect("an order").id;
    game.wait_for(last, OrderState::Queued);
}

/// What a game was told of consumptions that were refused.
fn count_refused(game: &mut Game) -> Arc<AtomicU64> {
    let refused = Arc::new(AtomicU64::new(0));
    let counted = refused.clone();
    game.app.add_observer(move |told: On<ConsumeRefused>| {
        counted.fetch_add(told.quantity, Ordering::SeqCst);
    });
    refused
}

#[test]
fn of_two_devices_that_use_up_the_last_one_offline_the_first_to_arrive_wins_and_the_other_is_told() {
    let shop = Shop::open("1.00EUR");
    let mut first = shop.play("first");
    first.buy_until("shield", OrderState::Granted);
    let mut second = shop.play("second");
    join(&mut second, &mut first);
    second.until("it is there", has(1));
    let refused = [count_refused(&mut first), count_refused(&mut second)];
    for game in [&mut first, &mut second] {
        game.offline(true);
        game.store_mut().consume("shield", 1).expect("there is one");
        game.until("it is used up here", has(0));
    }
    let told = |game: usize| refused[game].load(Ordering::SeqCst);
    second.offline(false);
    let account = account_of(&first);
    let consumptions = |shop: &Shop| -> u64 {
        let summary = shop.server().show(&account).expect("the account is there");
        summary.consumptions.values().map(|numbers| numbers.decided()).sum()
    };
    second.until("the second is heard first", |_| consumptions(&shop) == 1);
    first.offline(false);
    first.until("the first is heard", |_| consumptions(&shop) == 2);
    first.until("it is told", |_| told(0) == 1);
    assert_eq!((told(0), told(1)), (1, 0));
    assert!(has(0)(first.store()) && has(0)(second.store()));
    // Nothing is owed: the next one is there to be used.
    second.buy_until("shield", OrderState::Granted);
    first.until("the next one is there", has(1));
    shop.audit();
}

/// A login with one key, which the server is given in a file.
struct Login {
    key: EncodingKey,
    folder: tempfile::TempDir,
}

impl Login {
    const ISSUER: &str = "https://login.example";

    fn new() -> Self {
        let key = EncodingKey::from_ed_der(include_bytes!("../server/accounts/ed25519.der"));
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::EdDSA).expect("a key")).expect("JSON");
        jwk["kid"] = "1".into();
        let folder = tempfile::tempdir().expect("a folder");
        let keys = serde_json::json!({ "keys": [jwk] }).to_string();
        std::fs::write(folder.path().join("keys.json"), keys).expect("writes");
        Self { key, folder }
    }

    fn config(&self) -> LoginConfig {
        let keys = self.folder.path().join("keys.json").display().to_string();
        LoginConfig { keys: Some(keys), ..LoginConfig::new(Self::ISSUER, "the-game") }
    }

    /// What the login gives the game for a player.
    fn token(&self, player: &str, game: &Game) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let claims = serde_json::json!({
            "iss": Self::ISSUER, "aud": "the-game", "sub": player, "iat": now, "exp": now + 300,
            "nonce": game.store().device(),
        });
        let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &self.key).expect("signs")
    }
}

#[test]
fn a_guest_with_purchases_signs_in_where_the_player_is_known_and_takes_them_along_once() {
    let login = Login::new();
    let shop = Shop::open_with("1.00EUR", |config| config.login = Some(login.config()));
    let mut first = shop.play("first");
    first.buy_until("double_jump", OrderState::Granted);
    let token = login.token("ann", &first);
    first.store_mut().sign_in(&token).expect("asked");
    first.until("it is signed in", |store| store.is_signed_in() && !store.is_asking());

    let mut second = shop.play("second");
    for _ in 0..3 {
        second.buy_until("shield", OrderState::Granted);
    }
    second.store_mut().consume("shield", 1).expect("there is one");
    second.until("it is used up", has(2));
    // A token for another device is good for nobody.
    let stolen = login.token("ann", &first);
    second.store_mut().sign_in(&stolen).expect("asked");
    second.until("there is an answer", |store| !store.is_asking());
    assert!(!second.store().is_signed_in());
    let token = login.token("ann", &second);
    second.store_mut().sign_in(&token).expect("asked");
    let account = account_of(&first);
    second.until("it has joined", |store| store.account() == Some(&account) && !store.is_asking());
    second.until("all of both is there", |store| store.owns("double_jump") && has(2)(store));
    first.until("here too", has(2));
    // Asked again, nothing moves again.
    let token = login.token("ann", &second);
    second.store_mut().sign_in(&token).expect("asked");
    second.until("there is an answer", |store| !store.is_asking());
    second.buy_until("shield", OrderState::Granted);
    first.until("the next one is there", has(3));

    let third = {
        let mut third = shop.play("third");
        let token = login.token("zoe", &third);
        third.store_mut().sign_in(&token).expect("asked");
        third.until("it is signed in", |store| store.is_signed_in() && !store.is_asking());
        third
    };
    assert_ne!(account_of(&third), account);
    assert!(!third.store().owns("double_jump") && has(0)(third.store()));
    shop.audit();
}
