//! The marks on versions in `<home>/supervisor/` that Tentacle and the installer set and clear. That a name exists is all
//! that a mark says, so whatever has the name is one; a link is never followed.
//!
//! Called by the installer and by Tentacle. Suction Cup has code of its own for its marks.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::sys;

/// Sets a mark; durable when it returns.
pub fn set_mark(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
        Ok(file) => file.sync_all()?,
    }
    sync_parent(path)
}

/// Clears a mark, durably; false where there was none. An empty folder goes as a file does. One that holds something was
/// put there by a person: it is an error that says so.
pub fn clear_mark(path: &Path) -> io::Result<bool> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Err(io::Error::new(
            error.kind(),
            "a folder that holds something is in its place: look at what it holds, and move it away",
        )),
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sys::sync_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_has_the_name_is_the_mark_and_goes_but_a_full_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, other) = (folder.path().join("1.0.0.rejected"), folder.path().join("other"));
        let is_there = || fs::symlink_metadata(&mark).is_ok();
        assert!(!clear_mark(&mark).unwrap());
        set_mark(&mark).unwrap();
        set_mark(&mark).unwrap();
        assert!(is_there() && clear_mark(&mark).unwrap() && !is_there());

        fs::create_dir(&mark).unwrap();
        set_mark(&mark).unwrap();
        assert!(clear_mark(&mark).unwrap() && !is_there());

        fs::create_dir_all(mark.join("sub")).unwrap();
        assert!(clear_mark(&mark).unwrap_err().to_string().contains("holds something"));
        assert!(mark.join("sub").is_dir());
        fs::remove_dir_all(&mark).unwrap();

        for target in [&other, &folder.path().join("missing")] {
            fs::create_dir_all(&other).unwrap();
            std::os::unix::fs::symlink(target, &mark).unwrap();
            set_mark(&mark).unwrap();
            assert!(clear_mark(&mark).unwrap() && !is_there());
        }
        assert!(other.is_dir() && !folder.path().join("missing").exists(), "links are not followed");
    }
}
