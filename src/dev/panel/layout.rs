//! What is where in the panel: laid out when it opens, and gone when it closes.

use std::time::Duration;

use bevy::a11y::AccessibilityNode;
use bevy::input_focus::tab_navigation::TabGroup;
use bevy::prelude::*;
use bevy::ui_widgets::ScrollArea;

use super::{DevAction, DevButton, DevLine, DevPanel, ORDERS, TROUBLES};
use crate::dev::control::{DAY, SandboxControl};
use crate::dev::network::Network;
use crate::ui::focus::{Focus, Had};
use crate::ui::nodes::{body, spread, text_button, wrapped};
use crate::ui::{Ink, Size, Skin, Tone};

/// Above the shop.
const ABOVE_THE_SHOP: GlobalZIndex = GlobalZIndex(2_000);
/// How much of what is seen is left behind by a key.
const PAGE: f32 = 0.8;

/// The panel that is laid out, and what had the focus before it.
#[derive(Resource, Debug, Default)]
pub(super) struct Shown {
    panel: Option<Entity>,
    before: Had,
}

/// The whole panel.
#[derive(Component, Debug)]
pub(crate) struct DevPanelRoot;

/// What scrolls.
#[derive(Component, Debug)]
pub(super) struct Body;

impl DevAction {
    /// What its button says.
    fn label(self) -> &'static str {
        match self {
            Self::Close => "Close",
            Self::Offline => "Offline",
            Self::SyncNow => "Ask now",
            Self::CopyAccount => "Copy account",
            Self::CopyDevice => "Copy device",
            Self::CopyOrder => "Copy last order",
            Self::Network(Network::Normal) => "Normal",
            Self::Network(Network::Slow(by)) if by < Duration::from_secs(1) => "Slow 0.5 s",
            Self::Network(Network::Slow(_)) => "Slow 3 s",
            Self::Network(Network::NeverAnswers) => "Never answers",
            Self::Network(Network::Cut) => "Cut",
            Self::Network(Network::LosesAnswers) => "Loses answers",
            Self::MoveClock(..0) => "-1 day",
            Self::MoveClock(..=DAY) => "+1 day",
            Self::MoveClock(_) => "+10 years",
            Self::ResetClock => "Right again",
            Self::Decline => "Decline orders",
            Self::Hold => "Set wallet aside",
            Self::Refund => "Refund last granted",
            Self::Credit => "Credit 1.00",
        }
    }
}

/// The network's buttons.
const NETWORKS: [DevAction; 6] = [
    DevAction::Network(Network::Normal),
    DevAction::Network(Network::Slow(Duration::from_millis(500))),
    DevAction::Network(Network::Slow(Duration::from_secs(3))),
    DevAction::Network(Network::NeverAnswers),
    DevAction::Network(Network::Cut),
    DevAction::Network(Network::LosesAnswers),
];
/// The clock's buttons.
const CLOCKS: [DevAction; 4] =
    [DevAction::MoveClock(-DAY), DevAction::MoveClock(DAY), DevAction::MoveClock(3_652 * DAY), DevAction::ResetClock];
/// The operator's buttons.
const OPERATOR: [DevAction; 4] = [DevAction::Decline, DevAction::Hold, DevAction::Refund, DevAction::Credit];

/// Lays the panel out, or removes it.
pub(super) fn lay_out(
    panel: Res<DevPanel>,
    control: Option<Res<SandboxControl>>,
    mut shown: ResMut<Shown>,
    mut focus: Focus,
    mut commands: Commands,
) {
    if panel.is_open == shown.panel.is_some() {
        return;
    }
    if let Some(panel) = shown.panel.take() {
        focus.give_back(shown.before, panel);
        commands.entity(panel).despawn();
        return;
    }
    let mut first = None;
    let root = commands.spawn((DevPanelRoot, Skin::Panel, docked(), ABOVE_THE_SHOP, TabGroup::new(1))).id();
    commands.entity(root).with_children(|panel| {
        panel.spawn((Skin::Row, spread())).with_children(|header| {
            header.spawn((Text::new("Developer panel"), Ink::new(Size::Large, Tone::Plain)));
            // Whoever opened it with a key and goes on playing closes it, and does nothing else.
            first = Some(button(header, DevAction::Close));
        });
        line(panel, DevLine::Outcome);
        panel.spawn((Body, Skin::Column, ScrollArea, body())).with_children(|body| fill(body, control.is_some()));
    });
    shown.before = focus.had();
    focus.give(first);
    shown.panel = Some(root);
}

/// Scrolls by keyboard: what is not a button cannot be tabbed to.
pub(super) fn scroll(
    keys: Option<Res<ButtonInput<KeyCode>>>,
    mut bodies: Query<(&ComputedNode, &mut ScrollPosition), With<Body>>,
) {
    let pressed = |key| keys.as_ref().is_some_and(|keys| keys.just_pressed(key));
    let pages = match (pressed(KeyCode::PageDown), pressed(KeyCode::PageUp)) {
        (true, false) => PAGE,
        (false, true) => -PAGE,
        _ => return,
    };
    for (node, mut position) in &mut bodies {
        let (seen, whole) = (node.size().y, node.content_size().y);
        let last = (whole - seen).max(0.0) * node.inverse_scale_factor();
        position.y = (position.y + pages * seen * node.inverse_scale_factor()).clamp(0.0, last);
    }
}

fn fill(body: &mut ChildSpawnerCommands, has_sandbox: bool) {
    heading(body, "Store");
    for it in [DevLine::Connection, DevLine::Wallet, DevLine::Account, DevLine::Device, DevLine::Journal] {
        line(body, it);
    }
    buttons(body, &[DevAction::Offline, DevAction::SyncNow, DevAction::CopyAccount, DevAction::CopyDevice]);
    if has_sandbox {
        heading(body, "Network");
        line(body, DevLine::Network);
        buttons(body, &NETWORKS);
        heading(body, "Clock of this device");
        line(body, DevLine::Clock);
        buttons(body, &CLOCKS);
        heading(body, "Server's books");
        buttons(body, &OPERATOR);
    } else {
        let words = "There is no sandbox: insert its `SandboxControl` as a resource.";
        body.spawn((Text::new(words), Ink::new(Size::Small, Tone::Quiet)));
    }
    heading(body, "Last orders");
    buttons(body, &[DevAction::CopyOrder]);
    (0..ORDERS).for_each(|place| line(body, DevLine::Order(place)));
    heading(body, "Last troubles");
    (0..TROUBLES).for_each(|place| line(body, DevLine::Trouble(place)));
}

fn heading(body: &mut ChildSpawnerCommands, words: &str) {
    body.spawn((Text::new(words), Ink::new(Size::Body, Tone::Accent)));
}

fn line(parent: &mut ChildSpawnerCommands, line: DevLine) {
    let node = Node { max_width: percent(100), flex_shrink: 0.0, ..default() };
    let whole_words = TextLayout::new(Justify::Left, LineBreak::WordOrCharacter);
    parent.spawn((line, Text::default(), whole_words, Ink::new(Size::Small, Tone::Plain), node));
}

fn buttons(body: &mut ChildSpawnerCommands, actions: &[DevAction]) {
    body.spawn((Skin::Row, wrapped())).with_children(|row| {
        for action in actions {
            button(row, *action);
        }
    });
}

fn button(row: &mut ChildSpawnerCommands, action: DevAction) -> Entity {
    let mut name = accesskit::Node::new(accesskit::Role::Button);
    name.set_label(action.label());
    let does = (DevButton(action), AccessibilityNode(name));
    row.spawn(text_button(does, Skin::Button, Text::new(action.label()), Ink::new(Size::Small, Tone::Plain))).id()
}

fn docked() -> Node {
    Node {
        position_type: PositionType::Absolute,
        right: px(0),
        top: px(0),
        width: percent(36),
        min_width: px(300),
        max_width: px(620),
        height: percent(100),
        flex_direction: FlexDirection::Column,
        ..default()
    }
}
