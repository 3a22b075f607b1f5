//! Lays out the files of every product, in a temporary folder, as both its archive and its `.deb` hold them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use contract::Version;
use tempfile::TempDir;

use super::{Arch, Built, Product, StaticPrograms, workspace};
use crate::packages::{Flavor, pack_tentacle};

/// One product for one kind of computer: what an archive and a `.deb` are written from, and where.
#[derive(Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub(super) laid: &'a Laid,
    pub(super) product: Product,
    pub(super) kind: Arch,
    pub(super) version: &'a Version,
    /// The folder that is written into.
    pub(super) out: &'a Path,
}

/// Laid-out files; they go when this is dropped. The folder has the shape of a target folder of cargo's, because that is
/// where cargo-deb looks for what was built: `<triple>/release/<product>/`.
pub(super) struct Laid {
    folder: TempDir,
}

impl Laid {
    /// Packs the Tentacles as `version` and lays out everything, beside where it will be written.
    pub(super) fn new(built: &Built, version: &Version, out: &Path) -> anyhow::Result<Self> {
        let laid = Self { folder: tempfile::Builder::new().prefix(".laid-").tempdir_in(out)? };
        let packages = laid.target_folder().join("packages");
        let mut bundled = Vec::new();
        for (kind, tentacle) in &built.tentacles {
            bundled.push((*kind, pack_tentacle(tentacle, Flavor::Real, kind.runtime(), version, &packages)?));
        }
        for (kind, programs) in &built.programs {
            for product in Product::ALL {
                laid.lay(product, *kind, programs, &bundled)?;
            }
        }
        Ok(laid)
    }

    /// What to tell cargo-deb as its target folder.
    pub(super) fn target_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder in which a product lies under its own name.
    pub(super) fn parent_of_products(&self, kind: Arch) -> PathBuf {
        self.folder.path().join(kind.triple()).join("release")
    }

    fn lay(
        &self,
        product: Product,
        kind: Arch,
        programs: &StaticPrograms,
        bundled: &[(Arch, PathBuf)],
    ) -> anyhow::Result<()> {
        let folder = self.parent_of_products(kind).join(product.name());
        let bundle = folder.join("bundle");
        fs::create_dir_all(&bundle)?;
        let packaging = workspace().join(product.packaging());
        let unit = format!("{}.service", product.name());
        match product {
            Product::Machine => {
                place(&programs.suction_cup, &folder.join("suction-cup"))?;
                place(&programs.install_package, &folder.join("install-package"))?;
            }
            Product::Portal => place(&programs.server, &folder.join("octopus-server"))?,
        }
        for (of, package) in bundled {
            if product == Product::Portal || *of == kind {
                place(package, &bundle.join(package.file_name().context("a package has a name")?))?;
            }
        }
        place(&packaging.join(&unit), &folder.join(&unit))?;
        place(&packaging.join("README.md"), &folder.join("README.md"))?;
        place(&workspace().join("LICENSE"), &folder.join("LICENSE"))
    }
}

fn place(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
