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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::packed;

    #[test]
    fn only_the_newest_version_is_offered_and_what_is_no_tentacle_is_left_out() {
        let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (id, version) in [
            ("Octopus.Tentacle.linux-x64", "1.9.0"),
            ("Octopus.Tentacle.linux-x64", "1.10.0"),
            ("Octopus.Tentacle.linux-arm64", "1.10"),
            ("Octopus.Tentacle.win-x64", "1.9.0"),
            ("Acme.Web", "9.0.0"),
        ] {
            fs::write(folder.path().join(format!("{id}.{version}.nupkg")), packed(id, version, "x")).unwrap();
        }
        fs::write(folder.path().join("broken.nupkg"), "not a package").unwrap();
        fs::write(folder.path().join("README.md"), "nothing").unwrap();
        let store = PackageStore::new(data.path()).unwrap();
        let bundle = Bundle::load(folder.path(), &store).unwrap();
        assert_eq!(bundle.version().unwrap().to_string(), "1.10.0");
        let runtimes: Vec<&str> = bundle.packages().iter().map(|package| package.runtime.as_str()).collect();
        assert_eq!(runtimes, ["linux-arm64", "linux-x64"]);
        assert_eq!(bundle.package("win-x64"), None);
        for package in bundle.packages() {
            let (found, size) = package::sha256_file(&store.path(&package.sha256)).unwrap();
            assert_eq!((found, size), (package.sha256, package.size));
        }
    }

    #[test]
    fn a_damaged_copy_in_the_store_is_replaced() {
        let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = "Octopus.Tentacle.linux-x64";
        fs::write(folder.path().join("a.nupkg"), packed(id, "1.0.0", "x")).unwrap();
        let store = PackageStore::new(data.path()).unwrap();
        let sha256 = Bundle::load(folder.path(), &store).unwrap().packages()[0].sha256;
        fs::write(store.path(&sha256), "damaged").unwrap();
        Bundle::load(folder.path(), &store).unwrap();
        assert_eq!(package::sha256_file(&store.path(&sha256)).unwrap().0, sha256);
    }

    #[test]
    fn a_folder_that_is_not_there_bundles_nothing() {
        let data = tempfile::tempdir().unwrap();
        let store = PackageStore::new(data.path()).unwrap();
        let bundle = Bundle::load(&data.path().join("bundle"), &store).unwrap();
        assert_eq!((bundle.version(), bundle.packages().len()), (None, 0));
    }
}
