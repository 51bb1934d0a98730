//! How large the journal is, asked of the disk beside the frames.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bevy::prelude::*;
use bevy::tasks::{IoTaskPool, TaskPool};
use bevy::time::Real;

use crate::client::storage::file::{FileStorage, JOURNAL};
use crate::plugin::{IapPlugin, Save};

/// How often the disk is asked, at most.
const PAUSE: Duration = Duration::from_secs(1);
/// Nothing was heard yet, or there is no file.
const UNKNOWN: u64 = u64::MAX;

/// Where the journal is, and how large it was when it was last looked at.
#[derive(Resource, Debug)]
pub(super) struct JournalSize {
    path: Option<PathBuf>,
    heard: Arc<Heard>,
    next: Duration,
}

#[derive(Debug)]
struct Heard {
    bytes: AtomicU64,
    is_asking: AtomicBool,
}

impl JournalSize {
    /// The journal of a game's plugin.
    pub(super) fn of(plugin: &IapPlugin) -> Self {
        let folder = match &plugin.save {
            Save::Folder(folder) => Some(folder.clone()),
            Save::PlayerFolder => {
                let storage = plugin.game.parse().ok().and_then(|game| FileStorage::for_game(&game).ok());
                storage.map(|storage| storage.folder().to_owned())
            }
            Save::Memory(_) => None,
        };
        let heard = Heard { bytes: AtomicU64::new(UNKNOWN), is_asking: AtomicBool::new(false) };
        Self { path: folder.map(|folder| folder.join(JOURNAL)), heard: Arc::new(heard), next: Duration::ZERO }
    }

    /// The size in words, and the file.
    pub(super) fn words(&self) -> String {
        let Some(path) = &self.path else { return "in memory".to_owned() };
        match self.heard.bytes.load(Ordering::Relaxed) {
            UNKNOWN => format!("not there yet · {}", path.display()),
            bytes => format!("{bytes} bytes · {}", path.display()),
        }
    }
}

/// Asks for the size, once a second.
pub(super) fn ask(mut journal: ResMut<JournalSize>, time: Res<Time<Real>>) {
    let now = time.elapsed();
    let Some(path) = journal.path.clone().filter(|_| now >= journal.next) else { return };
    journal.next = now + PAUSE;
    // A disk that hangs is asked once.
    if journal.heard.is_asking.swap(true, Ordering::AcqRel) {
        return;
    }
    let heard = journal.heard.clone();
    let asked = async move {
        heard.bytes.store(size(&path), Ordering::Relaxed);
        heard.is_asking.store(false, Ordering::Release);
    };
    IoTaskPool::get_or_init(TaskPool::new).spawn(asked).detach();
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(UNKNOWN, |metadata| metadata.len())
}
