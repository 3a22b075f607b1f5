//! Makes the folders of a home that are missing. Called before anything is installed, and by Tentacle when
//! it starts and whenever it is asked how it is.

use std::fs;
use std::io;
use std::path::Path;

use contract::Home;

use crate::error::InstallError;
use crate::sys;

/// Makes what is missing of a home: the folder itself, `Applications/.Tentacle/`, and, for its owner alone,
/// `Packages/`, `Work/` and `supervisor/`. What is there keeps its mode.
pub fn prepare_home(home: &Home) -> Result<(), InstallError> {
    let mut made = ensure_folder(home.path(), sys::FOLDER_MODE).and(ensure_folder(&home.tentacles(), sys::FOLDER_MODE));
    // All of them, whatever becomes of one: a Tentacle that can do a part of its work can be mended.
    for folder in [home.packages(), home.work(), home.supervisor()] {
        made = made.and(ensure_private_folder(&folder));
    }
    made
}

/// Makes a folder for its owner alone where it is missing: somebody may have deleted it while a Tentacle ran.
pub fn ensure_private_folder(path: &Path) -> Result<(), InstallError> {
    ensure_folder(path, sys::PRIVATE_FOLDER_MODE)
}

/// Makes a folder and those above it where they are missing, each name durable before it returns.
pub(crate) fn ensure_folder(path: &Path, mode: u32) -> Result<(), InstallError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
        ensure_folder(parent, sys::FOLDER_MODE)?;
    }
    match sys::create_folder(path, mode) {
        // Another installer was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::metadata(path).is_ok_and(|m| m.is_dir()) => {}
        other => other.map_err(InstallError::disk("make the folder", path))?,
    }
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    sys::sync_folder(parent).map_err(InstallError::disk("sync the folder", parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_keeps_nothing_else_from_being_made_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        fs::write(home.packages(), "not a folder").unwrap();
        let error = prepare_home(&home).unwrap_err();
        assert!(error.to_string().contains("Packages"), "{error}");
        assert!([home.tentacles(), home.work(), home.supervisor()].iter().all(|folder| folder.is_dir()));
        fs::remove_file(home.packages()).unwrap();
        prepare_home(&home).unwrap();
        assert!(home.packages().is_dir());
    }
}
