//! Side-by-side installation. Each step's type consumes the former's, so that no order but the right one compiles:
//! a path → [`Verified`] → [`Staged`] → [`Installed`].
//!
//! Staging writes to an invisible folder only. The rename in [`Staged::arm`] is what arms a version, and comes last.

use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use contract::{EnvironmentName, Home, PackageId, Sha256, Version};

use crate::archive::{PackageFile, open_file};
use crate::digest::sha256_reader;
use crate::error::{InstallError, PackageError};
use crate::home::{ensure_folder, prepare_home};
use crate::incoming::Incoming;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::marks::clear_mark;
use crate::sys;
use crate::unpack::unpack;

/// Most folders `<version>_1`, `<version>_2` … of an ordinary package. Clean-up keeps them few; at the limit the
/// installation is refused.
const COPIES: u32 = 10_000;

/// A package whose bytes were hashed, are the expected ones, and passed the policy. It stays open: what is unpacked
/// later is what was hashed, whatever happens to its name.
#[derive(Debug)]
pub struct Verified {
    package: PackageFile,
    sha256: Sha256,
    size: u64,
}

/// Hashes the package at `path`, compares it with `expected`, and checks everything that can be checked before
/// unpacking.
pub fn verify(path: &Path, expected: Option<Sha256>, limits: &Limits) -> Result<Verified, PackageError> {
    let mut file = open_file(path, limits)?;
    let (sha256, size) = hash(&mut file).map_err(|source| PackageError::Read { path: path.into(), source })?;
    if let Some(expected) = expected.filter(|expected| *expected != sha256) {
        return Err(PackageError::Digest { path: path.into(), expected, actual: sha256 });
    }
    Ok(Verified { package: PackageFile::from_file(path, file, limits)?, sha256, size })
}

/// Checks everything but the digest, for a caller that hashed these very bytes and knows that nobody wrote to them since.
pub fn open_hashed(path: &Path, sha256: Sha256, limits: &Limits) -> Result<Verified, PackageError> {
    let file = open_file(path, limits)?;
    let size = file.metadata().map_err(|source| PackageError::Read { path: path.into(), source })?.len();
    Ok(Verified { package: PackageFile::from_file(path, file, limits)?, sha256, size })
}

fn hash(file: &mut File) -> io::Result<(Sha256, u64)> {
    let digest = sha256_reader(file)?;
    file.rewind()?;
    Ok(digest)
}

impl Verified {
    /// The package's id.
    pub fn id(&self) -> &PackageId {
        &self.package.nuspec().id
    }

    /// The package's version.
    pub fn version(&self) -> &Version {
        &self.package.nuspec().version
    }

    /// The digest of the package file.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Bytes of the package file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The opened package.
    pub fn package(&self) -> &PackageFile {
        &self.package
    }
}

/// On whose word a Tentacle version is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The portal or a person. Clears `.rejected`, `.withdrawn` and `.launches` of the version, never `.proven`.
    Commanded,
    /// Nobody's: the package that lies beside Suction Cup. Clears nothing and is refused where a verdict exists.
    Bundled,
}

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The version was not there before.
    New,
    /// The version was there, from the same package and intact.
    AlreadyThere,
    /// The version was there but damaged, and was replaced.
    Repaired,
}

/// An installed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// In normal form.
    pub version: Version,
    /// Where it is, complete.
    pub folder: PathBuf,
    /// What was done.
    pub outcome: Outcome,
}

/// A Tentacle version that is complete on disk and that nobody can see yet, or one that is installed already.
/// Dropping it leaves nothing.
#[derive(Debug)]
pub struct Staged {
    home: Home,
    version: Version,
    sha256: Sha256,
    /// `None` where the version stands in its place already, intact.
    incoming: Option<Incoming>,
}

/// What stands in the place of a version.
#[derive(PartialEq, Eq)]
enum Place {
    Free,
    Intact,
    /// Of the same package but changed, or with no readable record of what it was made from.
    Damaged,
}

/// Unpacks a Tentacle package beside its place: all bytes are durable when this returns, and nobody can see them.
/// Refuses packages that are not Tentacle, are for another runtime or hold no program, and a version that is installed
/// from other bytes. Finds out where the version is installed already and intact.
pub fn stage_tentacle(home: &Home, mut package: Verified) -> Result<Staged, InstallError> {
    check_tentacle(home, &package)?;
    prepare_home(home)?;
    let (version, sha256) = (package.version().clone(), package.sha256);
    let incoming = match inspect(home, &version, sha256)? {
        Place::Intact => None,
        Place::Free | Place::Damaged => Some(unpack_incoming(&home.tentacles(), &mut package)?),
    };
    Ok(Staged { home: home.clone(), version, sha256, incoming })
}

/// Finds a Tentacle version that is installed already, without its package: every file is verified against the record
/// that the version carries. For going to a version that ran here before, where no bytes have to move.
pub fn stage_installed(home: &Home, version: &Version) -> Result<Staged, InstallError> {
    let folder = home.tentacle(version);
    match fs::symlink_metadata(&folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(InstallError::disk("look at", folder)(error));
        }
        Ok(_) | Err(_) => return Err(InstallError::NotInstalled { version: version.clone() }),
    }
    let damaged = |source| InstallError::Damaged { version: version.clone(), source };
    let manifest = Manifest::read(&folder).map_err(damaged)?;
    if manifest.version != *version || manifest.id.tentacle_runtime().is_none() {
        let recorded = format!("{} {}", manifest.id, manifest.version);
        return Err(InstallError::OtherRecord { version: version.clone(), recorded });
    }
    manifest.verify(&folder).map_err(damaged)?;
    Ok(Staged { home: home.clone(), version: version.clone(), sha256: manifest.sha256, incoming: None })
}

fn check_tentacle(home: &Home, package: &Verified) -> Result<(), InstallError> {
    let id = package.id().clone();
    let machine = sys::current_runtime();
    match id.tentacle_runtime() {
        None => return Err(InstallError::NotTentacle { id }),
        Some(offered) if !offered.eq_ignore_ascii_case(machine) => {
            let offered = offered.to_owned();
            return Err(InstallError::OtherRuntime { id, offered, machine });
        }
        Some(_) => {}
    }
    let version = package.version().clone();
    let program = home.tentacle_program(&version);
    let program = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if package.package.files().iter().any(|file| file.path == program && file.size > 0) {
        return Ok(());
    }
    Err(InstallError::NoProgram { id, version, program })
}

fn inspect(home: &Home, version: &Version, sha256: Sha256) -> Result<Place, InstallError> {
    let folder = home.tentacle(version);
    match fs::symlink_metadata(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(InstallError::disk("look at", folder)(error)),
        Ok(metadata) if !metadata.is_dir() => return Ok(Place::Damaged),
        Ok(_) => {}
    }
    let Ok(manifest) = Manifest::read(&folder) else { return Ok(Place::Damaged) };
    if manifest.sha256 != sha256 {
        let (version, installed) = (version.clone(), manifest.sha256);
        return Err(InstallError::OtherBytes { version, installed, offered: sha256 });
    }
    Ok(if manifest.verify(&folder).is_ok() { Place::Intact } else { Place::Damaged })
}

/// Unpacks a package into a new invisible folder in `parent`, everything in it durable.
fn unpack_incoming(parent: &Path, package: &mut Verified) -> Result<Incoming, InstallError> {
    let (id, version) = (package.id().clone(), package.version().clone());
    let incoming =
        Incoming::create(parent, &version).map_err(InstallError::disk("make a folder to unpack to in", parent))?;
    let folder = incoming.folder();
    let files = unpack(&mut package.package, folder)?;
    let manifest = Manifest { id, version, sha256: package.sha256, files };
    manifest.write(folder).map_err(InstallError::disk("write the manifest in", folder))?;
    sys::sync_folder(folder).map_err(InstallError::disk("sync the folder", folder))?;
    Ok(incoming)
}

impl Staged {
    /// The version that is ready to be armed.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Puts the version in its place, where Suction Cup finds it at its next choice. Verdicts on it are dealt with as
    /// `authority` says, durably, before the rename.
    pub fn arm(self, authority: Authority) -> Result<Installed, InstallError> {
        if self.incoming.is_none() && inspect(&self.home, &self.version, self.sha256)? != Place::Intact {
            return Err(InstallError::Gone { version: self.version });
        }
        match authority {
            Authority::Commanded => clear_verdicts(&self.home, &self.version)?,
            Authority::Bundled => refuse_verdicts(&self.home, &self.version)?,
        }
        let Self { home, version, sha256, incoming } = self;
        let outcome = match incoming {
            None => Outcome::AlreadyThere,
            Some(incoming) => place(&home, &version, sha256, &incoming)?,
        };
        Ok(Installed { folder: home.tentacle(&version), version, outcome })
    }
}

fn place(home: &Home, version: &Version, sha256: Sha256, incoming: &Incoming) -> Result<Outcome, InstallError> {
    let folder = home.tentacle(version);
    let renamed = InstallError::disk("put in its place the version", folder.clone());
    let outcome = match sys::rename_to_free(incoming.folder(), &folder) {
        Ok(()) => Outcome::New,
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(renamed(error)),
        // Something stands there: what staging found damaged, or what another installer put there meanwhile.
        Err(_) => match inspect(home, version, sha256)? {
            Place::Intact => Outcome::AlreadyThere,
            Place::Damaged | Place::Free => {
                sys::exchange(incoming.folder(), &folder).map_err(renamed)?;
                Outcome::Repaired
            }
        },
    };
    let parent = home.tentacles();
    sys::sync_folder(&parent).map_err(InstallError::disk("sync the folder", parent))?;
    Ok(outcome)
}

/// The verdicts on a version that keep it from being chosen or count its launches: the word of the mark, and its file.
/// In the order in which they are cleared: the count goes first, so that whatever is chosen between two steps has all its
/// launches.
fn verdict_files(home: &Home, version: &Version) -> [(&'static str, PathBuf); 3] {
    [("launches", home.launches(version)), ("rejected", home.rejected(version)), ("withdrawn", home.withdrawn(version))]
}

fn clear_verdicts(home: &Home, version: &Version) -> Result<(), InstallError> {
    for (_, path) in verdict_files(home, version) {
        clear_mark(&path).map_err(InstallError::disk("clear the verdict", path))?;
    }
    Ok(())
}

pub(crate) fn refuse_verdicts(home: &Home, version: &Version) -> Result<(), InstallError> {
    for (mark, path) in verdict_files(home, version).into_iter().rev() {
        match fs::symlink_metadata(&path) {
            Ok(_) => return Err(InstallError::Verdict { version: version.clone(), mark }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(InstallError::disk("look at the verdict", path)(error)),
        }
    }
    Ok(())
}

/// Installs an ordinary package for an environment, in `Applications/<environment>/<id>/<version>`. Nothing is ever
/// overwritten: where the folder exists the next free of `<version>_1`, `<version>_2` … is taken.
pub fn install_application(
    home: &Home,
    environment: &EnvironmentName,
    mut package: Verified,
) -> Result<Installed, InstallError> {
    prepare_home(home)?;
    let parent = home.package(environment, package.id());
    ensure_folder(&parent, sys::FOLDER_MODE)?;
    let incoming = unpack_incoming(&parent, &mut package)?;
    let version = package.version().clone();
    let first = parent.join(version.folder_name());
    for copy in 0..=COPIES {
        let folder = match copy {
            0 => first.clone(),
            copy => parent.join(format!("{}_{copy}", version.folder_name())),
        };
        match sys::rename_to_free(incoming.folder(), &folder) {
            Ok(()) => {
                sys::sync_folder(&parent).map_err(InstallError::disk("sync the folder", parent))?;
                return Ok(Installed { version, folder, outcome: Outcome::New });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(InstallError::disk("put in its place the version", folder)(error)),
        }
    }
    Err(InstallError::TooManyCopies { folder: first, copies: COPIES })
}
