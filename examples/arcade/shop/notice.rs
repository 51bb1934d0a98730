//! Sentences for the player that stay for a few seconds: why nothing was bought, and what is wrong with the store.

use bevy::prelude::*;
use bevy_iap::prelude::*;

use crate::look::{say, text};
use crate::palette::{CREAM, DANGER, MAROON};

/// How long a notice stays.
const SECONDS: f32 = 5.0;

/// A sentence for the player.
#[derive(Message)]
pub(super) struct Notice(pub(super) String);

/// Where notices are shown, and for how long the present one stays.
#[derive(Component)]
struct Board(Timer);

#[derive(Component)]
struct NoticeText;

pub(super) fn plugin(app: &mut App) {
    let news = on_message::<StoreTrouble>.or_else(on_message::<CatalogFailed>);
    app.add_message::<Notice>()
        .add_systems(Startup, spawn)
        .add_systems(Update, (pass_on.run_if(news), show.run_if(on_message::<Notice>), hide).chain());
}

fn spawn(mut commands: Commands) {
    let board = Node {
        position_type: PositionType::Absolute,
        right: px(24),
        top: px(114),
        max_width: percent(60),
        padding: UiRect::axes(px(16), px(6)),
        border: px(2).all(),
        border_radius: BorderRadius::all(px(10)),
        display: Display::None,
        ..default()
    };
    let timer = Timer::from_seconds(SECONDS, TimerMode::Once);
    commands.spawn((
        Board(timer),
        board,
        BackgroundColor(MAROON),
        BorderColor::all(DANGER),
        GlobalZIndex(2),
        children![(NoticeText, text("", 16.0, CREAM))],
    ));
}

fn pass_on(
    mut troubles: MessageReader<StoreTrouble>,
    mut failures: MessageReader<CatalogFailed>,
    mut notices: MessageWriter<Notice>,
) {
    notices.write_batch(troubles.read().map(|news| Notice(news.trouble.clone())));
    notices.write_batch(failures.read().map(|news| Notice(news.reason.clone())));
}

fn show(
    mut notices: MessageReader<Notice>,
    board: Single<(&mut Board, &mut Node)>,
    mut text: Single<&mut Text, With<NoticeText>>,
) {
    let (mut board, mut node) = board.into_inner();
    if let Some(Notice(sentence)) = notices.read().last() {
        board.0.reset();
        node.display = Display::Flex;
        say(&mut text, sentence);
    }
}

fn hide(time: Res<Time<Real>>, board: Single<(&mut Board, &mut Node)>) {
    let (mut board, mut node) = board.into_inner();
    if board.0.tick(time.delta()).just_finished() {
        node.display = Display::None;
    }
}
