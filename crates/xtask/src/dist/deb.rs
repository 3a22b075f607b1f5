//! Has cargo-deb write the `.deb` packages, from the metadata in the manifests and the files that were laid out.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::ensure;

use super::lay::Delivery;
use super::product::debian_version;
use super::{archive, tools, workspace};
use crate::programs::cargo;

/// Writes `<product>_<version>_<architecture>.deb`.
pub(super) fn write(of: &Delivery<'_>) -> anyhow::Result<PathBuf> {
    let Delivery { laid, product, kind, version, out } = *of;
    let mut deb = cargo("deb");
    deb.args(["--no-build", "--no-strip", "--quiet", "--locked", "--offline", "--target", kind.triple()]);
    deb.args(["--package", product.manifest_of(), "--deb-version", &debian_version(version)]);
    deb.arg("--output").arg(out).current_dir(workspace());
    // It would print the path, which the caller does.
    deb.stdout(Stdio::null());
    deb.env("CARGO_TARGET_DIR", laid.target_folder()).env("SOURCE_DATE_EPOCH", archive::time_of_sources());
    tools::run(&mut deb)?;
    let path = out.join(product.deb(kind, version));
    ensure!(path.exists(), "cargo-deb did not write {}", path.display());
    Ok(path)
}
