//! A finished shop, and its parts, on `bevy_ui`.
//!
//! [`ShopPlugin`] draws a panel over the game: the catalogue's products in their groups, one product with the button that
//! buys it when it is held, the way of its order as it happens, what was bought with its receipts, and sentences for
//! whatever is not as it should be. It is used by mouse, touch, keyboard, gamepad and screen reader alike.
//!
//! ```no_run
//! use bevy::prelude::*;
//! use bevy_iap::prelude::*;
//! use bevy_iap::ui::{ShopCommand, ShopPlugin};
//!
//! App::new()
//!     .add_plugins((DefaultPlugins, IapPlugin::new("my_game", "my_game.catalog.ron"), ShopPlugin::default()))
//!     .add_systems(Update, |keys: Res<ButtonInput<KeyCode>>, mut shop: MessageWriter<ShopCommand>| {
//!         if keys.just_pressed(KeyCode::KeyB) {
//!             shop.write(ShopCommand::Open);
//!         }
//!     });
//! ```
//!
//! **Another look**: change the [`Theme`], or name a file of it with [`ShopPlugin::theme`]. **Another shop**: leave the
//! panel closed and spawn the parts where you like, [`buy_button`], [`balance_label`], [`owned_badge`] and the others;
//! each keeps itself true. **Another language**: insert [`Words`].
//!
//! Everything is read from the [`Store`]: nothing in here knows more than a game does.

pub(crate) mod focus;
mod glyphs;
mod hold;
mod navigation;
pub(crate) mod nodes;
mod panel;
mod parts;
mod shop;
mod skin;
mod theme;
mod truth;
mod waits;
mod words;

use bevy::input_focus::InputFocus;
use bevy::input_focus::directional_navigation::DirectionalNavigationPlugin;
use bevy::input_focus::tab_navigation::TabNavigationPlugin;
use bevy::prelude::*;

pub use hold::{BuyButton, buy_button, buy_button_without_price};
pub use navigation::{Announcer, Control};
pub use parts::{
    Lamp, Part, Spinner, Step, balance_label, description_label, outcome_label, owned_badge, price_label,
    standing_label, title_label,
};
pub use shop::{Page, Shop, ShopCommand, ShopSettings, shop_is_closed, shop_is_open};
pub use skin::{Ink, Size, Skin, Tone};
pub use theme::{Colors, Contrast, TextSizes, Theme, ThemeLoader};
pub use words::Words;

use crate::plugin::{PurchaseUpdated, Store};

/// Noto Sans KR, without what no shop needs: Latin letters, signs of currencies, and Hangul. Its licence is beside it.
const FONT: &[u8] = include_bytes!("ui/fonts/NotoSansKR.otf");

/// The shop. Add it after [`IapPlugin`](crate::plugin::IapPlugin) and `DefaultPlugins`.
///
/// What it adds runs in `Update`, in [`ShopSystems`]; while the shop is closed and no part of it is spawned, nothing of
/// it runs.
#[derive(Clone, Debug, Default)]
pub struct ShopPlugin {
    /// The asset path of a [`Theme`], `*.theme.ron`, which is followed while the game runs. None is the usual look.
    pub theme: Option<String>,
    /// The language of the shop, as a tag such as `ko`. None is the system's.
    pub language: Option<String>,
}

/// The shop's systems, for ordering against them. All run in `Update`.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShopSystems {
    /// Commands are obeyed, and what is pressed is done.
    Obey,
    /// What is shown is laid out, if it is another than before.
    LayOut,
    /// What is shown is made to say what is true.
    Tell,
    /// What is shown is given its look.
    Dress,
}

impl Plugin for ShopPlugin {
    fn build(&self, app: &mut App) {
        let words = self.language.as_deref().map_or_else(Words::of_system, Words::new);
        app.insert_resource(words)
            .init_resource::<Shop>()
            .init_resource::<ShopSettings>()
            .init_resource::<waits::Waits>()
            .init_resource::<skin::Fit>()
            .init_resource::<panel::Shown>()
            .init_resource::<glyphs::Glyphs>()
            .add_message::<ShopCommand>()
            .add_message::<bevy::a11y::ActionRequest>();
        let fonts = app.world_mut().get_resource_mut::<Assets<Font>>();
        let font = fonts.map(|mut fonts| fonts.add(Font::from_bytes(FONT.to_vec())));
        app.insert_resource(skin::ShopFont(font.unwrap_or_default()));
        if !app.world().contains_resource::<Store>() {
            tracing::error!("there is no shop: add `ShopPlugin` after `IapPlugin`");
            return;
        }
        theme::register(app, self.theme.as_deref());
        if !app.is_plugin_added::<TabNavigationPlugin>() {
            app.add_plugins(TabNavigationPlugin);
        }
        if !app.is_plugin_added::<DirectionalNavigationPlugin>() {
            app.add_plugins(DirectionalNavigationPlugin);
        }
        hold::register(app);
        app.add_observer(panel::act).add_observer(panel::scroll_by_drag);

        use ShopSystems::{Dress, LayOut, Obey, Tell};
        app.configure_sets(Update, (Obey, LayOut, Tell, Dress).chain());
        let is_used = any_with_component::<Skin>.or_else(any_with_component::<Ink>);
        let truth_changed = resource_changed::<Store>
            .or_else(resource_changed::<Words>)
            .or_else(resource_changed::<waits::Waits>)
            .or_else(any_match_filter::<Or<(Added<Part>, Changed<Part>)>>)
            .or_else(any_match_filter::<Or<(Added<Lamp>, Added<Spinner>, Added<BuyButton>)>>);
        app.add_systems(
            Update,
            (
                (
                    navigation::navigate,
                    #[cfg(feature = "gamepad")]
                    navigation::press_by_gamepad,
                    navigation::answer_screen_reader,
                )
                    .run_if(is_used.clone())
                    .in_set(Obey),
                shop::obey.run_if(on_message::<ShopCommand>).in_set(Obey),
                panel::lay_out
                    .run_if(resource_changed::<Shop>.or_else(resource_changed::<Store>.and_then(shop_is_open)))
                    .in_set(LayOut),
                (
                    waits::note.run_if(resource_changed::<Store>),
                    waits::end.run_if(waits::is_waiting),
                    (parts::tell, parts::light, navigation::name).chain().run_if(truth_changed),
                    navigation::announce
                        .run_if(on_message::<PurchaseUpdated>.or_else(resource_changed::<waits::Waits>)),
                )
                    .chain()
                    .run_if(is_used.clone())
                    .in_set(Tell),
                (
                    skin::fit,
                    (skin::dress_boxes, skin::dress_texts),
                    theme::tell_of_low_contrast.run_if(resource_changed::<Theme>),
                    skin::turn,
                    hold::show_progress,
                    (skin::show_focus, navigation::scroll_to_focus).run_if(resource_changed::<InputFocus>),
                )
                    .chain()
                    .run_if(is_used)
                    .in_set(Dress),
            ),
        );
    }
}

/// The shop's font as an asset, for a game's own texts in the languages that it covers.
pub fn font(world: &World) -> Handle<Font> {
    world.get_resource::<skin::ShopFont>().map(|font| font.0.clone()).unwrap_or_default()
}
