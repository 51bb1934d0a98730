//! The sandbox: what a developer can try out without an account, a device or a network, and the panel with its buttons.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bevy::a11y::AccessibilityPlugin;
use bevy::app::ScheduleRunnerPlugin;
use bevy::asset::AssetPlugin;
use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::input::{ButtonState, InputPlugin};
use bevy::input_focus::{InputDispatchPlugin, InputFocus, InputFocusPlugin};
use bevy::prelude::*;
use bevy::text::Font;
use bevy::ui_widgets::Activate;
use bevy_iap::client::{Connection, OfflineGrants, OrderState};
use bevy_iap::dev::{
    DevAction, DevButton, DevLine, DevPanel, DevPanelPlugin, Network, Sandbox, SandboxControl, SandboxOutcome,
};
use bevy_iap::plugin::{IapPlugin, Save, Store};
use bevy_iap::protocol::{OrderId, Reason};
use tempfile::TempDir;

use crate::shop::{CATALOG, Game};

const PATIENCE: Duration = Duration::from_secs(30);
const DAY: i64 = 86_400;

/// A sandbox, and the assets of a game in it.
struct Lab {
    sandbox: Sandbox,
    assets: TempDir,
}

impl Lab {
    fn open() -> Self {
        let assets = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(assets.path().join("test.catalog.ron"), CATALOG).expect("a file");
        Self { sandbox: Sandbox::start(CATALOG, "1.00EUR").expect("a sandbox"), assets }
    }

    fn plugin(&self) -> IapPlugin {
        let plugin = self.sandbox.plugin("test_game", "test.catalog.ron");
        IapPlugin { double_tap: Duration::ZERO, offline_grants: OfflineGrants::Wait, ..plugin }
    }

    /// A game that is online.
    fn play(&self) -> Game {
        let mut game = self.start();
        game.until("it is online", |store| *store.connection() == Connection::Online && store.is_ready());
        game
    }

    fn start(&self) -> Game {
        Game::start(self.assets.path(), self.plugin())
    }

    fn control(&self) -> SandboxControl {
        self.sandbox.control()
    }

    /// What the server's books say can be spent.
    fn in_the_books(&self, game: &Game) -> String {
        let account = game.store().account().expect("it is open");
        let wallet = self.sandbox.server().show(account).expect("shown").wallet;
        wallet.first().map_or_else(String::new, |balance| balance.available.to_string())
    }

    fn audit(&self) {
        let report = self.sandbox.server().audit().expect("the audit runs");
        assert!(report.is_clean(), "{report}");
    }
}

/// Runs frames until the sandbox says what came of something.
fn outcome(game: &mut Game, control: &SandboxControl, words: &str) -> SandboxOutcome {
    let started = Instant::now();
    loop {
        match control.last_outcome() {
            Some(outcome) if outcome.words.contains(words) => return outcome,
            other => assert!(started.elapsed() < PATIENCE, "{words:?} was not said, but {other:?}"),
        }
        game.app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs frames for a while.
fn play_on(game: &mut Game, time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        game.app.update();
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_order_on_a_slow_network_stays_sent_and_is_granted_later() {
    let lab = Lab::open();
    let mut game = lab.play();
    lab.control().set_network(Network::Slow(Duration::from_millis(1_500)));
    let started = Instant::now();
    let order = game.buy_until("double_jump", OrderState::Sent);
    play_on(&mut game, Duration::from_millis(300));
    assert_eq!(game.order(order).state, OrderState::Sent);
    game.wait_for(order, OrderState::Granted);
    assert!(started.elapsed() >= Duration::from_millis(1_500), "it took as long as the network is slow");
    lab.audit();
}

#[test]
fn what_is_ordered_while_the_network_is_cut_is_kept_and_granted_when_it_is_back() {
    let lab = Lab::open();
    let mut game = lab.play();
    lab.control().set_network(Network::Cut);
    game.until("it is noticed", |store| {
        matches!(store.connection(), Connection::Retrying { trouble } if trouble.contains("the sandbox has cut the network"))
    });
    let order = game.store_mut().purchase("double_jump").expect("ordered");
    play_on(&mut game, Duration::from_millis(300));
    assert!(game.order(order).state.is_open() && game.order(order).state != OrderState::Placed);
    assert_eq!(lab.in_the_books(&game), "1");
    lab.control().set_network(Network::Normal);
    game.store_mut().sync_now();
    game.wait_for(order, OrderState::Granted);
    assert_eq!(lab.in_the_books(&game), "0.95");
    lab.audit();
}

#[test]
fn an_order_whose_answers_are_lost_is_charged_once() {
    let lab = Lab::open();
    let mut game = lab.play();
    lab.control().set_network(Network::LosesAnswers);
    let order = game.store_mut().purchase("double_jump").expect("ordered");
    let started = Instant::now();
    while lab.in_the_books(&game) != "0.95" {
        assert!(started.elapsed() < PATIENCE, "it never arrived");
        play_on(&mut game, Duration::from_millis(20));
    }
    for _ in 0..3 {
        game.store_mut().sync_now();
        play_on(&mut game, Duration::from_millis(100));
    }
    assert_eq!(game.order(order).state, OrderState::Sent);
    lab.control().set_network(Network::Normal);
    game.store_mut().sync_now();
    game.wait_for(order, OrderState::Granted);
    assert_eq!((game.available(), lab.in_the_books(&game)), ("0.95".to_owned(), "0.95".to_owned()));
    lab.audit();
}

#[test]
fn a_network_that_never_answers_is_left_as_soon_as_it_is_another() {
    let lab = Lab::open();
    let mut game = lab.play();
    lab.control().set_network(Network::NeverAnswers);
    let order = game.buy_until("shield", OrderState::Sent);
    play_on(&mut game, Duration::from_millis(300));
    assert_eq!((game.order(order).state, lab.in_the_books(&game).as_str()), (OrderState::Sent, "1"));
    lab.control().set_network(Network::Normal);
    let started = Instant::now();
    game.wait_for(order, OrderState::Granted);
    assert!(started.elapsed() < Duration::from_secs(15), "it did not wait for the client's time limit");
}

#[test]
fn a_refund_takes_back_what_was_bought() {
    let lab = Lab::open();
    let mut game = lab.play();
    let order = game.buy_until("double_jump", OrderState::Granted);
    lab.control().refund(order);
    game.wait_for(order, OrderState::Refunded);
    assert!(!game.store().owns("double_jump"));
    assert!(outcome(&mut game, &lab.control(), "refunded 0.05 EUR of \"double_jump\"").is_done);
    lab.control().refund(order);
    assert!(!outcome(&mut game, &lab.control(), "nothing is left of it to refund").is_done);
    lab.control().refund(OrderId([9; 16]));
    assert!(!outcome(&mut game, &lab.control(), "there is no order").is_done);
    lab.audit();
}

#[test]
fn a_declined_order_says_why_in_words_and_the_next_one_is_settled() {
    let lab = Lab::open();
    let mut game = lab.play();
    let control = lab.control();
    control.decline_orders(true);
    assert!(outcome(&mut game, &control, "are declined from now on").is_done && control.declines_orders());
    let order = game.buy_until("double_jump", OrderState::Declined);
    let reason = game.order(order).reason.expect("a reason");
    assert_eq!(reason, Reason::DeviceFrozen);
    assert!(reason.to_string().contains("ask the operator of the store"), "{reason}");
    control.decline_orders(false);
    assert!(outcome(&mut game, &control, "are settled again").is_done && !control.declines_orders());
    game.buy_until("double_jump", OrderState::Granted);

    control.hold_wallet(true);
    assert!(outcome(&mut game, &control, "set aside 0.95 EUR").is_done && control.holds_wallet());
    let order = game.buy_until("shield", OrderState::Declined);
    assert_eq!(game.order(order).reason, Some(Reason::InsufficientFunds));
    control.hold_wallet(false);
    assert!(outcome(&mut game, &control, "freed 0.95 EUR").is_done && !control.holds_wallet());
    control.credit("2.50EUR".parse().expect("money"));
    assert!(outcome(&mut game, &control, "credited 2.50 EUR: 3.45 EUR can be spent").is_done);
    game.buy_until("shield", OrderState::Granted);
    lab.audit();
}

#[test]
fn a_clock_that_is_a_day_back_is_told_as_untrusted() {
    let lab = Lab::open();
    let mut game = lab.play();
    game.buy_until("day_pass", OrderState::Granted);
    drop(game);

    lab.control().set_network(Network::Cut);
    lab.control().move_clock(-DAY);
    assert_eq!(lab.control().last_outcome().map(|it| it.words), Some("the device's clock is 1 days behind".to_owned()));
    let mut game = lab.start();
    game.until("it is told", |store| store.account().is_some() && !store.is_clock_trusted());
    assert!(!game.store().owns("day_pass"), "it rests");

    lab.control().set_network(Network::Normal);
    game.store_mut().sync_now();
    game.until("the server says what time it is", |store| store.is_clock_trusted() && store.owns("day_pass"));
    lab.control().reset_clock();
    assert_eq!(lab.control().clock_offset(), 0);
}

#[test]
fn what_cannot_be_done_yet_is_said_in_words() {
    let lab = Lab::open();
    let control = lab.control();
    control.set_network(Network::Cut);
    let mut game = lab.start();
    control.credit("1.00EUR".parse().expect("money"));
    let said = outcome(&mut game, &control, "go online first");
    assert!(!said.is_done);
}

#[test]
fn a_sandbox_leaves_nothing_behind_and_one_in_a_folder_of_ones_own_keeps_everything() {
    let lab = Lab::open();
    let Save::Folder(save) = lab.plugin().save else { panic!("it is in a folder") };
    let mut game = lab.play();
    game.buy_until("double_jump", OrderState::Granted);
    assert!(save.join("journal.iap").is_file());
    drop(game);
    drop(lab);
    assert!(!save.parent().expect("a folder").exists());

    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = || {
        let sandbox = Sandbox::start_in(folder.path(), CATALOG, "1.00EUR").expect("a sandbox");
        Lab { sandbox, assets: Lab::open().assets }
    };
    let lab = open();
    lab.play().buy_until("double_jump", OrderState::Granted);
    drop(lab);
    let lab = open();
    assert!(lab.play().store().owns("double_jump"));
}

#[test]
fn what_is_wrong_with_a_sandbox_is_said_in_words() {
    let said = |catalog: &str, welcome: &str| Sandbox::start(catalog, welcome).expect_err("no sandbox").to_string();
    assert!(said("no/such.catalog.ron", "1.00EUR").contains("`no/such.catalog.ron` cannot be read"));
    assert!(said("Catalog(game: 5)", "1.00EUR").contains("sandbox.catalog.ron:1:"));
    assert!(said(CATALOG, "much").starts_with("the welcome credit: "), "{}", said(CATALOG, "much"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = Sandbox::start_in(file.path(), CATALOG, "1.00EUR").expect_err("that is no folder");
    assert!(error.to_string().contains("make it writable or pass another"), "{error}");
}

/// A game with the panel, without a window.
fn game_with_panel(lab: &Lab) -> Game {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins.build().disable::<ScheduleRunnerPlugin>())
        .add_plugins(AssetPlugin { file_path: lab.assets.path().display().to_string(), ..AssetPlugin::default() })
        .add_plugins((InputPlugin, InputFocusPlugin, InputDispatchPlugin, AccessibilityPlugin, lab.plugin()))
        .init_asset::<Image>()
        .init_asset::<Font>()
        .add_plugins(DevPanelPlugin::default())
        .insert_resource(lab.control());
    app.finish();
    app.cleanup();
    let mut game = Game { app };
    game.until("it is online", |store| *store.connection() == Connection::Online && store.is_ready());
    game
}

fn open_panel(game: &mut Game) {
    game.app.world_mut().resource_mut::<DevPanel>().is_open = true;
    game.app.update();
}

/// The button that does something.
fn button(game: &mut Game, action: DevAction) -> Entity {
    let mut buttons = game.app.world_mut().query::<(Entity, &DevButton)>();
    let found = buttons.iter(game.app.world()).find(|(_, button)| button.0 == action);
    found.unwrap_or_else(|| panic!("there is no button for {action:?}")).0
}

fn press(game: &mut Game, action: DevAction) {
    let entity = button(game, action);
    game.app.world_mut().trigger(Activate { entity });
    game.app.update();
}

/// What a line says.
fn line(game: &mut Game, line: DevLine) -> String {
    let mut lines = game.app.world_mut().query::<(&DevLine, &Text)>();
    let found = lines.iter(game.app.world()).find(|(it, _)| **it == line);
    found.map(|(_, text)| text.0.clone()).unwrap_or_else(|| panic!("there is no line {line:?}"))
}

/// Runs frames until a line says something.
fn until_said(game: &mut Game, place: DevLine, words: &str) {
    let started = Instant::now();
    while !line(game, place).contains(words) {
        assert!(started.elapsed() < PATIENCE, "{words:?} is not said, but {:?}", line(game, place));
        game.app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn pp18_everything_can_be_tested_without_account_device_or_network() {
    let lab = Lab::open();
    let control = lab.control();
    let mut game = game_with_panel(&lab);
    open_panel(&mut game);
    until_said(&mut game, DevLine::Connection, "the last request was answered");
    let (account, device) =
        (game.store().account().expect("open").to_string(), game.store().device().expect("open").to_string());
    assert!(line(&mut game, DevLine::Account).contains(&account) && line(&mut game, DevLine::Device).contains(&device));

    // The network, in every way that it can be bad.
    for network in [
        Network::Slow(Duration::from_millis(500)),
        Network::Slow(Duration::from_secs(3)),
        Network::NeverAnswers,
        Network::LosesAnswers,
        Network::Cut,
    ] {
        press(&mut game, DevAction::Network(network));
        assert_eq!(control.network(), network);
        until_said(&mut game, DevLine::Network, &network.to_string());
    }
    until_said(&mut game, DevLine::Connection, "trying again");
    until_said(&mut game, DevLine::Trouble(0), "the sandbox has cut the network");
    let order = game.store_mut().purchase("double_jump").expect("ordered");
    play_on(&mut game, Duration::from_millis(100));
    assert!(game.order(order).state.is_open());
    press(&mut game, DevAction::Network(Network::Normal));
    game.wait_for(order, OrderState::Granted);
    until_said(&mut game, DevLine::Order(0), "double_jump x1 · 0.05 EUR · Granted");

    // The server's books.
    press(&mut game, DevAction::Refund);
    game.wait_for(order, OrderState::Refunded);
    until_said(&mut game, DevLine::Outcome, "refunded 0.05 EUR");
    press(&mut game, DevAction::Refund);
    until_said(&mut game, DevLine::Outcome, "no order is granted");
    press(&mut game, DevAction::Credit);
    game.until("it arrives", |store| store.wallet()[0].available.to_string() == "2");
    until_said(&mut game, DevLine::Wallet, "2.00 EUR");
    for (action, reason) in [(DevAction::Decline, Reason::DeviceFrozen), (DevAction::Hold, Reason::InsufficientFunds)] {
        press(&mut game, action);
        until_said(&mut game, DevLine::Outcome, if action == DevAction::Decline { "declined" } else { "set aside" });
        let declined = game.buy_until("shield", OrderState::Declined);
        assert_eq!(game.order(declined).reason, Some(reason));
        until_said(&mut game, DevLine::Order(0), &reason.to_string());
        press(&mut game, action);
        until_said(&mut game, DevLine::Outcome, if action == DevAction::Decline { "settled again" } else { "freed" });
    }
    game.buy_until("shield", OrderState::Granted);

    // The clock.
    for (action, offset, words) in [
        (DevAction::MoveClock(-DAY), -DAY, "1 days behind"),
        (DevAction::MoveClock(DAY), 0, "right"),
        (DevAction::MoveClock(DAY), DAY, "1 days ahead"),
        (DevAction::MoveClock(3_652 * DAY), 3_653 * DAY, "3653 days ahead"),
        (DevAction::ResetClock, 0, "right"),
    ] {
        press(&mut game, action);
        assert_eq!(control.clock_offset(), offset);
        until_said(&mut game, DevLine::Clock, words);
    }

    // The game's own side.
    press(&mut game, DevAction::Offline);
    game.until("it is offline", |store| *store.connection() == Connection::Offline);
    until_said(&mut game, DevLine::Connection, "the game set it offline");
    press(&mut game, DevAction::Offline);
    game.until("it is online", |store| *store.connection() == Connection::Online);
    press(&mut game, DevAction::SyncNow);
    until_said(&mut game, DevLine::Outcome, "the server is asked");
    for copy in [DevAction::CopyAccount, DevAction::CopyDevice, DevAction::CopyOrder] {
        press(&mut game, copy);
        until_said(&mut game, DevLine::Outcome, "there is no clipboard");
    }
    let Save::Folder(save) = lab.plugin().save else { panic!("it is in a folder") };
    let size = |save: &PathBuf| std::fs::metadata(save.join("journal.iap")).expect("there is a journal").len();
    until_said(&mut game, DevLine::Journal, &format!("{} bytes", size(&save)));

    press(&mut game, DevAction::Close);
    let mut left = game.app.world_mut().query::<&DevButton>();
    assert_eq!(left.iter(game.app.world()).count(), 0);
    lab.audit();
}

#[test]
fn the_panel_opens_and_closes_by_its_key_and_gives_the_focus_back() {
    let lab = Lab::open();
    let mut game = game_with_panel(&lab);
    let before = game.app.world_mut().spawn_empty().id();
    game.app.world_mut().insert_resource(InputFocus::from_entity(before));
    let key = |state| KeyboardInput {
        key_code: KeyCode::F12,
        logical_key: Key::F12,
        state,
        text: None,
        repeat: false,
        window: Entity::PLACEHOLDER,
    };
    for is_open in [true, false] {
        game.app.world_mut().write_message(key(ButtonState::Pressed));
        game.app.update();
        game.app.world_mut().write_message(key(ButtonState::Released));
        game.app.update();
        assert_eq!(game.app.world().resource::<DevPanel>().is_open, is_open);
        let focus = game.app.world().resource::<InputFocus>().get();
        let expected = if is_open { button(&mut game, DevAction::Close) } else { before };
        assert_eq!(focus, Some(expected));
    }
}

#[test]
fn what_the_sandbox_did_comes_as_a_message_also_while_the_panel_is_closed() {
    #[derive(Resource, Default)]
    struct Heard(Vec<SandboxOutcome>);
    let lab = Lab::open();
    let mut game = game_with_panel(&lab);
    game.app
        .init_resource::<Heard>()
        .add_systems(Update, |mut news: MessageReader<SandboxOutcome>, mut heard: ResMut<Heard>| {
            heard.0.extend(news.read().cloned())
        });
    lab.control().credit("0.50EUR".parse().expect("money"));
    outcome(&mut game, &lab.control(), "credited 0.50 EUR: 1.50 EUR can be spent");
    play_on(&mut game, Duration::from_millis(50));
    let heard = &game.app.world().resource::<Heard>().0;
    assert!(heard.iter().any(|outcome| outcome.is_done && outcome.words.starts_with("credited 0.50 EUR")), "{heard:?}");
}

#[test]
fn a_panel_without_a_sandbox_says_so_and_shows_the_rest() {
    let lab = Lab::open();
    let mut game = game_with_panel(&lab);
    game.app.world_mut().remove_resource::<SandboxControl>();
    open_panel(&mut game);
    until_said(&mut game, DevLine::Connection, "the last request was answered");
    let mut buttons = game.app.world_mut().query::<&DevButton>();
    assert!(
        !buttons.iter(game.app.world()).any(|button| matches!(button.0, DevAction::Network(_) | DevAction::Credit))
    );
    assert!(game.app.world().resource::<Store>().is_ready());
}
