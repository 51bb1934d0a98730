//! The shop: a plugin, a key that opens it, and what the game has to know of it.

use bevy::input::common_conditions::input_just_pressed;
use bevy::prelude::*;
use bevy_iap::prelude::*;
use bevy_iap::ui::{Shop, ShopCommand, ShopPlugin, Words};

use crate::screens::Notice;
use crate::sound::Tone;
use crate::words::said;

pub fn plugin(app: &mut App) {
    app.add_plugins(ShopPlugin::default())
        .add_systems(Update, open.run_if(is_shop_closed))
        .add_systems(Update, go_offline_or_back.run_if(input_just_pressed(KeyCode::KeyO)))
        .add_observer(celebrate)
        .add_observer(give_back);
}

/// Whether the shop is closed, and was so in the last frame: the key that closes it does nothing else.
pub fn is_shop_closed(shop: Res<Shop>, mut was_open: Local<bool>) -> bool {
    !std::mem::replace(&mut *was_open, shop.is_open()) && !shop.is_open()
}

fn open(keys: Res<ButtonInput<KeyCode>>, gamepads: Query<&Gamepad>, mut shop: MessageWriter<ShopCommand>) {
    if keys.just_pressed(KeyCode::KeyB) || gamepads.iter().any(|gamepad| gamepad.just_pressed(GamepadButton::Select)) {
        shop.write(ShopCommand::Open);
    }
}

fn go_offline_or_back(mut store: ResMut<Store>, words: Res<Words>, mut notices: MessageWriter<Notice>) {
    let is_offline = !store.is_offline();
    notices.write(Notice(match store.set_offline(is_offline) {
        Ok(()) => said(&words, if is_offline { "Offline" } else { "Online again" }).to_owned(),
        Err(error) => error.to_string(),
    }));
}

fn celebrate(update: On<PurchaseUpdated>, mut tones: MessageWriter<Tone>) {
    if update.state == OrderState::Granted {
        tones.write(Tone::Purchase);
    }
}

/// The server had fewer shields left than this device believed. The crash that it took stays survived.
fn give_back(_: On<ConsumeRefused>, words: Res<Words>, mut notices: MessageWriter<Notice>) {
    notices.write(Notice(said(&words, "A shield is back: another device had used it already.").to_owned()));
}
