//! A market stall of its own, built from the shop's parts instead of its panel: `cargo run --example custom_shop`

use bevy::input_focus::tab_navigation::TabGroup;
use bevy::prelude::*;
use bevy_iap::prelude::*;
use bevy_iap::protocol::Catalog;
use bevy_iap::server::{LocalServer, ServerConfig};
use bevy_iap::ui::{
    Announcer, Ink, ShopPlugin, Size, Skin, Tone, balance_label, buy_button_without_price, description_label,
    outcome_label, owned_badge, price_label, standing_label, title_label,
};

const NIGHT: Color = Color::srgb(0.07, 0.09, 0.20);
const DUSK: Color = Color::srgb(0.80, 0.42, 0.27);
const WOOD: Color = Color::srgb(0.30, 0.18, 0.10);
const RED: Color = Color::srgb(0.66, 0.20, 0.15);
const CREAM: Color = Color::srgb(0.97, 0.91, 0.79);
const GLOW: Color = Color::srgb(1.0, 0.74, 0.35);
/// Where lanterns hang: how far from the left, in per cent of the window, and how far down, in per cent of its height.
const LANTERNS: [(f32, f32); 6] = [(5.5, 20.0), (10.5, 42.0), (2.0, 62.0), (86.5, 36.0), (95.5, 18.0), (91.0, 58.0)];

fn main() -> Result<AppExit> {
    let folder = tempfile::tempdir()?;
    let catalog = Catalog::parse("custom_shop.catalog.ron", include_str!("../assets/custom_shop.catalog.ron"))?;
    let welcome = Some("1.00EUR".parse()?);
    let server = LocalServer::start(ServerConfig { welcome, ..ServerConfig::new(folder.path(), catalog) })?;
    let address = ServerAddress { url: server.url(), keys: vec![server.public_key()] };
    let plugin = IapPlugin::new("custom_shop", "custom_shop.catalog.ron");
    // The panel is never opened: without `ShopCommand::Open` there is none.
    let shop = ShopPlugin { theme: Some("custom_shop.theme.ron".to_owned()), ..default() };
    Ok(App::new()
        .add_plugins(DefaultPlugins)
        .add_plugins(IapPlugin { server: Some(address), save: Save::Memory(default()), ..plugin })
        .add_plugins(shop)
        .add_systems(Startup, build_stall)
        .add_observer(lay_out_wares)
        .run())
}

/// The shelf that the wares lie on.
#[derive(Component)]
struct Wares;

/// A box whose things are one below another.
fn column() -> Node {
    Node { flex_direction: FlexDirection::Column, ..default() }
}

fn build_stall(mut commands: Commands) {
    commands.spawn(Camera2d);
    let sky = LinearGradient::to_bottom(vec![ColorStop::auto(NIGHT), ColorStop::auto(DUSK)]);
    let node = Node { width: percent(100), height: percent(100), align_items: AlignItems::Center, ..column() };
    // The parts are the library's; the group that Tab goes round in, and who speaks to a screen reader, are ours.
    let mut street = commands.spawn((node, BackgroundGradient::from(sky), TabGroup::default(), Announcer));
    street.with_children(|street| {
        LANTERNS.iter().for_each(|&(left, below)| _ = street.spawn(lantern(left, below)));
        street.spawn(awning());
        let stall = Node { flex_grow: 1.0, max_width: percent(100), ..default() };
        street.spawn((stall, children![post(), parchment(), post()]));
    });
}

fn lantern(left: f32, below: f32) -> impl Bundle {
    let hung = Node { position_type: PositionType::Absolute, left: percent(left), top: vh(below), ..default() };
    let paper = Node { width: vh(6), height: vh(7), border_radius: BorderRadius::MAX, ..hung };
    let light = LinearGradient::to_bottom(vec![ColorStop::auto(CREAM), ColorStop::auto(GLOW), ColorStop::auto(DUSK)]);
    let halo = BoxShadow::new(GLOW.with_alpha(0.5), px(0), px(0), vh(0.5), vh(5));
    let string = Node { position_type: PositionType::Absolute, left: vh(2.9), bottom: percent(100), ..default() };
    let string = (Node { width: px(1), height: vh(below), ..string }, BackgroundColor(WOOD));
    (paper, BackgroundGradient::from(light), halo, children![string])
}

fn awning() -> impl Bundle {
    let cloth = Node { width: vh(132), max_width: percent(100), min_height: vh(10), ..default() };
    let stripe = |place: usize| {
        let color = if place.is_multiple_of(2) { RED } else { CREAM };
        let scallop = BorderRadius::bottom(vh(4));
        let node = Node { flex_grow: 1.0, height: percent(100), border_radius: scallop, ..default() };
        (node, BackgroundColor(color), BoxShadow::new(Color::BLACK.with_alpha(0.35), px(0), vh(0.6), px(0), vh(1)))
    };
    (cloth, ZIndex(1), Children::spawn(SpawnIter((0..17).map(stripe))))
}

fn post() -> impl Bundle {
    (Node { width: vh(2.4), height: percent(100), ..default() }, BackgroundColor(WOOD))
}

fn parchment() -> impl Bundle {
    let sheet = Node { width: vh(118), margin: UiRect::axes(vh(1.5), vh(3)), ..column() };
    let apart = Node { justify_content: JustifyContent::SpaceBetween, align_items: AlignItems::Center, ..default() };
    let hint = "Tab goes from ware to ware. Hold Enter, or the mouse, to buy.";
    (
        Skin::Panel,
        sheet,
        children![
            (
                apart,
                children![
                    (Text::new("The lantern market"), Ink::new(Size::Title, Tone::Plain)),
                    (
                        Skin::Row,
                        Node { align_items: AlignItems::Center, ..default() },
                        children![(Text::new("In your purse"), Ink::new(Size::Body, Tone::Quiet)), balance_label()],
                    ),
                ],
            ),
            (Wares, Skin::Column, Node { flex_grow: 1.0, ..column() }),
            standing_label(),
            (Text::new(hint), Ink::new(Size::Small, Tone::Quiet)),
        ],
    )
}

/// Lays out what the catalogue has, also when its file is changed while the stall is open.
fn lay_out_wares(_: On<CatalogLoaded>, store: Res<Store>, shelf: Single<Entity, With<Wares>>, mut commands: Commands) {
    commands.entity(*shelf).despawn_children();
    for (product, _) in store.catalog().into_iter().flat_map(|catalog| catalog.products()) {
        commands.entity(*shelf).with_child(ware(product.as_str()));
    }
}

fn ware(product: &str) -> impl Bundle {
    let row = Node { align_items: AlignItems::Center, flex_grow: 1.0, flex_basis: px(0), ..default() };
    let name = Node { align_items: AlignItems::Baseline, ..default() };
    (
        Skin::Field,
        row,
        children![
            price_tag(product),
            (
                Node { flex_grow: 1.0, flex_basis: px(0), row_gap: vh(0.5), ..column() },
                children![
                    (Skin::Row, name, children![title_label(product), owned_badge(product)]),
                    description_label(product),
                    outcome_label(product),
                ],
            ),
            (Node { width: vh(35), ..column() }, children![buy_button_without_price(product)]),
        ],
    )
}

/// The price, on a tag that hangs a little askew.
fn price_tag(product: &str) -> impl Bundle {
    let tag = Node { min_width: vh(15), margin: UiRect::right(vh(1.5)), align_items: AlignItems::Center, ..default() };
    let hole = Node { width: vh(1.4), height: vh(1.4), border_radius: BorderRadius::MAX, ..default() };
    let askew = UiTransform::from_rotation(Rot2::degrees(-4.0));
    (Skin::Chip, tag, askew, children![(hole, BackgroundColor(WOOD)), price_label(product)])
}
