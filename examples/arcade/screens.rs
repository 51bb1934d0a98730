//! What is written on the screen: title, settings, score, and what there is to say after a crash.
//!
//! Buttons and texts wear the shop's `Skin` and `Ink`, so that one theme, one font and one text size serve both.

use bevy::input_focus::tab_navigation::{NavAction, TabGroup, TabIndex, TabNavigation};
use bevy::input_focus::{AutoFocus, FocusCause, InputFocus, InputFocusVisible};
use bevy::picking::hover::Hovered;
use bevy::prelude::*;
use bevy::ui_widgets::{Activate, Button};
use bevy_iap::prelude::*;
use bevy_iap::ui::{Ink, ShopCommand, ShopSettings, Size, Skin, Tone, Words, font};
use bevy_iap::ui::{balance_label, buy_button, outcome_label, owned_badge, title_label};

use crate::game::{Run, Screen, keep_best};
use crate::runner::Runner;
use crate::shop::is_shop_closed;
use crate::sound;
use crate::words::said;

const TEXT_SIZES: [f32; 4] = [0.75, 1.0, 1.5, 2.0];
/// A jump asked for a moment too early still happens when the runner lands.
const PATIENCE: f32 = 0.12;

/// What the player has set, beside the language and the text size, which the shop keeps.
#[derive(Resource, Default)]
pub struct Settings {
    pub reduced_motion: bool,
    pub sound: bool,
    /// The row that was changed last.
    row: usize,
}

/// Fills the window. What is pressed beside its buttons means the whole of it.
#[derive(Component)]
struct Page;

/// The score of the run.
#[derive(Component)]
struct Score;

/// The font of the headings, which are larger than anything in the shop.
#[derive(Resource)]
struct HeadingFont(Handle<Font>);

pub fn plugin(app: &mut App) {
    let heading_font = HeadingFont(font(app.world()));
    app.insert_resource(heading_font)
        .insert_resource(InputFocusVisible(true))
        .init_resource::<Settings>()
        .add_systems(OnEnter(Screen::Title), title)
        .add_systems(OnEnter(Screen::Settings), settings)
        .add_systems(OnEnter(Screen::Run), hud)
        .add_systems(OnEnter(Screen::Crashed), crashed.after(keep_best))
        .add_systems(Update, count.run_if(in_state(Screen::Run)))
        .add_systems(Update, navigate.run_if(is_shop_closed.and_then(not(in_state(Screen::Run)))))
        .add_observer(tap);
}

fn page(screen: Screen, justify_content: JustifyContent, align_items: AlignItems) -> impl Bundle {
    let flex_direction = FlexDirection::Column;
    let node =
        Node { width: percent(100), height: percent(100), flex_direction, align_items, justify_content, ..default() };
    (Page, node, Skin::Column, TabGroup::new(0), DespawnOnExit(screen))
}

fn heading(text: &str, font: &HeadingFont) -> impl Bundle {
    let face = TextFont { font: font.0.clone().into(), font_size: FontSize::Vh(13.0), ..default() };
    let shadow = TextShadow { offset: Vec2::splat(4.0), color: Color::srgb(0.78, 0.2, 0.5) };
    (Text::new(text), face, TextColor(Color::WHITE), shadow, Pickable::IGNORE)
}

fn line(text: impl Into<String>, size: Size, tone: Tone) -> impl Bundle {
    let shadow = TextShadow { offset: Vec2::splat(2.0), ..default() };
    (Text::new(text), Ink::new(size, tone), shadow, Pickable::IGNORE)
}

fn button(text: impl Into<String>) -> impl Bundle {
    let node = Node { min_width: px(300), justify_content: JustifyContent::Center, ..default() };
    (node, Skin::Button, Button, Hovered::default(), TabIndex(0), children![line(text, Size::Large, Tone::Plain)])
}

/// What a button does that leads to a screen.
fn go(screen: Screen) -> impl Fn(On<Activate>, ResMut<NextState<Screen>>) {
    move |_, mut next| next.set(screen)
}

fn open_shop(_: On<Activate>, mut shop: MessageWriter<ShopCommand>) {
    shop.write(ShopCommand::Open);
}

fn title(mut commands: Commands, words: Res<Words>, run: Res<Run>, font: Res<HeadingFont>) {
    let say = |english| said(&words, english);
    let keys = ["Space, W, click: jump", "B: shop", "O: offline and back"].map(say).join("     ");
    commands.spawn(page(Screen::Title, JustifyContent::Center, AlignItems::Center)).with_children(|page| {
        page.spawn(heading(say("NEON DUSK"), &font));
        page.spawn(line(format!("{} {}", say("Best"), run.best), Size::Title, Tone::Plain));
        page.spawn((Skin::Chip, Node::default(), children![balance_label()]));
        page.spawn(line(say("Press Space, tap, or the South button"), Size::Large, Tone::Plain));
        page.spawn((button(say("Run")), AutoFocus)).observe(go(Screen::Run));
        page.spawn(button(say("Shop"))).observe(open_shop);
        page.spawn(button(say("Settings"))).observe(go(Screen::Settings));
        page.spawn(line(keys, Size::Body, Tone::Plain));
    });
}

fn settings(mut commands: Commands, words: Res<Words>, settings: Res<Settings>, shop: Res<ShopSettings>) {
    let say = |english| said(&words, english);
    let switch = |is_on| say(if is_on { "on" } else { "off" });
    let sound = if sound::IS_BUILT_IN { switch(settings.sound) } else { say("not in this build (--features sound)") };
    let rows = [
        say("Language: English").to_owned(),
        format!("{}: {:.0} %", say("Text size"), shop.text_scale * 100.0),
        format!("{}: {}", say("Reduced motion"), switch(settings.reduced_motion)),
        format!("{}: {sound}", say("Sound")),
    ];
    commands.spawn(page(Screen::Settings, JustifyContent::Center, AlignItems::Center)).with_children(|page| {
        page.spawn(line(say("Settings"), Size::Title, Tone::Plain));
        for (row, text) in rows.into_iter().enumerate() {
            let mut button = page.spawn(button(text));
            button.observe(move |_: On<Activate>, mut commands: Commands| commands.run_system_cached_with(change, row));
            if row == settings.row {
                button.insert(AutoFocus);
            }
        }
        page.spawn(button(say("Back"))).observe(go(Screen::Title));
    });
}

/// Changes a row of the settings, and shows them anew.
fn change(
    row: In<usize>,
    mut commands: Commands,
    words: Res<Words>,
    mut settings: ResMut<Settings>,
    mut shop: ResMut<ShopSettings>,
    mut next: ResMut<NextState<Screen>>,
) {
    match *row {
        0 => commands.insert_resource(Words::new(if words.language().starts_with("ko") { "en" } else { "ko" })),
        1 => {
            let larger = TEXT_SIZES.into_iter().find(|&size| size > shop.text_scale);
            shop.text_scale = larger.unwrap_or(TEXT_SIZES[0]);
        }
        2 => settings.reduced_motion = !settings.reduced_motion,
        _ => settings.sound = sound::IS_BUILT_IN && !settings.sound,
    }
    shop.reduced_motion = settings.reduced_motion;
    settings.row = *row;
    next.set(Screen::Settings);
}

fn hud(mut commands: Commands, store: Res<Store>) {
    let owned = ["double_jump", "magnet", "day_pass"].into_iter().filter(|product| store.owns(product));
    let corner = || Node { margin: px(14).left().with_top(px(4)), ..default() };
    commands.spawn(page(Screen::Run, JustifyContent::Start, AlignItems::Start)).with_children(|page| {
        page.spawn((line("", Size::Title, Tone::Plain), Score, corner()));
        for product in ["shield"].into_iter().chain(owned) {
            page.spawn((Skin::Chip, corner(), children![title_label(product), owned_badge(product)]));
        }
    });
}

fn count(run: Res<Run>, words: Res<Words>, mut score: Single<&mut Text, With<Score>>) {
    score.set_if_neq(Text(format!("{:.0}     {} {}", run.score.floor(), said(&words, "Best"), run.best)));
}

fn crashed(mut commands: Commands, words: Res<Words>, run: Res<Run>, store: Res<Store>, font: Res<HeadingFont>) {
    let say = |english| said(&words, english);
    let is_best = run.score as u32 == run.best;
    let best = if is_best { say("A new best!").to_owned() } else { format!("{} {}", say("Best"), run.best) };
    commands.spawn(page(Screen::Crashed, JustifyContent::Center, AlignItems::Center)).with_children(|page| {
        page.spawn(heading(say("CRASHED"), &font));
        page.spawn(line(format!("{:.0}     {best}", run.score.floor()), Size::Title, Tone::Plain));
        page.spawn((button(say("Run again")), AutoFocus)).observe(go(Screen::Run));
        if store.quantity("shield") == 0 {
            page.spawn(line(say("One more try with a shield?"), Size::Large, Tone::Plain));
        }
        page.spawn((Skin::Chip, Node::default(), children![balance_label()]));
        page.spawn(buy_button("shield"));
        page.spawn(outcome_label("shield"));
        page.spawn(button(say("Shop"))).observe(open_shop);
        page.spawn(button(say("Back"))).observe(go(Screen::Title));
    });
}

pub fn read_jumps(
    screen: Res<State<Screen>>,
    keys: Res<ButtonInput<KeyCode>>,
    gamepads: Query<&Gamepad>,
    mut runner: ResMut<Runner>,
) {
    let by_gamepad = gamepads.iter().any(|gamepad| gamepad.just_pressed(GamepadButton::South));
    if *screen == Screen::Run
        && (by_gamepad || keys.any_just_pressed([KeyCode::Space, KeyCode::KeyW, KeyCode::ArrowUp]))
    {
        runner.wants_to_jump = PATIENCE;
    }
}

/// A press of the mouse or a finger, beside all buttons.
fn tap(
    press: On<Pointer<Press>>,
    pages: Query<(), With<Page>>,
    screen: Res<State<Screen>>,
    mut runner: ResMut<Runner>,
    mut next: ResMut<NextState<Screen>>,
) {
    match screen.get() {
        _ if !pages.contains(press.original_event_target()) => {}
        Screen::Run => runner.wants_to_jump = PATIENCE,
        Screen::Title | Screen::Crashed => next.set(Screen::Run),
        Screen::Settings => {}
    }
}

/// Moves the focus and presses by arrows and gamepads. Tab, Enter and Space are Bevy's, mouse and touch too.
fn navigate(
    mut commands: Commands,
    keys: Res<ButtonInput<KeyCode>>,
    gamepads: Query<&Gamepad>,
    controls: Query<(), With<TabIndex>>,
    navigation: TabNavigation,
    mut focus: ResMut<InputFocus>,
    mut next: ResMut<NextState<Screen>>,
) {
    let by_gamepad = |button| gamepads.iter().any(|gamepad| gamepad.just_pressed(button));
    let focused = focus.get().filter(|entity| controls.contains(*entity));
    let action = match focused {
        None => Some(NavAction::First),
        _ if keys.just_pressed(KeyCode::ArrowDown) || by_gamepad(GamepadButton::DPadDown) => Some(NavAction::Next),
        _ if keys.just_pressed(KeyCode::ArrowUp) || by_gamepad(GamepadButton::DPadUp) => Some(NavAction::Previous),
        _ => None,
    };
    if let Some(Ok(entity)) = action.map(|action| navigation.navigate(&focus, action)) {
        focus.set(entity, FocusCause::Navigated);
    }
    if let Some(entity) = focused.filter(|_| by_gamepad(GamepadButton::South)) {
        commands.trigger(Activate { entity });
    }
    if keys.just_pressed(KeyCode::Escape) || by_gamepad(GamepadButton::East) {
        next.set(Screen::Title);
    }
}
