//! A row flashes when its order comes further.

use bevy::prelude::*;
use bevy_iap::prelude::*;

use super::ROWS;
use crate::palette::CYAN;

/// How long a flash takes to fade.
const SECONDS: f32 = 0.8;
const BRIGHTEST: f32 = 0.28;

/// The row at this place flashes.
#[derive(Component)]
#[require(BackgroundColor)]
pub(super) struct Flashing {
    place: usize,
    seconds_left: f32,
}

impl Flashing {
    /// The row at `place`, dark at first.
    pub(super) fn at(place: usize) -> Self {
        Self { place, seconds_left: 0.0 }
    }
}

pub(super) fn plugin(app: &mut App) {
    app.add_systems(Update, (begin.run_if(on_message::<PurchaseUpdated>), fade).chain());
}

fn begin(mut news: MessageReader<PurchaseUpdated>, store: Res<Store>, mut rows: Query<&mut Flashing>) {
    for update in news.read() {
        let place = store.orders().rev().take(ROWS).position(|order| order.id == update.order);
        for mut row in rows.iter_mut().filter(|row| Some(row.place) == place) {
            row.seconds_left = SECONDS;
        }
    }
}

fn fade(time: Res<Time<Real>>, mut rows: Query<(&mut Flashing, &mut BackgroundColor)>) {
    for (mut row, mut ground) in rows.iter_mut().filter(|(row, _)| row.seconds_left > 0.0) {
        row.seconds_left = (row.seconds_left - time.delta_secs()).max(0.0);
        ground.0 = CYAN.with_alpha(BRIGHTEST * row.seconds_left / SECONDS);
    }
}
