//! `cargo xtask dist`: what is handed to operators. For each kind of computer an archive and a `.deb` for a machine, and
//! an archive and a `.deb` for the portal, of static programs only.
//!
//! The files of both come from one laid-out folder, so an archive and its package never differ. What a `.deb` is made of
//! stands in `supervisor/Cargo.toml` and `server/Cargo.toml`; units and maintainer scripts lie in `packaging/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use contract::Version;

use crate::packages::product_version;

mod arch;
mod archive;
mod build;
mod deb;
mod lay;
mod product;
mod tools;
pub mod verify;

pub use arch::Arch;
pub use build::{Built, StaticPrograms};
pub use product::Product;
pub use tools::missing_to_pack;

/// What `cargo xtask dist` is told.
#[derive(Args, Debug)]
pub struct Options {
    /// Make it for this kind of computer alone; the portal's bundle holds the Tentacles for all kinds even then
    #[arg(long, value_name = "KIND")]
    target: Option<Arch>,
    /// The folder that everything is written into [default: target/dist]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Then try it all out, as `cargo xtask verify-dist` does
    #[arg(long, conflicts_with = "target")]
    verify: bool,
}

/// Builds everything, packs it, and prints what it wrote. False when it was tried out and something failed.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let kinds = options.target.map_or(Arch::ALL.to_vec(), |kind| vec![kind]);
    let mut needed = tools::to_build();
    if options.verify {
        needed.extend(tools::to_verify());
    }
    tools::check(&needed)?;
    let out = out_folder(options.out.as_deref())?;
    let built = Built::with_cargo(&kinds)?;
    for path in assemble(&built, &product_version(), &out)? {
        println!("{:>9} KiB  {}", fs::metadata(&path)?.len() / 1024, path.display());
    }
    if options.verify { verify::all(&out) } else { Ok(true) }
}

/// Packs what was built as `version` into the folder `out`, and returns the paths of what was written.
pub fn assemble(built: &Built, version: &Version, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let laid = lay::Laid::new(built, version, out)?;
    for kind in built.programs.keys().copied() {
        for product in Product::ALL {
            let delivery = lay::Delivery { laid: &laid, product, kind, version, out };
            paths.extend([archive::write(&delivery)?, deb::write(&delivery)?]);
        }
    }
    paths.push(archive::write_digests(&paths, out)?);
    Ok(paths)
}

/// The folder that was named, or the usual one; made if it is not there. Its absolute path.
fn out_folder(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let out = named.map_or_else(|| workspace().join("target/dist"), Path::to_owned);
    fs::create_dir_all(&out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    fs::canonicalize(&out).with_context(|| format!("cannot find the folder {}", out.display()))
}

/// The root of the repository.
fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
