//! Score, best score, badges of what is active, and the two lines of text in the middle. Only the score stays while
//! the game is paused.

use bevy::prelude::*;

use super::{Paused, Perks, Run};
use crate::palette::{CREAM, CYAN, DEEP_NIGHT, GOLD};

/// The hint how to play stays for this many seconds.
const HINT_SECONDS: f32 = 5.0;

/// What a piece of text tells.
#[derive(Component, Clone, Copy)]
pub(super) enum Reading {
    Score,
    Best,
    Shields,
    DayPass,
    Headline,
    Hint,
}

pub(super) fn spawn(mut commands: Commands) {
    let corner = Node {
        position_type: PositionType::Absolute,
        left: px(28),
        top: px(20),
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::Start,
        ..default()
    };
    commands.spawn(corner).with_children(|corner| {
        corner.spawn(line(Reading::Score, 46.0, Color::WHITE));
        corner.spawn(line(Reading::Best, 18.0, CREAM.with_alpha(0.8)));
        corner.spawn(badge(Reading::DayPass, GOLD));
        corner.spawn(badge(Reading::Shields, CYAN));
    });
    let middle = Node {
        position_type: PositionType::Absolute,
        width: percent(76),
        top: percent(13),
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::Center,
        row_gap: px(6),
        ..default()
    };
    commands.spawn(middle).with_children(|middle| {
        middle.spawn(line(Reading::Headline, 62.0, Color::WHITE));
        middle.spawn(line(Reading::Hint, 22.0, CREAM));
    });
}

fn line(reading: Reading, size: f32, color: Color) -> impl Bundle {
    let shadow = TextShadow { offset: Vec2::new(0.0, 3.0), color: DEEP_NIGHT.with_alpha(0.75) };
    (Text::default(), TextFont::from_font_size(size), TextColor(color), shadow, reading)
}

fn badge(reading: Reading, color: Color) -> impl Bundle {
    let frame = Node {
        padding: UiRect::axes(px(10), px(3)),
        margin: UiRect::top(px(8)),
        border: px(2).all(),
        border_radius: BorderRadius::MAX,
        ..default()
    };
    (frame, BorderColor::all(color), BackgroundColor(DEEP_NIGHT.with_alpha(0.7)), line(reading, 15.0, color))
}

/// Brings every text up to date; one with nothing to say takes no room.
pub(super) fn refresh(
    run: Res<Run>,
    perks: Res<Perks>,
    paused: Res<Paused>,
    mut texts: Query<(&Reading, &mut Text, &mut Node)>,
) {
    for (reading, mut text, mut node) in &mut texts {
        let said = say(*reading, &run, &perks, paused.0);
        let display = if said.is_empty() { Display::None } else { Display::Flex };
        if node.display != display {
            node.display = display;
        }
        if text.0 != said {
            text.0 = said;
        }
    }
}

fn say(reading: Reading, run: &Run, perks: &Perks, paused: bool) -> String {
    let hinting = run.elapsed < HINT_SECONDS;
    match reading {
        Reading::Score => format!("{:.0}", run.score.floor()),
        Reading::Best => format!("BEST {:.0}", run.best.floor()),
        _ if paused => String::new(),
        Reading::Shields if perks.shields > 0 => format!("SHIELD x{}", perks.shields),
        Reading::DayPass if perks.day_pass => "DAY PASS  SCORE x2".into(),
        Reading::Headline if run.crashed => "CRASHED".into(),
        Reading::Hint if run.crashed => "SPACE TO RUN AGAIN".into(),
        Reading::Hint if hinting && perks.double_jump => "SPACE TWICE FOR A DOUBLE JUMP".into(),
        Reading::Hint if hinting => "SPACE OR CLICK TO JUMP".into(),
        _ => String::new(),
    }
}
