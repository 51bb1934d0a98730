//! `iap-server keys`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Data, Outcome, SUCCESS};
use crate::protocol::{KeyId, KeyList, envelope};
use crate::server::clock::{Clock as _, SystemClock};
use crate::server::date::Date;
use crate::server::rotation::{self, DAYS, OVERLAP_DAYS, Rotated, TAKEN_WITHIN, Times};
use crate::server::{DataFolder, SigningKeys};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Show the keys that games pin, and those that sign or signed receipts
    Show {
        #[command(flatten)]
        data: Data,
    },
    /// Make a new key that signs receipts from now on. The first time, `server.key` becomes the root, which signs such
    /// changes alone: move it to a safe place afterwards. A running server takes the new key by itself
    Rotate {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        renewal: Renewal,
    },
    /// Let nothing count that a key signed from some moment on, and make a new one if it is the one that signs
    Revoke {
        /// The id of the key, as `show` lists it. May begin with `-`
        #[arg(allow_hyphen_values = true)]
        key: KeyId,
        /// From when on, such as 2026-01-31T12:00:00Z. In a minute, unless it is given: running servers sign with it
        /// until they have seen the change
        #[arg(long, value_name = "TIME")]
        at: Option<Date>,
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        renewal: Renewal,
    },
    /// Drop keys from the list that ended long ago, where it becomes too long. What they signed can no longer be
    /// verified: devices that have yet to read it refuse the answers that hold it, and the audit tells it
    Prune {
        /// Drop those that ended before this time, such as 2026-01-31
        #[arg(long, value_name = "TIME")]
        before: Date,
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        root: Root,
    },
    /// Make a second root in a file, to be kept away from the first. Games that pin both go on if one is lost
    SecondRoot {
        /// The file to make
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Args, Debug)]
pub(super) struct Root {
    /// The file of the root that signs the change; `server.key` in the data folder unless it is given
    #[arg(long = "root", value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Renewal {
    #[command(flatten)]
    root: Root,
    /// How many days the new key signs
    #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// How many days what the key before it signs goes on to count, a minute at least: the time to bring the change to
    /// other servers
    #[arg(long, default_value_t = OVERLAP_DAYS, value_parser = clap::value_parser!(u32).range(0..=3_650))]
    overlap_days: u32,
}

impl Renewal {
    fn times(&self) -> Times {
        Times { now: SystemClock.now(), days: self.days, overlap_days: self.overlap_days }
    }
}

pub(super) fn keys(command: KeysCommand, out: &mut dyn Write) -> Outcome {
    match command {
        KeysCommand::Show { data } => show(&data, out),
        KeysCommand::Rotate { data, renewal } => {
            let folder = data.folder()?;
            let game = folder.books()?.game().clone();
            let rotated = rotation::rotate(&folder, &game, renewal.root.file.as_deref(), renewal.times())?;
            told(&folder, &rotated, out)
        }
        KeysCommand::Revoke { key, at, data, renewal } => {
            let folder = data.folder()?;
            let game = folder.books()?.game().clone();
            let times = renewal.times();
            let at = at.map_or(times.now.saturating_add(TAKEN_WITHIN), |at| at.0);
            let rotated = rotation::revoke(&folder, &game, renewal.root.file.as_deref(), (key, at), times)?;
            writeln!(out, "revoked  {key}, as of {}", Date(at))?;
            told(&folder, &rotated, out)
        }
        KeysCommand::Prune { before, data, root } => {
            let folder = data.folder()?;
            let game = folder.books()?.game().clone();
            let times = Times { now: SystemClock.now(), days: DAYS, overlap_days: OVERLAP_DAYS };
            let (dropped, rotated) = rotation::prune(&folder, &game, root.file.as_deref(), before.0, times)?;
            writeln!(out, "dropped  {dropped}, ended before {before}")?;
            told(&folder, &rotated, out)
        }
        KeysCommand::SecondRoot { file, data } => {
            let folder = data.folder()?;
            let game = folder.books()?.game().clone();
            let root = rotation::second_root(&folder, &game, &file)?;
            writeln!(out, "root  {root}\n\nPin it in the game, beside the first:\n\n    .and_root(\"{root}\")\n")?;
            writeln!(out, "Move `{}` to a safe place, away from the first root", file.display())?;
            Ok(SUCCESS)
        }
    }
}

fn told(folder: &DataFolder, rotated: &Rotated, out: &mut dyn Write) -> Outcome {
    let Rotated { number, signing, until } = rotated;
    writeln!(out, "signing  {signing}, until {}\nlist     number {number}", Date(*until))?;
    writeln!(
        out,
        "\nCopy `roots.pub`, `keys.jwt` and `signing.key`, in this order, to other servers and to your backups"
    )?;
    if folder.key_file().exists() {
        let file = folder.key_file();
        writeln!(out, "\n`{}` is the root: the server does not need it, so keep it elsewhere", file.display())?;
    }
    Ok(SUCCESS)
}

fn show(data: &Data, out: &mut dyn Write) -> Outcome {
    let folder = data.folder()?;
    let game = folder.books()?.game().clone();
    let keys = SigningKeys::read(&folder, &game)?;
    for root in keys.roots() {
        write!(out, "public key  {root}\nkey id      {}", root.id())?;
        match keys.trusted().revoked_at(root.id()) {
            Some(_) => writeln!(out, ", revoked: no game must pin it")?,
            None => writeln!(out)?,
        }
    }
    if let Some(list) = keys.trusted().list() {
        let list: KeyList = envelope::claims_of_stored(list)?;
        writeln!(out, "\nlist        number {}, of {}", list.number, Date(list.issued_at))?;
        for listed in &list.keys {
            let id = listed.key()?.map_or_else(|| listed.x.clone(), |key| key.id().to_string());
            write!(out, "{id}  from {} until {}", Date(listed.from), Date(listed.until))?;
            match listed.revoked_at {
                Some(revoked_at) => writeln!(out, ", revoked as of {}", Date(revoked_at))?,
                None => writeln!(out)?,
            }
        }
    }
    writeln!(out, "\nkey set     {}", serde_json::to_string(&keys.key_set())?)?;
    Ok(SUCCESS)
}
