//! `iap-server backup` and `iap-server restore`.

use std::io::Write;
use std::path::Path;

use super::{Data, Outcome, SUCCESS};
use crate::server::{self, DataFolder};

pub(super) fn backup(file: &Path, data: &Data, out: &mut dyn Write) -> Outcome {
    let folder = data.folder()?;
    server::backup(&folder, file)?;
    let keys: Vec<_> = folder.key_files().iter().map(|key| format!("`{}`", key.display())).collect();
    writeln!(out, "the books are in `{}`, checked; keep a copy of {} too", file.display(), keys.join(", "))?;
    Ok(SUCCESS)
}

pub(super) fn restore(file: &Path, data: &Data, out: &mut dyn Write) -> Outcome {
    let folder = DataFolder::create(&data.data)?.with_database(data.database.parsed()?);
    server::restore(&folder, file)?;
    writeln!(out, "the books in `{}` are those of `{}`", data.data.display(), file.display())?;
    if folder.key_files().is_empty() {
        let key = folder.key_file();
        writeln!(
            out,
            "put the server's key back as `{}`, or, once keys were rotated, its newest `roots.pub`, `keys.jwt` and \
             `signing.key`, before you serve them",
            key.display()
        )?;
    }
    Ok(SUCCESS)
}
