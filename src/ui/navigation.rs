//! The shop by keyboard, gamepad and screen reader: where the focus goes, and what it is called.

mod wishes;

use bevy::a11y::{AccessibilityNode, ActionRequest};
use bevy::ecs::system::SystemParam;
use bevy::input_focus::directional_navigation::{AutoNavigationConfig, FocusableArea};
use bevy::input_focus::navigator::find_best_candidate;
use bevy::input_focus::tab_navigation::TabIndex;
use bevy::input_focus::{FocusCause, InputFocus, InputFocusVisible};
use bevy::picking::hover::Hovered;
use bevy::prelude::*;
use bevy::ui::InteractionDisabled;
use bevy::ui::UiGlobalTransform;
use bevy::ui_widgets::{Activate, Button, ScrollIntoView};

use self::wishes::{Wish, Wishes};
use super::hold::{BuyButton, Till};
use super::panel::{Does, Panel};
use super::parts::Part;
use super::shop::{Shop, ShopCommand};
use super::truth::Truth;
use super::waits::Waits;
use super::words::{Words, arguments};
use crate::plugin::{PurchaseUpdated, Store};

/// Says what happened to those who do not see it.
#[derive(Component, Debug)]
#[require(Node, AccessibilityNode = live())]
pub struct Announcer;

fn live() -> AccessibilityNode {
    let mut node = accesskit::Node::new(accesskit::Role::Status);
    node.set_live(accesskit::Live::Polite);
    AccessibilityNode(node)
}

/// Something that can be pressed, and reached by Tab, arrows and gamepad. Put it on a game's own buttons to have them
/// reached like the shop's, and pressed by a gamepad's lower button.
#[derive(Component, Clone, Copy, Debug, Default)]
#[require(TabIndex, Hovered, AccessibilityNode)]
pub struct Control;

/// What holds the controls that are reached while the shop is open.
#[cfg(not(feature = "dev"))]
type IsReached = With<Panel>;
/// What holds the controls that are reached while the shop is open: it, and what lies over it.
#[cfg(feature = "dev")]
type IsReached = Or<(With<Panel>, With<crate::dev::DevPanelRoot>)>;
/// What the shop gives its name.
type IsNamed = Or<(With<Does>, With<BuyButton>)>;
/// What can be read.
type IsText = (With<Part>, Without<Does>, Without<BuyButton>);
/// What a control's name depends on.
type Named<'a> = (
    Option<&'a Does>,
    Option<&'a BuyButton>,
    Option<&'a Children>,
    Has<InteractionDisabled>,
    &'a mut AccessibilityNode,
);

/// Controls, and where they are.
#[derive(SystemParam)]
pub(super) struct Places<'w, 's> {
    controls: Query<'w, 's, (Entity, &'static ComputedNode, &'static UiGlobalTransform), With<Control>>,
    parents: Query<'w, 's, &'static ChildOf>,
    panels: Query<'w, 's, (), IsReached>,
    config: Res<'w, AutoNavigationConfig>,
}

impl Places<'_, '_> {
    /// The controls that can be reached: those of the panel alone while it is open, since it lies over the game's.
    fn within_reach(&self, is_open: bool) -> Vec<FocusableArea> {
        let is_reached = |control| !is_open || self.parents.iter_ancestors(control).any(|it| self.panels.contains(it));
        let reached = self.controls.iter().filter(|(control, node, _)| !node.is_empty() && is_reached(*control));
        let area = |(entity, node, place): (_, &ComputedNode, &UiGlobalTransform)| FocusableArea {
            entity,
            position: place.translation,
            size: node.size(),
        };
        reached.map(area).collect()
    }
}

/// Moves the focus, and leaves the shop.
pub(super) fn navigate(
    mut wishes: Wishes,
    shop: Res<Shop>,
    places: Places,
    mut focus: ResMut<InputFocus>,
    mut visible: ResMut<InputFocusVisible>,
    mut commands: MessageWriter<ShopCommand>,
) {
    let Some(wish) = wishes.wish(shop.is_changed()) else { return };
    let Wish::Go(direction) = wish else {
        if shop.is_open() {
            commands.write(shop.back());
        }
        return;
    };
    let areas = places.within_reach(shop.is_open());
    let here = areas.iter().find(|area| focus.get() == Some(area.entity));
    let next = match here {
        // At the edge there is nowhere to go.
        Some(here) => find_best_candidate(here, direction, &areas, &places.config),
        None if shop.is_open() => areas.first().map(|area| area.entity),
        None => None,
    };
    if let Some(next) = next {
        visible.0 = true;
        focus.set(next, FocusCause::Navigated);
    }
}

/// A gamepad's lower button presses what has the focus, and holds what is to be held.
#[cfg(feature = "gamepad")]
pub(super) fn press_by_gamepad(
    gamepads: Query<&Gamepad>,
    focus: Res<InputFocus>,
    plain: Query<Has<InteractionDisabled>, (With<Button>, With<Control>)>,
    buying: Query<Has<InteractionDisabled>, With<BuyButton>>,
    holding: Query<Entity, With<super::hold::Holding>>,
    mut commands: Commands,
) {
    let is_down = |gamepad: &Gamepad| gamepad.pressed(GamepadButton::South);
    if !gamepads.iter().any(is_down) {
        if gamepads.iter().any(|gamepad| gamepad.just_released(GamepadButton::South)) {
            holding.iter().for_each(|button| super::hold::let_go(button, &mut commands));
        }
        return;
    }
    let Some(focus) = focus.get() else { return };
    if !gamepads.iter().any(|gamepad| gamepad.just_pressed(GamepadButton::South)) {
        return;
    }
    if plain.get(focus) == Ok(false) {
        commands.trigger(Activate { entity: focus });
    } else if buying.get(focus) == Ok(false) {
        super::hold::take_hold(focus, super::hold::Holder::Gamepad, &mut commands);
    }
}

/// What has the focus is brought into view.
pub(super) fn scroll_to_focus(
    focus: Res<InputFocus>,
    visible: Res<InputFocusVisible>,
    controls: Query<(), With<Control>>,
    mut commands: Commands,
) {
    if let Some(entity) = focus.get().filter(|entity| visible.0 && controls.contains(*entity)) {
        commands.trigger(ScrollIntoView { entity });
    }
}

/// What a screen reader asks for.
pub(super) fn answer_screen_reader(
    mut requests: MessageReader<ActionRequest>,
    plain: Query<Has<InteractionDisabled>, (With<Button>, With<Control>)>,
    buying: Query<(&BuyButton, Has<InteractionDisabled>)>,
    mut focus: ResMut<InputFocus>,
    mut till: Till,
    mut commands: Commands,
) {
    for request in requests.read() {
        let Some(target) = Entity::try_from_bits(request.target_node.0) else { continue };
        match request.action {
            accesskit::Action::Focus if plain.contains(target) || buying.contains(target) => {
                focus.set(target, FocusCause::Navigated);
            }
            accesskit::Action::Click if plain.get(target) == Ok(false) => commands.trigger(Activate { entity: target }),
            accesskit::Action::Click => {
                if let Ok((BuyButton(product), false)) = buying.get(target) {
                    till.press_without_holding(product);
                }
            }
            _ => {}
        }
    }
}

/// Gives controls and texts the names by which a screen reader calls them.
pub(super) fn name(
    store: Res<Store>,
    words: Res<Words>,
    waits: Res<Waits>,
    mut controls: Query<Named, IsNamed>,
    parts: Query<&Part>,
    mut texts: Query<(&Text, &mut AccessibilityNode), IsText>,
) {
    let truth = Truth { store: &store, words: &words, waits: &waits };
    for (does, buys, children, is_disabled, mut node) in &mut controls {
        let visible = children.into_iter().flatten().find_map(|child| parts.get(*child).ok());
        let label = match (does, buys) {
            (Some(does), _) => does.label(visible, truth),
            (None, Some(BuyButton(product))) => truth.buy_label(product),
            (None, None) => continue,
        };
        let (labelled, disabled) = (node.label() == Some(label.as_str()), node.is_disabled() == is_disabled);
        if labelled && disabled && node.role() == accesskit::Role::Button {
            continue;
        }
        node.set_role(accesskit::Role::Button);
        node.set_label(label);
        if is_disabled { node.set_disabled() } else { node.clear_disabled() }
    }
    for (text, mut node) in &mut texts {
        if node.value() != Some(text.0.as_str()) {
            node.set_role(accesskit::Role::Label);
            node.set_value(text.0.as_str());
        }
    }
}

/// Says aloud what becomes of orders.
pub(super) fn announce(
    mut updates: MessageReader<PurchaseUpdated>,
    store: Res<Store>,
    words: Res<Words>,
    waits: Res<Waits>,
    mut announcers: Query<&mut AccessibilityNode, With<Announcer>>,
    mut last_refusal: Local<Option<String>>,
) {
    let truth = Truth { store: &store, words: &words, waits: &waits };
    let refusal = truth.refusal_of_now();
    if *last_refusal != refusal {
        if let Some(said) = &refusal {
            announcers.iter_mut().for_each(|mut node| node.set_value(said.as_str()));
        }
        *last_refusal = refusal;
    }
    for update in updates.read() {
        let Some(order) = store.order(update.order) else { continue };
        let title = truth.title(order.product.as_str());
        let outcome = truth.progress(order).text;
        let said = words.say_with("announce-order", &arguments([("title", title.into()), ("outcome", outcome.into())]));
        for mut node in &mut announcers {
            node.set_value(said.as_str());
        }
    }
}
