//! The portal's `.deb`, from the first installation to the purge, with the portal started by hand as its own user.

use std::path::Path;

use anyhow::ensure;

use super::super::Product;
use super::stock::Stock;
use super::{Report, debian};

const DATA: &str = "/var/lib/octopus/server";
const LOG: &str = "/var/log/octopus-server.log";
const PORT: u16 = 8080;

pub(super) async fn verify(root: &Path, stock: &Stock, report: &mut Report) -> anyhow::Result<()> {
    let debian = debian::enter(root).await?;

    // Both on one host, as in a first look at the whole.
    debian::install(&debian, root, &stock.deb(Product::Machine))?;
    debian::install(&debian, root, &stock.deb(Product::Portal))?;
    let enabled = "test -L /etc/systemd/system/multi-user.target.wants/octopus-server.service";
    debian.sh(&format!("octopus-server --version; {enabled}"))?;
    let owner = format!("stat --format '%U %G %a' {DATA}");
    let found = debian.sh(&owner)?;
    ensure!(found == "octopus-server octopus-server 700\n", "the data folder is {found}");
    report.holds("portal: the package is installed beside the machine's, with a user and a data folder of its own");

    let run = format!("OCTOPUS_DATA_DIR={DATA} OCTOPUS_LISTEN=127.0.0.1:{PORT} octopus-server run");
    let portal = debian.start_program(&format!("exec runuser -u octopus-server -- env {run}"), LOG)?;
    let answers = format!(
        "bash -c 'exec 3<>/dev/tcp/127.0.0.1/{PORT}; printf \"GET /api HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n\" >&3; \
         head -n 1 <&3' | grep ' 200 '"
    );
    debian.until("the portal's answer", &answers).await?;
    let log = debian.sh(&format!("cat {LOG}"))?;
    let bundled = log.lines().any(|line| line.contains(&stock.version.to_string()) && line.contains("packages=2"));
    ensure!(bundled, "the portal does not bundle both Tentacles: {log}");
    report.holds("portal: it serves, as its user, with the Tentacles of both kinds of computer");

    debian.sh(&format!("octopus-server admin create-api-key --data-dir {DATA} --scope register"))?;
    let strangers = debian.sh(&format!("find {DATA} ! -user octopus-server"))?;
    ensure!(strangers.is_empty(), "a command of root's left files that are not the portal's: {strangers}");
    debian::install(&debian, root, &stock.next_deb(Product::Portal))?;
    debian.sh(&answers)?;
    report.holds("portal: upgrading the package ends nothing where no systemd runs");

    let (stop, files) = (debian.end_program(portal), format!("cd {DATA}; ls"));
    stop.await?;
    let before = debian.sh(&files)?;
    let said = debian.sh("dpkg --remove octopus-server 2>&1; dpkg --purge octopus-server 2>&1")?;
    ensure!(debian.sh(&files)? == before, "the portal's data was touched");
    ensure!(said.contains(&format!("kept in {DATA}")), "purging does not say what is kept: {said}");
    ensure!(!debian.is("test -e /usr/lib/octopus/server -o -e /usr/bin/octopus-server"), "purging left programs");
    debian.sh("dpkg --purge octopus-tentacle 2>&1")?;
    report.holds("portal: neither removing nor purging the package touches the data, and it says so");
    Ok(())
}
