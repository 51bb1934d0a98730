//! The frames of an app, such that what is counted of one repeats.

use bevy::app::MainScheduleOrder;
use bevy::ecs::schedule::{ScheduleLabel, SingleThreadedExecutor};
use bevy::prelude::*;
use bevy_iap::plugin::Store;

/// Has everything run on the main thread, whose instructions are counted, and runs frames until the store, if there is
/// one, has its journal open and its catalogue loaded.
pub fn settle(app: &mut App) {
    let order = app.world().resource::<MainScheduleOrder>();
    let labels: Vec<_> = order.labels.iter().chain(&order.startup_labels).copied().collect();
    for label in labels.into_iter().chain([Main.intern()]) {
        app.edit_schedule(label, |schedule| {
            schedule.set_executor(SingleThreadedExecutor::new());
        });
    }
    app.finish();
    app.cleanup();
    while !app.world().get_resource::<Store>().is_none_or(Store::is_ready) {
        app.update();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

pub fn run(app: &mut App, count: u64) {
    for _ in 0..count {
        app.update();
    }
}
