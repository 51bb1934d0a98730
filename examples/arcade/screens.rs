//! What is written on the screen: title, settings, score, and what there is to say after a crash.
//!
//! Buttons and texts wear the shop's `Skin` and `Ink`, so that one theme, one font and one text size serve both.

use bevy::input_focus::tab_navigation::TabGroup;
use bevy::input_focus::{AutoFocus, InputFocusVisible};
use bevy::prelude::*;
use bevy::ui_widgets::{Activate, Button};
use bevy_iap::ui::{Control, Ink, ShopCommand, ShopSettings, Size, Skin, Tone, Words, shop_is_closed};
use bevy_iap::ui::{balance_label, buy_button, outcome_label, owned_badge, title_label};

use crate::game::{BestBeaten, Run, Screen};
use crate::runner::{Runner, SeenWith};
use crate::words::said;

const PATIENCE: f32 = 0.12;

/// What the player has set, beside the language, the text size and the motion, which the shop keeps.
#[derive(Resource, Default)]
pub struct Settings {
    pub sound: bool,
    /// The row that was changed last.
    row: usize,
}

/// The score of the run.
#[derive(Component)]
struct Score;

pub fn plugin(app: &mut App) {
    app.insert_resource(InputFocusVisible(true))
        .init_resource::<Settings>()
        .add_systems(OnEnter(Screen::Title), title)
        .add_systems(OnEnter(Screen::Settings), settings)
        .add_systems(OnEnter(Screen::Run), hud)
        .add_systems(OnEnter(Screen::Crashed), crashed)
        .add_systems(Update, count)
        .add_systems(Update, leave.run_if(shop_is_closed.and_then(not(in_state(Screen::Run)))));
}

fn page(screen: Screen, justify_content: JustifyContent, align_items: AlignItems) -> impl Bundle {
    let flex_direction = FlexDirection::Column;
    let node =
        Node { width: percent(100), height: percent(100), flex_direction, align_items, justify_content, ..default() };
    (node, Skin::Column, TabGroup::new(0), DespawnOnExit(screen))
}

/// A text that is larger than any in the shop, in the shop's font.
fn heading(text: &str) -> impl Bundle {
    let font = FontSource::Family("Noto Sans CJK KR".into());
    let face = TextFont { font, font_size: FontSize::Vh(13.0), ..default() };
    let shadow = TextShadow { offset: Vec2::splat(4.0), color: Color::srgb(0.78, 0.2, 0.5) };
    (Text::new(text), face, TextColor(Color::WHITE), shadow, Pickable::IGNORE)
}

fn line(text: impl Into<String>, size: Size, tone: Tone) -> impl Bundle {
    let shadow = TextShadow { offset: Vec2::splat(2.0), ..default() };
    (Text::new(text), Ink::new(size, tone), shadow, Pickable::IGNORE)
}

fn button(text: impl Into<String>) -> impl Bundle {
    let node = Node { min_width: px(300), justify_content: JustifyContent::Center, ..default() };
    (node, Skin::Button, Button, Control, children![line(text, Size::Large, Tone::Plain)])
}

/// What a button does that leads to a screen.
fn go(screen: Screen) -> impl Fn(On<Activate>, ResMut<NextState<Screen>>) {
    move |_, mut next| next.set(screen)
}

fn open_shop(_: On<Activate>, mut shop: MessageWriter<ShopCommand>) {
    shop.write(ShopCommand::Open);
}

fn title(mut commands: Commands, words: Res<Words>, run: Res<Run>) {
    let say = |english| said(&words, english);
    commands.spawn(page(Screen::Title, JustifyContent::Center, AlignItems::Center)).with_children(|page| {
        page.spawn(heading(say("NEON DUSK")));
        page.spawn(line(format!("{} {}", say("Best"), run.best), Size::Title, Tone::Plain));
        page.spawn((button(say("Run")), AutoFocus)).observe(go(Screen::Run));
        page.spawn(button(say("Shop"))).observe(open_shop);
        page.spawn(button(say("Settings"))).observe(go(Screen::Settings));
        page.spawn(line(say("Space jumps, B opens the shop, O goes offline and back"), Size::Body, Tone::Plain));
    });
}

fn settings(mut commands: Commands, words: Res<Words>, settings: Res<Settings>, shop: Res<ShopSettings>) {
    let say = |english| said(&words, english);
    let switch = |is_on| say(if is_on { "on" } else { "off" });
    let sound = if cfg!(feature = "sound") { switch(settings.sound) } else { say("needs --features sound") };
    let rows = [
        say("Language: English").to_owned(),
        format!("{}: {:.0} %", say("Text size"), shop.text_scale * 100.0),
        format!("{}: {}", say("Reduced motion"), switch(shop.reduced_motion)),
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
        1 => shop.text_scale = if shop.text_scale < 2.0 { shop.text_scale + 0.25 } else { 0.75 },
        2 => shop.reduced_motion = !shop.reduced_motion,
        _ => settings.sound = cfg!(feature = "sound") && !settings.sound,
    }
    settings.row = *row;
    next.set(Screen::Settings);
}

fn hud(mut commands: Commands) {
    let corner = || Node { margin: px(14).left().with_top(px(4)), ..default() };
    let mut page = commands.spawn(page(Screen::Run, JustifyContent::Start, AlignItems::Start));
    page.observe(|_: On<Pointer<Press>>, mut runner: ResMut<Runner>| runner.wants_to_jump = PATIENCE);
    page.with_children(|page| {
        page.spawn((line("", Size::Title, Tone::Plain), Score, corner()));
        for product in ["shield", "double_jump", "magnet", "day_pass"] {
            page.spawn((
                Skin::Chip,
                SeenWith(product),
                corner(),
                children![title_label(product), owned_badge(product)],
            ));
        }
    });
}

fn count(run: Res<Run>, words: Res<Words>, mut score: Single<&mut Text, With<Score>>) {
    score.set_if_neq(Text(format!("{:.0}     {} {}", run.score.floor(), said(&words, "Best"), run.best)));
}

fn crashed(mut commands: Commands, words: Res<Words>, mut run: ResMut<Run>) {
    let say = |english| said(&words, english);
    if run.score as u32 > run.best {
        run.best = run.score as u32;
        commands.trigger(BestBeaten(run.best));
    }
    commands.spawn(page(Screen::Crashed, JustifyContent::Center, AlignItems::Center)).with_children(|page| {
        page.spawn(heading(say("CRASHED")));
        page.spawn((line("", Size::Title, Tone::Plain), Score));
        page.spawn((button(say("Run again")), AutoFocus)).observe(go(Screen::Run));
        page.spawn((Skin::Chip, children![balance_label()]));
        page.spawn(buy_button("shield"));
        page.spawn((outcome_label("shield"), Skin::Chip));
        page.spawn(button(say("Shop"))).observe(open_shop);
        page.spawn(button(say("Back"))).observe(go(Screen::Title));
    });
}

pub fn read_jumps(keys: Res<ButtonInput<KeyCode>>, gamepads: Query<&Gamepad>, mut runner: ResMut<Runner>) {
    let by_gamepad = gamepads.iter().any(|gamepad| gamepad.just_pressed(GamepadButton::South));
    if by_gamepad || keys.any_just_pressed([KeyCode::Space, KeyCode::KeyW, KeyCode::ArrowUp]) {
        runner.wants_to_jump = PATIENCE;
    }
}

fn leave(keys: Res<ButtonInput<KeyCode>>, gamepads: Query<&Gamepad>, mut next: ResMut<NextState<Screen>>) {
    let by_gamepad = gamepads.iter().any(|gamepad| gamepad.just_pressed(GamepadButton::East));
    if by_gamepad || keys.just_pressed(KeyCode::Escape) {
        next.set(Screen::Title);
    }
}
