//! The bundled packages: the Tentacle packages that this portal carries and offers, one for each runtime.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::{Sha256, Version};
use package::Limits;

use crate::error::chain;
use crate::store::{PackageStore, StoreError};

/// Most files that are looked at in the bundle folder; more are ignored with a warning.
const FILES_MAX: usize = 100;

/// A Tentacle package that this portal offers. Its file is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundledPackage {
    /// In .NET's words: `linux-x64`.
    pub runtime: String,
    /// Its version.
    pub version: Version,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

/// What this portal bundles: all of one version, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Bundle(Arc<[BundledPackage]>);

/// Why the bundle could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The folder cannot be read.
    #[error("cannot read the bundle folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A package could not be copied into the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Bundle {
    /// Reads the packages in `folder` (`Octopus.Tentacle.<runtime>.<version>.nupkg`), checks them and copies those of the
    /// newest version into the store. What is no Tentacle package is left out with a warning; a folder that is not there
    /// bundles nothing. Blocks.
    pub fn load(folder: &Path, store: &PackageStore) -> Result<Self, BundleError> {
        let mut found: Vec<(PathBuf, BundledPackage)> = Vec::new();
        for path in packages_in(folder)? {
            match read(&path) {
                Ok(package) => found.push((path, package)),
                Err(why) => tracing::warn!(path = %path.display(), why, "a file in the bundle folder is left out"),
            }
        }
        let Some(newest) = found.iter().map(|(_, package)| package.version.clone()).max() else {
            return Ok(Self::default());
        };
        found.retain(|(_, package)| package.version == newest);
        found.sort_by(|(_, a), (_, b)| a.runtime.cmp(&b.runtime));
        found.dedup_by(|(_, a), (_, b)| a.runtime == b.runtime);
        for (path, package) in &found {
            store.import(path, package.sha256)?;
        }
        Ok(found.into_iter().map(|(_, package)| package).collect())
    }

    /// The version that is offered; `None` where nothing is bundled.
    pub fn version(&self) -> Option<&Version> {
        self.0.first().map(|package| &package.version)
    }

    /// The package for a runtime.
    pub fn package(&self, runtime: &str) -> Option<&BundledPackage> {
        self.0.iter().find(|package| package.runtime == runtime)
    }

    /// All packages, by runtime.
    pub fn packages(&self) -> &[BundledPackage] {
        &self.0
    }

    /// The digests of all packages: files that the store keeps although no row refers to them.
    pub fn digests(&self) -> HashSet<Sha256> {
        self.0.iter().map(|package| package.sha256).collect()
    }
}

impl FromIterator<BundledPackage> for Bundle {
    fn from_iter<I: IntoIterator<Item = BundledPackage>>(packages: I) -> Self {
        Self(packages.into_iter().collect())
    }
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let failed = |source| BundleError::Folder { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("nupkg")) {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.len() > FILES_MAX {
        tracing::warn!(folder = %folder.display(), found = paths.len(), max = FILES_MAX, "too many bundled packages");
        paths.truncate(FILES_MAX);
    }
    Ok(paths)
}

fn read(path: &Path) -> Result<BundledPackage, String> {
    let verified = package::verify(path, None, &Limits::default()).map_err(|error| chain(&error))?;
    let runtime =
        verified.id().tentacle_runtime().ok_or_else(|| format!("{} is no Tentacle package", verified.id()))?;
    Ok(BundledPackage {
        runtime: runtime.to_owned(),
        version: verified.version().clone(),
        sha256: verified.sha256(),
        size: verified.size(),
    })
}
