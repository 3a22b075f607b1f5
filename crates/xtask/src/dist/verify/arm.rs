//! The programs for ARM, run by qemu: as far as an emulator of programs goes, which is all the way to a running Tentacle.

use std::fs;
use std::path::Path;

use anyhow::ensure;

use super::super::{Arch, Product};
use super::Report;
use super::sandbox::Sandbox;
use super::stock::Stock;

/// Tells the kernel which program runs those for 64-bit ARM: their first bytes, which of their bits count, and qemu, opened
/// now (`F`). In a sandbox with its own users the table is its own, and this computer's stays what it is.
const FORMAT: &str = r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:";

pub(super) async fn verify(stock: &Stock, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    let table = "/proc/sys/fs/binfmt_misc";
    let prepare = format!(
        "mount -t binfmt_misc binfmt_misc {table}\n\
         printf '%s' '{FORMAT}'$(command -v qemu-aarch64-static):F >{table}/register"
    );
    let sandbox = Sandbox::start(Path::new("/"), true, &prepare, &work.join("arm64.log")).await?;
    let machine = stock.unpacked(Product::Machine, Arch::Arm64);
    let portal = stock.unpacked(Product::Portal, Arch::Arm64);
    for program in [machine.join("suction-cup"), machine.join("install-package"), portal.join("octopus-server")] {
        let said = sandbox.sh(&format!("'{}' --version", program.display()))?;
        ensure!(said.contains(&stock.version.to_string()), "{} says it is {said}", program.display());
    }
    report.holds("arm64: all programs run");

    let (home, log) = (work.join("arm64-home"), work.join("arm64-cup.log"));
    let run = format!(
        "OCTOPUS_TENTACLE_SELF_PROVE_MS=1000 OCTOPUS_TENTACLE_LISTEN=127.0.0.1:10933 '{}/suction-cup' --home '{}'",
        machine.display(),
        home.display()
    );
    let cup = sandbox.start_program(&run, &format!("'{}'", log.display()))?;
    let proven = home.join(format!("supervisor/{}.proven", stock.version));
    let ended = sandbox.until("a proven Tentacle", &format!("test -e '{}'", proven.display())).await;
    let words = fs::read_to_string(&log)?;
    ensure!(ended.is_ok(), "no Tentacle proved itself: {words}");
    ensure!(words.contains("Tentacle is running"), "no Tentacle says that it runs: {words}");
    report.holds("arm64: Suction Cup had the bundle installed and launched a Tentacle, which proved itself");

    sandbox.end_program(cup).await?;
    let left = sandbox.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")?;
    ensure!(!left.contains("tentacle run"), "a Tentacle outlived its Suction Cup: {left}");
    report.holds("arm64: told to end, both end");
    Ok(())
}
