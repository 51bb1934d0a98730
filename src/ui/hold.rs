//! The button that buys: it is held for about half a second, so that no stray press ever does.
//!
//! It is held by a pointer, by Enter or Space, or by a gamepad's lower button, and let go of by whatever ends that. A
//! screen reader cannot hold: there the first press asks, and a second one within a few seconds buys.

use bevy::ecs::system::SystemParam;
use bevy::input::ButtonState;
use bevy::input::keyboard::KeyboardInput;
use bevy::input_focus::{FocusedInput, InputFocus};
use bevy::picking::pointer::PointerId;
use bevy::prelude::*;
use bevy::time::Real;
use bevy::ui::{InteractionDisabled, Pressed};

use super::navigation::Control;
use super::parts::Part;
use super::skin::{Ink, Size, Skin, Tone};
use super::theme::Theme;
use super::waits::Waits;
use crate::plugin::Store;

/// The shortest that a press must be held, in seconds, whatever the theme says.
const SHORTEST_HOLD: f32 = 0.25;

/// Buys a product when it is held.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[require(Node, Skin = Skin::Main, Control)]
pub struct BuyButton(
    /// The product.
    pub String,
);

/// How far a button is held down.
#[derive(Component, Debug)]
pub(super) struct Holding {
    by: Holder,
    seconds: f32,
}

/// What holds a button down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Pointer(PointerId),
    Key(KeyCode),
    #[cfg(feature = "gamepad")]
    Gamepad,
}

/// What grows while the button is held.
#[derive(Component, Debug)]
pub(super) struct Progress;

/// The button that buys `product` when it is held; it says its price, and is disabled while nothing can be bought.
///
/// Spawn it anywhere in a `bevy_ui` tree. [`outcome_label`](super::outcome_label) says what became of it.
pub fn buy_button(product: &str) -> impl Bundle {
    button(product, Part::Buy(product.to_owned()))
}

/// The button that buys `product` when it is held, without the price: for where a
/// [`price_label`](super::price_label) is beside it. A screen reader is told the price all the same.
pub fn buy_button_without_price(product: &str) -> impl Bundle {
    button(product, Part::BuyWithoutPrice(product.to_owned()))
}

fn button(product: &str, says: Part) -> impl Bundle {
    // In a column, since a row does not measure how high a text is that goes on below.
    let node = Node {
        flex_direction: FlexDirection::Column,
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Center,
        max_width: percent(100),
        overflow: Overflow::clip(),
        ..default()
    };
    let bar = Node {
        position_type: PositionType::Absolute,
        left: px(0),
        top: px(0),
        width: percent(0),
        height: percent(100),
        ..default()
    };
    (
        BuyButton(product.to_owned()),
        node,
        children![
            (Progress, Skin::Progress, bar, Pickable::IGNORE),
            (
                says,
                Ink::new(Size::Large, Tone::Plain),
                TextLayout::new(Justify::Center, LineBreak::WordOrCharacter),
                Pickable::IGNORE
            ),
        ],
    )
}

pub(super) fn register(app: &mut App) {
    app.add_observer(press)
        .add_observer(|release: On<Pointer<Release>>, held: Held, commands: Commands| {
            held.pointer_ends(release.entity, release.pointer_id, commands);
        })
        .add_observer(|out: On<Pointer<Out>>, held: Held, commands: Commands| {
            held.pointer_ends(out.entity, out.pointer_id, commands);
        })
        .add_observer(|cancel: On<Pointer<Cancel>>, held: Held, commands: Commands| {
            held.pointer_ends(cancel.entity, cancel.pointer_id, commands);
        })
        .add_observer(key)
        .add_systems(Update, hold.run_if(any_with_component::<Holding>));
}

/// The buttons that are held.
#[derive(SystemParam)]
struct Held<'w, 's> {
    holding: Query<'w, 's, &'static Holding>,
}

impl Held<'_, '_> {
    fn pointer_ends(&self, button: Entity, pointer: PointerId, mut commands: Commands) {
        if self.holding.get(button).is_ok_and(|holding| holding.by == Holder::Pointer(pointer)) {
            let_go(button, &mut commands);
        }
    }
}

fn press(
    mut press: On<Pointer<Press>>,
    buttons: Query<Has<InteractionDisabled>, With<BuyButton>>,
    mut commands: Commands,
) {
    let Ok(is_disabled) = buttons.get(press.entity) else { return };
    press.propagate(false);
    if !is_disabled && press.button == PointerButton::Primary {
        take_hold(press.entity, Holder::Pointer(press.pointer_id), &mut commands);
    }
}

fn key(
    mut event: On<FocusedInput<KeyboardInput>>,
    buttons: Query<Has<InteractionDisabled>, With<BuyButton>>,
    holding: Query<&Holding>,
    mut commands: Commands,
) {
    let Ok(is_disabled) = buttons.get(event.focused_entity) else { return };
    let (button, code) = (event.focused_entity, event.input.key_code);
    if !matches!(code, KeyCode::Enter | KeyCode::NumpadEnter | KeyCode::Space) {
        return;
    }
    event.propagate(false);
    match event.input.state {
        ButtonState::Pressed if !event.input.repeat && !is_disabled && !holding.contains(button) => {
            take_hold(button, Holder::Key(code), &mut commands);
        }
        ButtonState::Released if holding.get(button).is_ok_and(|it| it.by == Holder::Key(code)) => {
            let_go(button, &mut commands);
        }
        _ => {}
    }
}

/// A button begins to be held.
pub(super) fn take_hold(button: Entity, by: Holder, commands: &mut Commands) {
    commands.entity(button).insert((Holding { by, seconds: 0.0 }, Pressed));
}

/// A button is let go of.
pub(super) fn let_go(button: Entity, commands: &mut Commands) {
    commands.entity(button).try_remove::<(Holding, Pressed)>();
}

/// Buys what is held long enough.
fn hold(
    time: Res<Time<Real>>,
    theme: Res<Theme>,
    focus: Res<InputFocus>,
    mut store: ResMut<Store>,
    mut waits: ResMut<Waits>,
    mut held: Query<(Entity, &BuyButton, &mut Holding, Has<InteractionDisabled>)>,
    mut commands: Commands,
) {
    let longest = theme.hold.max(SHORTEST_HOLD);
    for (button, BuyButton(product), mut holding, is_disabled) in &mut held {
        // A slow frame is no long press.
        holding.seconds += time.delta_secs().min(SHORTEST_HOLD / 2.0);
        let lost_focus = !matches!(holding.by, Holder::Pointer(_)) && focus.get() != Some(button);
        if is_disabled || lost_focus {
            let_go(button, &mut commands);
        } else if holding.seconds >= longest {
            let_go(button, &mut commands);
            waits.tried(product, store.purchase(product));
        }
    }
}

/// Shows how long a button is held.
pub(super) fn show_progress(
    theme: Res<Theme>,
    held: Query<Option<&Holding>, With<BuyButton>>,
    mut bars: Query<(&ChildOf, &mut Node), With<Progress>>,
) {
    for (parent, mut node) in &mut bars {
        let seconds = held.get(parent.parent()).ok().flatten().map_or(0.0, |holding| holding.seconds);
        let width = percent((seconds / theme.hold.max(SHORTEST_HOLD)).min(1.0) * 100.0);
        if node.width != width {
            node.width = width;
        }
    }
}

/// What selling to somebody who cannot hold takes.
#[derive(SystemParam)]
pub(super) struct Till<'w> {
    store: ResMut<'w, Store>,
    waits: ResMut<'w, Waits>,
    time: Res<'w, Time<Real>>,
}

impl Till<'_> {
    /// A press by somebody who cannot hold: the first asks, the second buys.
    pub(super) fn press_without_holding(&mut self, product: &str) {
        let Self { store, waits, time } = self;
        if waits.is_confirming(product) {
            waits.tried(product, store.purchase(product));
        } else {
            waits.confirm(product, time.elapsed());
        }
    }
}
