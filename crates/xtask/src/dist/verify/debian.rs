//! A small Debian in a folder, as `debootstrap` makes it: without systemd, so with nothing that starts a service.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::super::tools;
use super::sandbox::Sandbox;

/// The release of Debian.
const SUITE: &str = "bookworm";

/// Where the packages that are tried out lie in it.
pub(super) const DEBS: &str = "/debs";

/// Makes it in the folder `work`. Fetches some 50 MiB; takes a minute or two.
pub(super) fn make(work: &Path) -> anyhow::Result<PathBuf> {
    let root = work.join("debian");
    eprintln!("making a small Debian");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", SUITE]).arg(&root).stdout(Stdio::null());
    tools::run(&mut debootstrap).context("the small Debian could not be made")?;
    Ok(root)
}

/// Processes, mounts and a network for it.
pub(super) async fn enter(root: &Path) -> anyhow::Result<Sandbox> {
    let mount = format!("mount -t proc proc '{}/proc'", root.display());
    Sandbox::start(root, false, &mount, &root.with_extension("log")).await
}

/// Installs a `.deb`, or another version of it. Returns what dpkg said.
pub(super) fn install(debian: &Sandbox, root: &Path, deb: &Path) -> anyhow::Result<String> {
    let name = deb.file_name().context("a package has a name")?;
    let folder = root.join(DEBS.trim_start_matches('/'));
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(deb, folder.join(name)).with_context(|| format!("cannot copy {}", deb.display()))?;
    debian.sh(&format!("dpkg --install {DEBS}/{} 2>&1", name.display()))
}
