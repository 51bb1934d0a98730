//! What the shop promises players, where others have disappointed them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bevy::clipboard::Clipboard;
use bevy::ecs::query::Or;
use bevy::prelude::*;
use bevy_iap::client::storage::memory::MemoryStorage;
use bevy_iap::client::transport::http::HttpTransport;
use bevy_iap::client::transport::{Pending, Request, Transport};
use bevy_iap::client::{Connection, OfflineGrants, OrderState, Persistence};
use bevy_iap::plugin::{IapPlugin, Save, Store};
use bevy_iap::server::ledger::operation::RefundOrder;
use bevy_iap::server::ledger::{Operation, OperationId};
use bevy_iap::ui::{Part, ShopCommand, ShopSettings, Spinner, Theme, Words, balance_label, outcome_label, owned_badge};

use super::screen::Screen;
use crate::shop::{LossyTransport, Shop};

fn show(product: &str) -> ShopCommand {
    ShopCommand::Show(product.parse().expect("a name"))
}

fn buy(screen: &mut Screen, product: &str) -> bevy_iap::protocol::OrderId {
    screen.world().resource_mut::<Store>().purchase(product).expect("ordered")
}

fn turning(screen: &mut Screen) -> usize {
    let world = screen.world();
    let mut spinners = world.query_filtered::<&Node, With<Spinner>>();
    spinners.iter(world).filter(|node| node.display != Display::None).count()
}

/// A server that from some moment on takes everything and never answers.
#[derive(Debug)]
struct Silence {
    http: HttpTransport,
    begun: AtomicBool,
}

impl Transport for Silence {
    fn send(&self, request: Request) -> Pending {
        match self.begun.load(Ordering::SeqCst) {
            true => Box::pin(std::future::pending()),
            false => self.http.send(request),
        }
    }
}

#[test]
fn pp12_the_spinner_ends_and_says_what_comes_next_when_the_server_never_answers() {
    let shop = Shop::open("1.00EUR");
    let http = HttpTransport::new(&shop.address.url).expect("a transport");
    let silence = Arc::new(Silence { http, begun: AtomicBool::new(false) });
    let plugin = IapPlugin { transport: Some(silence.clone()), listen: false, ..shop.plugin("save") };
    let mut screen = Screen::open(&shop, plugin);
    screen.until("it is online", |store| *store.connection() == Connection::Online);
    silence.begun.store(true, Ordering::SeqCst);
    screen.command(show("shield"));
    let order = buy(&mut screen, "shield");
    screen.until("it is sent", |store| store.order(order).is_some_and(|order| order.state == OrderState::Sent));
    assert_eq!(turning(&mut screen), 1);
    screen.assert_shows("Sent. Waiting for the receipt");
    screen.pass(Duration::from_secs(13));
    assert_eq!(turning(&mut screen), 0, "no spinner turns for ever");
    screen.assert_shows("No answer yet. Your order is safe and goes on by itself");
    let rests = screen.world().resource::<Store>().order(order).map(|order| order.state);
    assert_eq!(rests, Some(OrderState::Sent), "nothing is said of the order that no receipt says");
}

#[test]
fn pp14_an_empty_shop_says_why_and_what_to_do() {
    let shop = Shop::open("1.00EUR");
    let catalog = shop.folder.path().join("assets/test.catalog.ron");
    let good = std::fs::read_to_string(&catalog).expect("the catalogue");

    std::fs::write(&catalog, good.replace("\"0.005\"", "0.005")).expect("written");
    let mut screen = Screen::start(&shop, shop.plugin("broken"));
    screen.until("it is refused", |store| store.catalog_trouble().is_some());
    screen.command(ShopCommand::Open);
    screen.assert_shows("The shop's products could not be loaded");
    screen.assert_shows("price 0.005 must be in quotes");

    std::fs::write(&catalog, &good).expect("written");
    let yen = "JPY".parse().expect("a currency");
    let mut screen = Screen::open(&shop, IapPlugin { currency: yen, ..shop.plugin("yen") });
    screen.assert_shows("Nothing is for sale\nThere is no product with a price in JPY.");

    std::fs::remove_file(&catalog).expect("removed");
    let mut screen = Screen::start(&shop, shop.plugin("missing"));
    screen.command(ShopCommand::Open);
    screen.until("it is refused", |store| store.catalog_trouble().is_some());
    screen.assert_shows("could not be loaded");
}

#[test]
fn pp20_a_part_that_missed_every_message_says_the_truth() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::start(&shop, shop.plugin("save"));
    screen.until("the shop is ready", |store| store.is_ready());
    let shield = buy(&mut screen, "shield");
    screen.until("it is granted", |store| store.order(shield).is_some_and(|it| it.state == OrderState::Granted));
    // Long after every message is gone.
    screen.frames(10);
    screen.world().spawn(owned_badge("shield"));
    screen.world().spawn(balance_label());
    screen.frames(3);
    assert_eq!(screen.part(&Part::Owned("shield".to_owned())), "1 left");
    assert_eq!(screen.part(&Part::Balance), "€0.995");
}

#[test]
fn order_that_waits_for_a_network_is_said_to_be_safe_only_where_it_is_kept_for_good() {
    let shop = Shop::open("1.00EUR");
    let in_memory = IapPlugin { save: Save::Memory(MemoryStorage::default()), ..shop.plugin("unused") };
    let kept = [
        (shop.plugin("save"), Persistence::Persistent, "Safe on this device. You are offline"),
        (in_memory, Persistence::InMemory, "Queued until the game is closed"),
    ];
    for (plugin, persistence, words) in kept {
        let mut screen = Screen::open(&shop, IapPlugin { offline: true, ..plugin });
        screen.until("the shop is ready", |store| store.is_ready());
        let shield = buy(&mut screen, "shield");
        screen.until("it is queued", |store| store.order(shield).is_some_and(|it| it.state == OrderState::Queued));
        screen.until("it is known", |store| store.persistence() == Some(persistence));
        screen.command(show("shield"));
        screen.assert_shows(words);
    }
}

#[test]
fn offline_the_banner_counts_what_is_queued() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    screen.until("it is online", |store| *store.connection() == Connection::Online);
    assert_eq!(screen.part(&Part::Standing), "");
    screen.world().resource_mut::<Store>().set_offline(true).expect("heard");
    screen.until("it is offline", |store| *store.connection() == Connection::Offline);
    assert_eq!(screen.part(&Part::Standing), "Offline. What you buy is kept and sent later.");
    for product in ["shield", "double_jump"] {
        buy(&mut screen, product);
    }
    screen.until("both are queued", |store| store.orders().all(|order| order.state == OrderState::Queued));
    assert_eq!(screen.part(&Part::Standing), "Offline. 2 orders are queued and sent when you are back.");
    screen.command(show("shield"));
    screen.assert_shows("You are offline: it is sent when you are back.");
    assert_eq!(turning(&mut screen), 0, "nothing turns while nothing can come");
    screen.world().insert_resource(Words::new("ko"));
    screen.frames(3);
    assert_eq!(screen.part(&Part::Standing), "오프라인입니다. 주문 2건이 대기 중이며 다시 연결되면 보냅니다.");
}

#[test]
fn second_copy_of_the_game_says_that_it_can_only_look() {
    let shop = Shop::open("1.00EUR");
    let _first = shop.play("save");
    let mut second = Screen::start(&shop, shop.plugin("save"));
    second.until("it is read", |store| store.account().is_some() && store.catalog().is_some());
    second.command(show("shield"));
    second.assert_shows("You can look, but not buy: another copy of the game is running");
    let button = second.buy_button();
    assert!(second.world().get::<bevy::ui::InteractionDisabled>(button).is_some());
}

#[test]
fn decline_is_told_in_a_sentence_with_what_to_do() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    screen.command(show("mansion"));
    let order = buy(&mut screen, "mansion");
    screen.until("it is declined", |store| store.order(order).is_some_and(|it| it.state == OrderState::Declined));
    screen.command(ShopCommand::ShowPurchases);
    screen.assert_shows("Declined: there is not enough in your wallet; add money and try again");
}

#[test]
fn purchases_show_every_receipt_a_refund_and_the_signed_text_to_copy() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let order = buy(&mut screen, "double_jump");
    screen.until("it is granted", |store| store.order(order).is_some_and(|it| it.state == OrderState::Granted));
    let refund = RefundOrder { order, quantity: None };
    shop.server().operate(Operation::new(OperationId([9; 16]), refund)).expect("paid back");
    screen.store().sync_now();
    screen.until("it is refunded", |store| store.order(order).is_some_and(|it| it.state == OrderState::Refunded));
    screen.command(ShopCommand::ShowPurchases);
    screen.assert_shows("Double jump · €0.05");
    screen.assert_shows("Refunded");
    let receipt = screen.store().receipts().last().expect("a receipt").clone();
    screen.assert_shows(&format!("Receipt {}", receipt.claims.id));
    screen.click("Copy receipt");
    if screen.shows("Copied") {
        let copied = screen.world().resource_mut::<Clipboard>().fetch_text().poll_result();
        assert_eq!(copied.and_then(Result::ok).as_deref(), Some(receipt.token.as_str()));
    } else {
        // Where there is no desktop, there is no clipboard either.
        screen.assert_shows("The clipboard cannot be reached: ");
    }
}

#[test]
fn what_was_refused_is_said_beside_the_button_and_gone_on_the_next_page() {
    let shop = Shop::open("1.00EUR");
    let plugin = IapPlugin { double_tap: Duration::from_secs(60), ..shop.plugin("save") };
    let mut screen = Screen::open(&shop, plugin);
    screen.command(show("shield"));
    for _ in 0..2 {
        let button = screen.buy_button();
        let twice = [accesskit::Action::Click, accesskit::Action::Click];
        twice.into_iter().for_each(|click| screen.ask(click, button));
    }
    screen.assert_shows("This was just ordered. Press again to buy another.");
    assert_eq!(screen.store().orders().count(), 1);
    screen.command(ShopCommand::ShowShelf(None));
    screen.command(show("shield"));
    assert!(!screen.shows("This was just ordered"));
}

#[test]
fn open_and_idle_nothing_is_spawned_or_changed() {
    #[derive(Resource, Default)]
    struct Changes(usize);
    type AnyChange = Or<(Added<Node>, Changed<Node>, Changed<Text>, Changed<TextFont>, Changed<BackgroundColor>)>;
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, IapPlugin { listen: false, ..shop.plugin("save") });
    screen.until("it is online", |store| *store.connection() == Connection::Online);
    screen
        .app
        .init_resource::<Changes>()
        .add_systems(Last, |changed: Query<(), AnyChange>, mut changes: ResMut<Changes>| {
            changes.0 += changed.iter().count()
        });
    for page in [ShopCommand::ShowShelf(None), show("shield"), ShopCommand::ShowPurchases] {
        screen.command(page.clone());
        screen.frames(10);
        screen.world().resource_mut::<Changes>().0 = 0;
        screen.frames(100);
        assert_eq!(screen.world().resource::<Changes>().0, 0, "{page:?}");
    }
}

#[test]
fn look_changes_while_the_shop_is_open() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let theme = "Theme(colors: (panel: \"#102030\"), text: (title: 40.0))";
    *screen.world().resource_mut::<Theme>() = ron::from_str(theme).expect("a theme");
    screen.world().resource_mut::<ShopSettings>().text_scale = 2.0;
    screen.frames(3);
    let world = screen.world();
    let grounds: Vec<_> = world.query::<&BackgroundColor>().iter(world).map(|ground| ground.0).collect();
    assert!(grounds.contains(&Color::srgb_u8(0x10, 0x20, 0x30)));
    let sizes: Vec<_> = world.query::<&TextFont>().iter(world).map(|font| font.font_size).collect();
    assert!(sizes.contains(&FontSize::Px(80.0)), "{sizes:?}");
}

#[test]
fn orders_of_a_lost_answer_are_shown_once() {
    let shop = Shop::open("1.00EUR");
    let lossy = LossyTransport::new(&shop.address, 1..3);
    let plugin = IapPlugin {
        transport: Some(Arc::new(lossy)),
        offline_grants: OfflineGrants::Provisional,
        ..shop.plugin("save")
    };
    let mut screen = Screen::open(&shop, plugin);
    let order = buy(&mut screen, "shield");
    screen.until("it is granted", |store| store.order(order).is_some_and(|it| it.state == OrderState::Granted));
    screen.command(ShopCommand::ShowPurchases);
    let rows = screen.texts().iter().filter(|text| text.starts_with("Shield")).count();
    assert_eq!(rows, 1);
    screen.world().spawn(outcome_label("shield"));
    screen.frames(2);
}
