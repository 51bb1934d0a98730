//! The shop: a plugin, a key that opens it, and what the game has to know of it.

use bevy::input::common_conditions::input_just_pressed;
use bevy::prelude::*;
use bevy_iap::prelude::*;
use bevy_iap::ui::{Ink, ShopCommand, ShopPlugin, Size, Skin, Tone, Words, shop_is_closed, standing_label};

use crate::words::said;

pub fn plugin(app: &mut App) {
    app.add_plugins(ShopPlugin::default())
        .add_systems(Startup, |mut commands: Commands| _ = commands.spawn((standing_label(), Skin::Banner, low())))
        .add_systems(Update, open.run_if(shop_is_closed))
        .add_systems(Update, go_offline_or_back.run_if(input_just_pressed(KeyCode::KeyO)))
        .add_observer(give_back);
}

fn open(keys: Res<ButtonInput<KeyCode>>, gamepads: Query<&Gamepad>, mut shop: MessageWriter<ShopCommand>) {
    if keys.just_pressed(KeyCode::KeyB) || gamepads.iter().any(|gamepad| gamepad.just_pressed(GamepadButton::Select)) {
        shop.write(ShopCommand::Open);
    }
}

fn go_offline_or_back(mut store: ResMut<Store>) {
    let is_offline = !store.is_offline();
    store.set_offline(is_offline).unwrap_or_else(|error| warn!("not now: {error}"));
}

/// The server had fewer shields left than this device believed. The crash that it took stays survived.
fn give_back(_: On<ConsumeRefused>, words: Res<Words>, mut commands: Commands) {
    let text = Text::new(said(&words, "A shield is back: another device had used it already."));
    let line = (text, Ink::new(Size::Body, Tone::Plain));
    let notice = commands.spawn((Skin::Banner, low(), children![line])).id();
    commands.delayed().secs(5.0).entity(notice).despawn();
}

/// In the lower corner of the window.
fn low() -> Node {
    Node { position_type: PositionType::Absolute, left: px(12), bottom: px(12), ..default() }
}
