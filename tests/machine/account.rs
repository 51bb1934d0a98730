//! Joining accounts, being revoked, and changing keys: nothing but the server's signed word counts, and every wait ends.

mod failing;
mod joining;
mod keys;
mod revoked;
mod roots;
mod word_lost;

use bevy_iap::client::machine::Input;
use bevy_iap::client::{AccountTrouble, AccountView, AccountWish, Asked, OfflineGrants, Record, Response, Update};
use bevy_iap::protocol::account::IssuedLinkCode;
use bevy_iap::protocol::{
    AccountAsk, AccountId, AccountRequest, AccountResponse, DeviceEntry, DeviceName, KeyId, KeyList, LinkCode,
    ListedKey, SecretKey, Sha256,
};

use crate::world::{SERVER_TIME, World, game, order_id};

const PATH: &str = "/v1/account";

fn code() -> LinkCode {
    LinkCode::new([7; 5])
}

fn other_account() -> AccountId {
    SecretKey::from_seed(&[55; 32]).id().guest_account()
}

fn entry(id: KeyId) -> DeviceEntry {
    DeviceEntry { id, name: None, enrolled_at: SERVER_TIME, revoked: false, frozen: false }
}

/// The question under way, verified as a server would.
fn question(world: &World) -> AccountRequest {
    assert_eq!(world.path(), PATH);
    AccountRequest::verify(&world.request_token(), world.key.public(), &game()).expect("verifies")
}

/// The server's answer to the question under way, as `change` makes it.
fn answer_with(world: &World, signer: &SecretKey, change: impl FnOnce(&mut AccountResponse)) -> Response {
    let device = world.machine.device();
    let mut answer = AccountResponse {
        server: signer.id(),
        account: world.machine.account().clone(),
        game: game(),
        issued_at: SERVER_TIME,
        request_sha256: world.request_token().sha256(),
        device,
        signed_in: false,
        devices: vec![entry(device)],
        chain: world.head,
        link_code: None,
    };
    change(&mut answer);
    let body = answer.sign(signer).expect("signs").as_str().as_bytes().to_vec();
    Response { status: 200, retry_after: None, body }
}

fn answer(world: &mut World, change: impl FnOnce(&mut AccountResponse)) {
    let response = answer_with(world, &world.server, change);
    world.input(Input::Answered(response));
}

fn joins_other(answer: &mut AccountResponse) {
    answer.account = other_account();
    answer.devices.insert(0, entry(SecretKey::from_seed(&[55; 32]).id()));
}

fn problem(kind: &str, status: u16) -> Response {
    let body = format!(r#"{{"type":"/problems/{kind}","title":"x","status":{status},"detail":"so it is"}}"#);
    Response { status, retry_after: None, body: body.into_bytes() }
}

/// What the game was told about the account, in order.
fn told(world: &World) -> Vec<(Asked, Result<AccountView, AccountTrouble>)> {
    let told = world.updates.iter().filter_map(|update| match update {
        Update::Account { asked, outcome } => Some((*asked, outcome.clone().map(|view| *view))),
        _ => None,
    });
    told.collect()
}

fn last_told(world: &World) -> (Asked, Result<AccountView, AccountTrouble>) {
    told(world).pop().expect("the game was told")
}

fn ask(world: &mut World, wish: AccountWish) {
    world.input(Input::Account(wish));
}

/// Answers the sync that comes first with nothing, so that the question itself is sent.
fn ask_after_a_sync(world: &mut World, wish: AccountWish) {
    ask(world, wish);
    assert_eq!(world.path(), "/v1/sync");
    world.answer(&[]);
    assert_eq!(world.path(), PATH);
}

fn account_records(world: &World) -> usize {
    world.records.iter().filter(|record| matches!(record, Record::Account(_))).count()
}

#[test]
fn a_code_is_told_with_its_end_and_is_kept_nowhere() {
    let mut world = World::new(OfflineGrants::Wait);
    ask(&mut world, AccountWish::Devices);
    answer(&mut world, |_| {});
    let records = world.records.len();
    ask(&mut world, AccountWish::LinkCode);
    assert_eq!(question(&world).ask, AccountAsk::LinkCode);
    let issued = IssuedLinkCode { code: code(), expires_at: SERVER_TIME + 600 };
    answer(&mut world, |answer| answer.link_code = Some(issued));
    let (asked, outcome) = last_told(&world);
    assert_eq!((asked, outcome.expect("made").link_code), (Asked::LinkCode, Some(issued)));
    assert_eq!(world.records.len(), records, "nothing else was new");
    assert_eq!(world.restart().machine.account_view().link_code, None);
}

#[test]
fn the_devices_of_the_account_are_known_after_a_restart_and_after_the_journal_was_written_anew() {
    let mut world = World::new(OfflineGrants::Wait);
    ask(&mut world, AccountWish::Devices);
    assert_eq!(question(&world).ask, AccountAsk::Show);
    let named = DeviceEntry { name: DeviceName::new("the tablet").ok(), ..entry(other_device()) };
    answer(&mut world, |answer| answer.devices.push(named.clone()));
    assert_eq!(last_told(&world).1.expect("shown").devices[1], named);
    for _ in 0..2 {
        world = world.restart();
        assert_eq!(world.machine.account_view().devices[1], named);
        world.compact();
        assert_eq!(account_records(&world), 1);
    }
    world.input(Input::SyncNow);
    world.answer(&[]);
    ask(&mut world, AccountWish::Devices);
    answer(&mut world, |answer| answer.devices.push(named.clone()));
    assert_eq!(account_records(&world), 1, "what is known is not written again");
}

fn other_device() -> KeyId {
    SecretKey::from_seed(&[44; 32]).id()
}

#[test]
fn what_the_player_says_of_a_device_is_asked_as_said() {
    let mut world = World::new(OfflineGrants::Wait);
    let name = DeviceName::new("the tablet").ok();
    ask(&mut world, AccountWish::NameDevice { device: other_device(), name: name.clone() });
    assert_eq!(question(&world).ask, AccountAsk::NameDevice { device: other_device(), name });
    answer(&mut world, |_| {});
    ask(&mut world, AccountWish::RevokeDevice(other_device()));
    assert_eq!(question(&world).ask, AccountAsk::RevokeDevice { device: other_device() });
    answer(&mut world, |_| {});
    ask_after_a_sync(&mut world, AccountWish::SignIn("a.b.c".to_owned()));
    assert_eq!(question(&world).ask, AccountAsk::SignIn { id_token: "a.b.c".to_owned() });
    answer(&mut world, |answer| answer.signed_in = true);
    assert!(last_told(&world).1.expect("signed in").signed_in);
    assert!(world.restart().machine.account_view().signed_in);
}

#[test]
fn a_question_is_asked_in_the_middle_of_a_wait_and_what_waited_is_tried_after_it() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.random_byte = 0xff;
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    ask(&mut world, AccountWish::Devices);
    answer(&mut world, |_| {});
    assert_eq!(world.sync_request().orders.len(), 1);
}

#[test]
fn a_device_that_was_never_enrolled_is_first() {
    let mut world = World::new(OfflineGrants::Wait);
    ask(&mut world, AccountWish::Devices);
    world.input(Input::Answered(problem("unknown-device", 404)));
    assert_eq!(world.path(), "/v1/devices");
    world.input(Input::Answered(Response { status: 201, ..Response::default() }));
    answer(&mut world, |_| {});
    assert!(last_told(&world).1.is_ok());
    world.answer(&[]);
    ask(&mut world, AccountWish::Devices);
    for _ in 0..2 {
        world.input(Input::Answered(problem("unknown-device", 404)));
        world.input(Input::Answered(Response { status: 201, ..Response::default() }));
    }
    assert!(matches!(last_told(&world).1, Err(AccountTrouble::Refused { .. })), "a server that forgets it at once");
}

#[test]
fn every_question_ends_also_without_a_connection() {
    let mut world = World::new(OfflineGrants::Wait);
    for wish in [AccountWish::Devices, AccountWish::LinkCode, AccountWish::RevokeDevice(other_device())] {
        ask(&mut world, wish.clone());
        world.input(Input::NotAnswered("the network is gone".to_owned()));
        assert!(
            matches!(last_told(&world), (asked, Err(AccountTrouble::NoConnection { .. })) if asked == wish.asked())
        );
        world.input(Input::SyncNow);
        world.answer(&[]);
    }
    world.input(Input::SetOffline(true));
    ask(&mut world, AccountWish::Devices);
    assert!(matches!(last_told(&world).1, Err(AccountTrouble::NoConnection { .. })));
    world.input(Input::SetOffline(false));
    world.answer(&[]);
    ask(&mut world, AccountWish::Devices);
    ask(&mut world, AccountWish::LinkCode);
    assert_eq!(last_told(&world), (Asked::LinkCode, Err(AccountTrouble::Busy)));
    let busy = Response { status: 503, ..Response::default() };
    world.input(Input::Answered(busy));
    assert!(matches!(last_told(&world), (Asked::Devices, Err(AccountTrouble::NoConnection { .. }))));
}

#[test]
fn every_refusal_is_told_in_a_players_words_and_changes_nothing() {
    let refusals = [
        ("wrong-link-code", 422, AccountTrouble::WrongLinkCode),
        ("too-many-devices", 409, AccountTrouble::TooManyDevices),
        ("too-many-purchases", 409, AccountTrouble::TooManyPurchases),
        ("too-many-requests", 429, AccountTrouble::TooOften),
        ("bad-id-token", 422, AccountTrouble::BadIdToken),
        ("sign-in-unavailable", 422, AccountTrouble::SignInUnavailable),
        ("conflict", 409, AccountTrouble::Conflict),
        ("not-your-device", 404, AccountTrouble::NotYourDevice),
        ("malformed-body", 400, AccountTrouble::Refused { detail: "so it is".to_owned() }),
    ];
    for (kind, status, trouble) in refusals {
        let mut world = World::new(OfflineGrants::Wait);
        let before = world.machine.account_view();
        ask_after_a_sync(&mut world, AccountWish::SignIn("a.b.c".to_owned()));
        world.input(World::purchase(1, "shield"));
        assert_eq!(world.state(1), None, "it waits");
        world.input(Input::Answered(problem(kind, status)));
        assert_eq!(last_told(&world), (Asked::SignIn, Err(trouble)));
        assert_eq!((world.machine.account_view(), account_records(&world)), (before, 0));
        assert_eq!(world.sync_request().orders.len(), 1, "what was ordered meanwhile goes its way");
        assert!(world.orders.contains_key(&order_id(1)));
    }
}

#[test]
fn a_list_of_keys_that_comes_with_the_answer_is_kept_before_it() {
    let mut world = World::new(OfflineGrants::Wait);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    let signing = SecretKey::from_seed(&[3; 32]);
    let keys = vec![ListedKey::new(signing.public(), 0, SERVER_TIME + 86_400)];
    let list = KeyList { root: world.server.id(), game: game(), issued_at: SERVER_TIME, number: 1, keys };
    let list = list.sign(&world.server).expect("signs");
    let response = answer_with(&world, &signing, joins_other);
    let body = [list.as_str().as_bytes(), b"\n", &response.body].concat();
    world.input(Input::Answered(Response { body, ..response }));
    assert_eq!(world.sync_request().keys, 1);
    for _ in 0..2 {
        world = world.restart();
        assert_eq!((world.machine.account(), world.troubles.len()), (&other_account(), 0));
        world.compact();
    }
}

#[test]
fn an_answer_in_the_journal_that_is_no_longer_believed_counts_for_nothing_and_the_cursors_after_it_neither() {
    let mut world = World::new(OfflineGrants::Wait);
    let guest = world.machine.account().clone();
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    answer(&mut world, joins_other);
    let response = world.respond(Vec::new(), 9);
    world.input(Input::Answered(response));
    // The game's new version trusts another server's key alone.
    world.server = SecretKey::from_seed(&[77; 32]);
    let mut world = world.restart();
    assert_eq!(world.machine.account(), &guest);
    assert!(world.troubles.iter().any(|trouble| trouble.contains("of the account")), "{:?}", world.troubles);
    assert_eq!(question(&world).ask, AccountAsk::Show, "the server is asked where the device belongs");
    world.input(Input::Answered(problem("unavailable", 503)));
    assert_eq!((world.sync_request().cursor, world.sync_request().account), (0, guest));
}

/// Everything that a man in the middle, or a wrong server, could put into an answer.
#[test]
fn an_answer_about_the_account_that_is_wrong_in_anything_is_not_believed() {
    type Forge = fn(&World) -> Response;
    let stranger = || SecretKey::from_seed(&[66; 32]);
    let forgeries: [(&str, Forge); 5] = [
        ("a stranger signed it", |world| answer_with(world, &SecretKey::from_seed(&[66; 32]), joins_other)),
        ("it names another issuer", |world| {
            answer_with(world, &world.server, |answer| {
                joins_other(answer);
                answer.server = SecretKey::from_seed(&[66; 32]).id();
            })
        }),
        ("it answers another request", |world| {
            answer_with(world, &world.server, |answer| {
                joins_other(answer);
                answer.request_sha256 = Sha256::of("an older request");
            })
        }),
        ("it is for another game", |world| {
            answer_with(world, &world.server, |answer| {
                joins_other(answer);
                answer.game = "other_game".parse().expect("a name");
            })
        }),
        ("it is for another device", |world| {
            answer_with(world, &world.server, |answer| {
                joins_other(answer);
                answer.device = SecretKey::from_seed(&[66; 32]).id();
            })
        }),
    ];
    assert_ne!(stranger().id(), World::new(OfflineGrants::Wait).server.id());
    for (name, forge) in forgeries {
        let mut world = World::new(OfflineGrants::Wait);
        let account = world.machine.account().clone();
        ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
        let (question, records) = (world.request.clone(), world.records.len());
        let response = forge(&world);
        world.input(Input::Answered(response));
        assert_eq!((world.machine.account(), world.records.len()), (&account, records), "{name}");
        assert!(matches!(last_told(&world).1, Err(AccountTrouble::AskedAgain { .. })), "{name}");
        world.wait();
        assert_eq!(world.request, question, "{name}");
        answer(&mut world, joins_other);
        assert_eq!(world.machine.account(), &other_account(), "{name}: the true answer still counts");
    }
}
