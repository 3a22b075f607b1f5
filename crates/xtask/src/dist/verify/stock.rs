//! What was delivered, unpacked; and the same with a newer bundle, to upgrade to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use contract::{Home, PackageId, Version};
use package::{Limits, install_application};

use super::super::{Arch, Built, Product, StaticPrograms, assemble, tools};
use super::Report;
use crate::packages::product_version;

/// The largest Suction Cup that is delivered: it is copied to every machine and stays there for ever.
const SUCTION_CUP_MAX: u64 = 700 * 1024;

/// Everything that is tried out.
pub(super) struct Stock {
    /// What was delivered.
    pub(super) version: Version,
    /// The newer one.
    pub(super) next: Version,
    dist: PathBuf,
    next_dist: PathBuf,
    unpacked: PathBuf,
    tentacles: BTreeMap<Arch, PathBuf>,
}

impl Stock {
    /// Unpacks the archives in `dist`, and packs the same programs as a newer version.
    pub(super) fn gather(dist: &Path, work: &Path) -> anyhow::Result<Self> {
        let version = product_version();
        let next = format!("{version}.1").parse()?;
        let (next_dist, unpacked) = (work.join("next"), work.join("unpacked"));
        for folder in [&next_dist, &unpacked] {
            fs::create_dir(folder)?;
        }
        let mut stock =
            Self { version, next, dist: dist.to_owned(), next_dist, unpacked, tentacles: BTreeMap::default() };
        for kind in Arch::ALL {
            for product in Product::ALL {
                let archive = dist.join(format!("{}.tar.gz", product.archive(kind, &stock.version)));
                tools::run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&stock.unpacked))?;
            }
            let tentacle = stock.tentacle(kind)?;
            stock.tentacles.insert(kind, tentacle);
        }
        let machine = stock.unpacked(Product::Machine, Arch::X64);
        let server = stock.unpacked(Product::Portal, Arch::X64).join("octopus-server");
        let (suction_cup, install_package) = (machine.join("suction-cup"), machine.join("install-package"));
        let programs = BTreeMap::from([(Arch::X64, StaticPrograms { server, suction_cup, install_package })]);
        assemble(&Built { tentacles: stock.tentacles.clone(), programs }, &stock.next, &stock.next_dist)?;
        Ok(stock)
    }

    /// The folder of an archive.
    pub(super) fn unpacked(&self, product: Product, kind: Arch) -> PathBuf {
        self.unpacked.join(product.archive(kind, &self.version))
    }

    /// The delivered `.deb` for this computer.
    pub(super) fn deb(&self, product: Product) -> PathBuf {
        self.dist.join(product.deb(Arch::X64, &self.version))
    }

    /// The newer one.
    pub(super) fn next_deb(&self, product: Product) -> PathBuf {
        self.next_dist.join(product.deb(Arch::X64, &self.next))
    }

    /// Every program is small enough and needs no other file.
    pub(super) fn verify(&self, report: &mut Report) -> anyhow::Result<()> {
        for kind in Arch::ALL {
            let (machine, portal) = (self.unpacked(Product::Machine, kind), self.unpacked(Product::Portal, kind));
            for program in [
                machine.join("suction-cup"),
                machine.join("install-package"),
                portal.join("octopus-server"),
                self.tentacles[&kind].clone(),
            ] {
                ensure!(!is_dynamic(&program)?, "{} needs a dynamic loader", program.display());
            }
            let size = fs::metadata(machine.join("suction-cup"))?.len();
            ensure!(size <= SUCTION_CUP_MAX, "Suction Cup for {} has {size} bytes", kind.runtime());
            report.holds(&format!("{}: four static programs; Suction Cup has {} KiB", kind.runtime(), size / 1024));
        }
        Ok(())
    }

    /// Unpacks the bundled Tentacle of any kind of computer, and returns its program. As an ordinary package, because this
    /// computer installs no Tentacle for another.
    fn tentacle(&self, kind: Arch) -> anyhow::Result<PathBuf> {
        let name = format!("{}.{}.nupkg", PackageId::tentacle(kind.runtime())?, self.version);
        let path = self.unpacked(Product::Machine, kind).join("bundle").join(name);
        let package = package::verify(&path, None, &Limits::default())
            .with_context(|| format!("the bundled package {} is not as it should be", path.display()))?;
        let installed = install_application(&Home::new(&self.unpacked), &"Verify".parse()?, package)?;
        Ok(installed.folder.join("tentacle"))
    }
}

fn is_dynamic(path: &Path) -> anyhow::Result<bool> {
    let readelf = Command::new("readelf").arg("--program-headers").arg("--wide").arg(path).output()?;
    ensure!(readelf.status.success(), "{} is no program", path.display());
    Ok(String::from_utf8_lossy(&readelf.stdout).contains("INTERP"))
}
