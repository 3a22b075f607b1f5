//! The machine's `.deb`, from the first installation to the purge, with Suction Cup started by hand.

use std::path::Path;

use anyhow::{bail, ensure};
use contract::Version;

use super::super::Product;
use super::sandbox::{Sandbox, WAIT_MAX};
use super::stock::Stock;
use super::{Report, debian};
use crate::wait::wait_for;

const HOME: &str = "/var/lib/octopus/tentacle";
const PROGRAMS: &str = "/usr/lib/octopus/tentacle";
const LOG: &str = "/var/log/suction-cup.log";

/// The unit was enabled.
const ENABLED: &str = "test -L /etc/systemd/system/multi-user.target.wants/octopus-tentacle.service";

/// A verdict on a version that is not there: it must outlive everything but the purge.
const VERDICT: &str = "2000.1.0.rejected";

pub(super) async fn verify(root: &Path, stock: &Stock, report: &mut Report) -> anyhow::Result<()> {
    let debian = debian::enter(root).await?;
    let (version, next) = (&stock.version, &stock.next);

    debian::install(&debian, root, &stock.deb(Product::Machine))?;
    debian.sh(&format!("test -x {PROGRAMS}/suction-cup -a -x {PROGRAMS}/install-package; {ENABLED}"))?;
    report.holds("machine: the package is installed and its service enabled where no systemd runs");

    let cup = start(&debian)?;
    let first = running(&debian, version).await?;
    debian.until("the first version's proof", &format!("test -e {HOME}/supervisor/{version}.proven")).await?;
    report.holds(&format!("machine: Suction Cup installed the bundle and launched {version}, which proved itself"));

    debian.sh(&format!("echo crashed >{HOME}/supervisor/{VERDICT}"))?;
    let before = kept(&debian)?;
    debian::install(&debian, root, &stock.next_deb(Product::Machine))?;
    ensure!(tentacles(&debian)? == [first.clone()], "the upgrade of the package touched the Tentacle that runs");
    ensure!(kept(&debian)? == before, "the upgrade changed the home: {before} became {}", kept(&debian)?);
    report.holds("machine: upgrading the package leaves the running Tentacle, every version and every verdict alone");

    debian.end_program(cup).await?;
    ensure!(tentacles(&debian)?.is_empty(), "a Tentacle outlived its Suction Cup");
    let cup = start(&debian)?;
    running(&debian, next).await?;
    let now = kept(&debian)?;
    ensure!(before.lines().all(|line| now.lines().any(|other| other == line)), "of {before} this is left: {now}");
    report.holds(&format!("machine: at its next start Suction Cup launched the newer bundle, {next}"));

    debian.end_program(cup).await?;
    let before = kept(&debian)?;
    debian.sh("dpkg --remove octopus-tentacle 2>&1")?;
    ensure!(!debian.is(&format!("test -e {PROGRAMS}")), "removing left {PROGRAMS}");
    ensure!(kept(&debian)? == before, "removing changed the home: {before} became {}", kept(&debian)?);
    report.holds("machine: removing the package leaves all data");

    debian::install(&debian, root, &stock.next_deb(Product::Machine))?;
    let cup = start(&debian)?;
    running(&debian, next).await?;
    debian.end_program(cup).await?;
    report.holds("machine: a package that is installed again goes on with what is there");

    debian.sh("dpkg --purge octopus-tentacle 2>&1")?;
    let places = "/var/lib/octopus /usr/lib/octopus /usr/bin/suction-cup /etc";
    let left = debian.sh(&format!("find {places} \\( -path '*octopus*' -o -name suction-cup \\) 2>/dev/null || :"))?;
    ensure!(left.is_empty(), "purging left: {left}");
    report.holds("machine: purging the package removes its data too, and nothing is left");
    Ok(())
}

/// Starts Suction Cup as the service manager would. A Tentacle that nobody commands proves itself after a second.
fn start(debian: &Sandbox) -> anyhow::Result<u32> {
    debian.start_program(&format!("OCTOPUS_TENTACLE_SELF_PROVE_MS=1000 {PROGRAMS}/suction-cup"), LOG)
}

/// Waits until a Tentacle of this version serves, and only that one runs.
async fn running(debian: &Sandbox, version: &Version) -> anyhow::Result<String> {
    let what = format!("a Tentacle of version {version}");
    wait_for(&what, WAIT_MAX, async || {
        let log = debian.sh(&format!("cat {LOG}"))?;
        let found = tentacles(debian)?;
        let path = format!("/.Tentacle/{version}/tentacle");
        match found.as_slice() {
            [one] if one.ends_with(&path) && log.contains(&format!("Tentacle is running version={version}")) => {
                Ok(Some(one.clone()))
            }
            _ => bail!("{found:?} run; the log: {log}"),
        }
    })
    .await
}

/// The numbers and the programs of all Tentacles that run.
fn tentacles(debian: &Sandbox) -> anyhow::Result<Vec<String>> {
    let list = "for process in /proc/[0-9]*; do echo $process $(readlink $process/exe || :); done";
    let all = debian.sh(list)?;
    Ok(all.lines().filter(|line| line.contains("/.Tentacle/")).map(str::to_owned).collect())
}

/// The installed versions and the verdicts.
fn kept(debian: &Sandbox) -> anyhow::Result<String> {
    debian.sh(&format!("cd {HOME}; ls -d Applications/.Tentacle/* supervisor/*.proven supervisor/*.rejected"))
}
