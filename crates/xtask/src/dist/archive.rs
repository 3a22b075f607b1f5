//! Writes the archives. The same files give the same bytes: names in one order, nobody's user, and one time.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::lay::Delivery;
use super::{tools, workspace};

/// The file with the digest of each other file, as `sha256sum --check` reads it.
const DIGESTS: &str = "SHA256SUMS";

/// Writes `<product>-<version>-<runtime>.tar.gz`.
pub(super) fn write(of: &Delivery<'_>) -> anyhow::Result<PathBuf> {
    let Delivery { laid, product, kind, version, out } = *of;
    let name = product.archive(kind, version);
    let path = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+w,go=rX,go-w"]);
    tar.arg(format!("--mtime=@{}", time_of_sources())).args(["--format=gnu", "--use-compress-program=gzip -n"]);
    tar.arg("--file").arg(&path).arg("--directory").arg(laid.parent_of_products(kind));
    tar.arg(format!("--transform=s,^{},{name},", product.name())).arg(product.name());
    tools::run(&mut tar)?;
    Ok(path)
}

/// Writes the digests of `paths`.
pub(super) fn write_digests(paths: &[PathBuf], out: &Path) -> anyhow::Result<PathBuf> {
    let mut text = String::new();
    for path in paths {
        let name = path.file_name().context("what was written has a name")?;
        writeln!(text, "{}  {}", package::sha256_file(path)?.0, name.display())?;
    }
    let path = out.join(DIGESTS);
    fs::write(&path, text)?;
    Ok(path)
}

/// When the sources were last changed, in seconds: the time of every file. `SOURCE_DATE_EPOCH` overrides it.
pub(super) fn time_of_sources() -> String {
    if let Some(time) = std::env::var_os("SOURCE_DATE_EPOCH").and_then(|time| time.into_string().ok()) {
        return time;
    }
    let mut git = Command::new("git");
    git.args(["log", "--max-count=1", "--format=%ct"]).current_dir(workspace());
    // Sources that were unpacked from an archive have no history.
    let time = git.output().ok().filter(|output| output.status.success());
    let time = time.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    time.filter(|time| !time.is_empty()).unwrap_or_else(|| "0".to_owned())
}
