//! What `octopus-server backup` and `octopus-server restore` do, and what they say.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::archive::Manifest;
use super::make::backup_write;
use super::restore::{Force, RestoreOutcome, RestoreWish, WhileRunning, restore};
use super::{BackupError, disk};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{BackupArgs, RestoreArgs};
use crate::sys;

/// The start and the end of the name of a backup that is being written. Nobody takes it for one.
const PARTIAL: (&str, &str) = (".octopus-", ".partial");

/// Bytes of a megabyte, for sentences.
const MEGABYTE: u64 = 1_000_000;

/// Writes a backup beside its place, and puts it there when it is complete.
pub async fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let path = &args.file;
    if path.exists() && !args.force {
        return Err(BackupError::Exists { path: path.clone() }.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = tempfile::Builder::new().prefix(PARTIAL.0).suffix(PARTIAL.1).tempfile_in(folder);
    let partial = partial.map_err(disk("make a file in", folder))?;
    let file = partial.reopen().map_err(disk("open", partial.path()))?;
    let manifest = backup_write(&args.data_dir, &args.packages, file, SystemClock.now()).await?;
    let kept = if args.force { partial.persist(path) } else { partial.persist_noclobber(path) };
    kept.map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists { path: path.clone() },
        _ => disk("rename to", path)(error.error),
    })?;
    sys::sync_folder(folder).map_err(disk("sync the folder", folder))?;
    writeln!(io::stdout(), "{}", made(path, &manifest)).context("the backup is made, but could not be told of")
}

/// What a backup holds, in sentences.
fn made(path: &Path, manifest: &Manifest) -> String {
    let files = manifest.package_files().count();
    let bytes: u64 = manifest.package_files().map(|part| part.size).sum();
    let mut text = format!(
        "The backup is in {}: the database (schema {}), the identity {}, and {files} package files ({} MB). It holds the \
         portal's private key: keep it where nobody else can read it.",
        path.display(),
        manifest.schema,
        manifest.thumbprint,
        bytes.div_ceil(MEGABYTE),
    );
    if manifest.left_out.files > 0 {
        let (files, bytes) = (manifest.left_out.files, manifest.left_out.bytes.div_ceil(MEGABYTE));
        text.push_str(&format!("\nLeft out by choice: {files} package files ({bytes} MB)."));
    }
    if !manifest.missing.is_empty() {
        text.push_str(&format!(
            "\nMissing: {} package files that the database names are not in the portal's store.",
            manifest.missing.len()
        ));
    }
    text
}

/// Restores a backup, or leaves it for the next start of a portal that runs.
pub async fn restore_file(args: RestoreArgs) -> anyhow::Result<()> {
    let wish = RestoreWish {
        force: if args.force { Force::Yes } else { Force::No },
        running: if args.at_next_start { WhileRunning::AtNextStart } else { WhileRunning::Refuse },
    };
    let outcome = restore(&args.file, &args.data_dir, wish, SystemClock.now()).await?;
    writeln!(io::stdout(), "{}", restored(&args.data_dir, &outcome)).context("it is restored, but could not be told of")
}

fn restored(data_dir: &Path, outcome: &RestoreOutcome) -> String {
    let backup = format!("the backup of {} by Octopus {}", outcome.made_at, outcome.version);
    let mut text = match &outcome.placed {
        None => format!(
            "The portal that runs on {} takes {backup} at its next start. Until then, removing the folder restore-pending \
             there calls it off.",
            data_dir.display()
        ),
        Some(placed) => {
            let before = placed.before.as_ref();
            let kept = before.map(|kept| format!(" What was there is kept in {}.", kept.display())).unwrap_or_default();
            format!("{} holds {backup} now.{kept}", data_dir.display())
        }
    };
    if outcome.missing > 0 {
        text.push_str(&format!(
            "\nMissing: {} package files that its database names lie neither in the backup nor here. Upload these packages \
             again.",
            outcome.missing
        ));
    }
    text.push_str(
        "\nAll sessions of it have ended. The portal pauses every rollout and takes no key of the backup until an \
         administrator has looked and confirmed it: on the page Settings, Restore, or with octopus-server admin \
         confirm-restore.",
    );
    text
}
