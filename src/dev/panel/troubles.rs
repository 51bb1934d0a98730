//! What went wrong lately, whether the panel was open or not; and what came of the buttons.

use std::collections::VecDeque;
use std::time::Duration;

use bevy::prelude::*;
use bevy::time::Real;

use super::TROUBLES;
use crate::client::Connection;
use crate::dev::control::{SandboxControl, SandboxOutcome};
use crate::plugin::{CatalogFailed, ConnectionChanged, ConsumeRefused, StoreTrouble};

/// What the panel remembers.
#[derive(Resource, Debug, Default)]
pub(super) struct Noted {
    /// The last troubles, latest first, each with its time.
    pub(super) troubles: VecDeque<(Duration, String)>,
    /// What came of the last thing that was done.
    pub(super) outcome: Option<SandboxOutcome>,
}

impl Noted {
    fn trouble(&mut self, time: &Time<Real>, words: String) {
        self.troubles.push_front((time.elapsed(), words));
        self.troubles.truncate(TROUBLES);
    }

    /// What came of a button that has nothing to do with the sandbox.
    pub(super) fn done(&mut self, words: impl Into<String>) {
        self.outcome = Some(SandboxOutcome { words: words.into(), is_done: true });
    }

    /// Why a button did nothing.
    pub(super) fn not_done(&mut self, words: impl Into<String>) {
        self.outcome = Some(SandboxOutcome { words: words.into(), is_done: false });
    }
}

/// Notes everything that goes wrong. Observers cost nothing while all goes well.
pub(super) fn register(app: &mut App) {
    app.add_observer(|news: On<StoreTrouble>, mut noted: ResMut<Noted>, time: Res<Time<Real>>| {
        noted.trouble(&time, news.trouble.clone());
    })
    .add_observer(|news: On<CatalogFailed>, mut noted: ResMut<Noted>, time: Res<Time<Real>>| {
        noted.trouble(&time, format!("the catalogue was refused: {}", news.reason));
    })
    .add_observer(|news: On<ConsumeRefused>, mut noted: ResMut<Noted>, time: Res<Time<Real>>| {
        noted.trouble(&time, format!("{} of {:?} are back: the store had fewer", news.quantity, news.item.as_str()));
    })
    .add_observer(|news: On<ConnectionChanged>, mut noted: ResMut<Noted>, time: Res<Time<Real>>| {
        if let Connection::Retrying { trouble } = &news.connection {
            noted.trouble(&time, trouble.clone());
        }
    });
}

/// Takes what the sandbox says came of things.
pub(super) fn take_news(
    control: Res<SandboxControl>,
    mut noted: ResMut<Noted>,
    mut messages: MessageWriter<SandboxOutcome>,
) {
    for outcome in control.take_news() {
        noted.outcome = Some(outcome.clone());
        messages.write(outcome);
    }
}
