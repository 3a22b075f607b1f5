//! What differs by platform. Nothing else in the portal looks at the platform.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes a folder, and those above it, that only this user can look into. One that is there must be so already, or be
/// empty: nobody's folder is closed to others because somebody mistyped a path.
pub fn private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let is_private = fs::metadata(path)?.permissions().mode().trailing_zeros() >= 6;
        if !is_private && fs::read_dir(path)?.next().is_some() {
            let why = "it is not empty, and others can look into it; name another folder, or close it with chmod 700";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes a file that is not there yet, which only this user can read.
pub fn private_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// True where both belong to the same user.
pub fn same_owner(one: &Path, other: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Ok(fs::metadata(one)?.uid() == fs::metadata(other)?.uid())
    }
    #[cfg(not(unix))]
    Ok(fs::metadata(one).and(fs::metadata(other)).is_ok())
}

/// Waits until somebody wants this process to end.
pub async fn ended() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_of_others_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (shared, empty) = (base.path().join("shared"), base.path().join("empty"));
        for folder in [&shared, &empty] {
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(shared.join("theirs"), "").unwrap();
        assert!(private_folder(&shared).unwrap_err().to_string().contains("chmod 700"));
        assert_eq!(mode(&shared), 0o755);
        private_folder(&empty).unwrap();
        fs::write(empty.join("ours"), "").unwrap();
        private_folder(&empty).unwrap();
        assert_eq!(mode(&empty), 0o700);
    }
}
