//! The bundled package: what lies beside Suction Cup and is installed at its start if nothing newer is.
//!
//! Called by the program `install-package`, on nobody's word: it clears no verdict and never goes back a version.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use contract::{Home, Version};

use crate::archive::PackageFile;
use crate::error::{InstallError, PackageError};
use crate::install::{Authority, Installed, refuse_verdicts, stage_tentacle, verify};
use crate::limits::Limits;

/// What came of the bundled package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleOutcome {
    /// It was installed.
    Installed(Installed),
    /// Something as new, or newer, is installed.
    NotNewer {
        /// The bundled version.
        bundled: Version,
        /// The newest installed one.
        installed: Version,
    },
    /// A verdict on its version exists, and only the portal or a person clears it.
    Marked {
        /// The bundled version.
        bundled: Version,
        /// `rejected`, `withdrawn` or `launches`.
        mark: &'static str,
    },
}

/// Installs the Tentacle package at `bundle`, or in the folder `bundle`, if it is newer than everything installed or
/// nothing is, and no verdict on its version exists.
pub fn install_tentacle_bundle(home: &Home, bundle: &Path) -> Result<BundleOutcome, InstallError> {
    let limits = Limits::default();
    let path = package_in(bundle)?;
    let bundled = PackageFile::open(&path, &limits)?.nuspec().version.clone();
    let installed = home.installed_tentacles().map_err(InstallError::disk("list", home.tentacles()))?;
    if let Some(installed) = installed.into_iter().next().filter(|newest| *newest >= bundled) {
        return Ok(BundleOutcome::NotNewer { bundled, installed });
    }
    // Before the work of unpacking; arming looks again.
    match refuse_verdicts(home, &bundled) {
        Err(InstallError::Verdict { version, mark }) => return Ok(BundleOutcome::Marked { bundled: version, mark }),
        other => other?,
    }
    let staged = stage_tentacle(home, verify(&path, None, &limits)?)?;
    match staged.arm(Authority::Bundled) {
        Ok(installed) => Ok(BundleOutcome::Installed(installed)),
        Err(InstallError::Verdict { version, mark }) => Ok(BundleOutcome::Marked { bundled: version, mark }),
        Err(error) => Err(error),
    }
}

/// The package file itself, or the one package in a folder. Two packages in a folder are an error: the installer that
/// put them there knows which one is meant, nobody here does.
fn package_in(bundle: &Path) -> Result<PathBuf, InstallError> {
    if !bundle.is_dir() {
        return Ok(bundle.to_owned());
    }
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(bundle)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("nupkg")));
        Ok(paths)
    };
    let unread = |source| PackageError::Read { path: bundle.to_owned(), source };
    let mut paths = list().map_err(unread)?;
    match (paths.pop(), paths.len()) {
        (Some(path), 0) => Ok(path),
        (None, _) => Err(unread(io::Error::new(io::ErrorKind::NotFound, "it holds no .nupkg file")).into()),
        (Some(_), _) => Err(unread(io::Error::other("it holds more than one .nupkg file: leave one")).into()),
    }
}
