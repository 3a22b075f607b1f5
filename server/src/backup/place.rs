//! Puts a backup that was unpacked and looked at in the portal's place, and what was there beside it.
//!
//! The folder `restore-pending` is there ⇔ it is complete and not yet in its place. Everything is moved by renames, one by
//! one; each can be told from the folder's content, so whoever is killed here is gone on from by the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{BackupError, DATABASE, IDENTITY, OTHER_IDENTITIES, PACKAGES, disk};
use crate::clock::Timestamp;
use crate::sys;

/// What waits to be put in the portal's place, in the data folder.
const PENDING: &str = "restore-pending";

/// What is to be done with it, in that folder.
const PLAN: &str = "plan.json";

/// The database and what belongs to it while somebody has it open. All of them or none make a database.
const DATABASE_FILES: [&str; 4] = ["octopus.db-wal", "octopus.db-shm", "octopus.db-journal", DATABASE];

/// What a portal is besides its database.
const OTHERS: [&str; 4] = [IDENTITY, OTHER_IDENTITIES[0], OTHER_IDENTITIES[1], PACKAGES];

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Plan {
    /// Where what is there now goes: the name of a folder in the data folder.
    pub before: String,
    /// When the backup was made, for people.
    pub made_at: String,
    /// What comes in besides the database. Of the rest, what is there goes aside and nothing comes in its place.
    pub comes: Vec<String>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where what was there before lies now; `None` where nothing was.
    pub before: Option<PathBuf>,
    /// When the backup was made, for people.
    pub made_at: String,
}

/// The folder that waits.
pub fn pending(data_dir: &Path) -> PathBuf {
    data_dir.join(PENDING)
}

/// True where a portal is, or a part of one.
pub fn is_occupied(data_dir: &Path) -> bool {
    DATABASE_FILES.iter().chain(&OTHERS).any(|name| data_dir.join(name).exists())
}

/// A plan whose folder for what was there before is not there yet.
pub fn plan(data_dir: &Path, now: Timestamp, made_at: &str, comes: Vec<String>) -> Plan {
    let stamp: String = now.rfc3339().chars().take(19).filter(|c| c.is_ascii_digit() || *c == 'T').collect();
    let names =
        (1..).map(|n| if n == 1 { format!("before-restore-{stamp}") } else { format!("before-restore-{stamp}-{n}") });
    let before = names.into_iter().find(|name| !data_dir.join(name).exists()).unwrap_or_default();
    Plan { before, made_at: made_at.to_owned(), comes }
}

/// Writes the plan into a folder that is being readied.
pub fn plan_write(folder: &Path, plan: &Plan) -> Result<(), BackupError> {
    let path = folder.join(PLAN);
    let text = serde_json::to_vec(plan).map_err(|error| disk("write the file", &path)(error.into()))?;
    fs::write(&path, text).map_err(disk("write the file", &path))
}

fn plan_read(folder: &Path) -> Result<Plan, BackupError> {
    let path = folder.join(PLAN);
    let text = fs::read(&path).map_err(disk("read", &path))?;
    serde_json::from_slice(&text).map_err(|error| disk("read", &path)(error.into()))
}

/// True where a restore was begun and not finished: nothing but going on makes a whole portal of it.
pub fn is_half_done(data_dir: &Path) -> Result<bool, BackupError> {
    let folder = pending(data_dir);
    Ok(folder.is_dir() && data_dir.join(plan_read(&folder)?.before).exists())
}

/// Takes away the folder that waits, with what is in it: none of it is in its place, or all.
pub fn discard(data_dir: &Path) -> Result<(), BackupError> {
    let folder = pending(data_dir);
    // By another name first: half a folder must not wait. The next start removes what is left under that name.
    let gone = tempfile::Builder::new().prefix(super::STAGING).tempdir_in(data_dir);
    let gone = gone.map_err(disk("make a folder in", data_dir))?;
    fs::rename(&folder, gone.path().join(PENDING)).map_err(disk("rename", &folder))?;
    sys::sync_folder(data_dir).map_err(disk("sync the folder", data_dir))
}

/// Puts what waits in its place; `None` where nothing waits. Hold the folder's lock.
pub fn place(data_dir: &Path) -> Result<Option<Placed>, BackupError> {
    let folder = pending(data_dir);
    if !folder.is_dir() {
        return Ok(None);
    }
    let plan = plan_read(&folder)?;
    let before = data_dir.join(&plan.before);
    if !before.exists() && is_occupied(data_dir) {
        sys::private_folder(&before).map_err(disk("make the folder", &before))?;
        sys::sync_folder(data_dir).map_err(disk("sync the folder", data_dir))?;
    }
    for name in OTHERS {
        if folder.join(name).exists() {
            set_aside(data_dir, &before, name)?;
            take(&folder, data_dir, name)?;
        } else if !plan.comes.iter().any(|comes| comes == name) && folder.join(DATABASE).exists() {
            set_aside(data_dir, &before, name)?;
        }
    }
    // The database last: where it is not in its place, nothing of the former one may stay.
    if folder.join(DATABASE).exists() {
        for name in DATABASE_FILES {
            set_aside(data_dir, &before, name)?;
        }
        sync(&before)?;
        take(&folder, data_dir, DATABASE)?;
    }
    for path in [&before, &folder, &data_dir.to_owned()] {
        sync(path)?;
    }
    discard(data_dir)?;
    // Where nothing was there, there is nothing to keep.
    let _ = fs::remove_dir(&before);
    sync(data_dir)?;
    Ok(Some(Placed { before: before.exists().then_some(before), made_at: plan.made_at }))
}

fn sync(folder: &Path) -> Result<(), BackupError> {
    match sys::sync_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(disk("sync the folder", folder)),
    }
}

fn set_aside(data_dir: &Path, before: &Path, name: &str) -> Result<(), BackupError> {
    let path = data_dir.join(name);
    match fs::rename(&path, before.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => Ok(()),
        other => other.map_err(disk("set aside", &path)),
    }
}

fn take(folder: &Path, data_dir: &Path, name: &str) -> Result<(), BackupError> {
    let path = folder.join(name);
    fs::rename(&path, data_dir.join(name)).map_err(disk("put in its place", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data folder with a portal in it and a backup that waits.
    fn folder() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        let waits = pending(data.path());
        for (base, what) in [(data.path(), "old"), (&waits, "new")] {
            fs::create_dir_all(base.join(PACKAGES)).unwrap();
            fs::write(base.join(PACKAGES).join("file"), what).unwrap();
            fs::write(base.join(IDENTITY), what).unwrap();
            fs::write(base.join(DATABASE), what).unwrap();
        }
        fs::write(data.path().join("octopus.db-wal"), "old").unwrap();
        fs::write(data.path().join("identity-next.pem"), "old").unwrap();
        plan_write(&waits, &{
            let comes = vec![IDENTITY.to_owned(), PACKAGES.to_owned()];
            Plan { before: "before-restore-1".to_owned(), made_at: "once".to_owned(), comes }
        })
        .unwrap();
        data
    }

    fn read(base: &Path, name: &str) -> String {
        fs::read_to_string(base.join(name)).unwrap_or_default()
    }

    #[test]
    fn wherever_it_is_cut_off_the_next_start_goes_on_and_both_portals_are_whole() {
        let steps: [(&str, &str); 9] = [
            ("", "before-restore-1"),
            (IDENTITY, "before-restore-1"),
            ("restore-pending/identity.pem", ""),
            ("identity-next.pem", "before-restore-1"),
            (PACKAGES, "before-restore-1"),
            ("restore-pending/packages", ""),
            ("octopus.db-wal", "before-restore-1"),
            (DATABASE, "before-restore-1"),
            ("restore-pending/octopus.db", ""),
        ];
        for done in 0..=steps.len() {
            let data = folder();
            for (from, to) in &steps[..done] {
                if from.is_empty() {
                    fs::create_dir(data.path().join(to)).unwrap();
                    continue;
                }
                let name = Path::new(from).file_name().unwrap();
                fs::rename(data.path().join(from), data.path().join(to).join(name)).unwrap();
            }
            assert_eq!(is_half_done(data.path()).unwrap(), done > 0);
            let placed = place(data.path()).unwrap().unwrap();
            let before = placed.before.unwrap();
            for name in [DATABASE, IDENTITY, "packages/file"] {
                assert_eq!(
                    (read(data.path(), name), read(&before, name)),
                    ("new".to_owned(), "old".to_owned()),
                    "{done}"
                );
            }
            assert_eq!(
                (read(data.path(), "octopus.db-wal"), read(&before, "octopus.db-wal").as_str()),
                (String::new(), "old")
            );
            assert!(!pending(data.path()).exists() && !data.path().join("identity-next.pem").exists());
            assert_eq!(read(&before, "identity-next.pem"), "old", "{done}");
            assert_eq!(place(data.path()).unwrap(), None, "once is enough");
        }
    }

    #[test]
    fn a_backup_that_waits_can_be_called_off_and_plans_never_share_a_folder() {
        let data = folder();
        discard(data.path()).unwrap();
        assert_eq!((place(data.path()).unwrap(), read(data.path(), DATABASE).as_str()), (None, "old"));
        let first = plan(data.path(), Timestamp(0), "once", Vec::new());
        fs::create_dir(data.path().join(&first.before)).unwrap();
        assert_ne!(plan(data.path(), Timestamp(0), "once", Vec::new()).before, first.before);
        assert_eq!(first.before, "before-restore-19700101T000000");
    }

    #[test]
    fn an_empty_folder_keeps_nothing_aside() {
        let data = folder();
        let fresh = tempfile::tempdir().unwrap();
        fs::rename(pending(data.path()), pending(fresh.path())).unwrap();
        assert_eq!(place(fresh.path()).unwrap().unwrap().before, None);
        assert_eq!(read(fresh.path(), DATABASE), "new");
        assert_eq!(fs::read_dir(fresh.path()).unwrap().count(), 3);
    }
}
