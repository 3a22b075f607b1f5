//! Packages on their way: cut and resumed, and never let in when they are not what they should be.

use std::io::{Cursor, Write as _};
use std::path::Path;

use e2e::{Proxy, Visitor, World, tree};
use tokio::process::Command;
use xtask::Machine;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Bytes that an archive holds in a thousandth of their number.
const BOMB: usize = 64 << 20;

async fn is_cut_and_resumed(cut: impl FnOnce(&Proxy, u64)) -> anyhow::Result<(u64, u64)> {
    let world = World::start().await?;
    let (machine, proxy) = world.machine_behind_proxy("one").await?;
    let size = std::fs::metadata(world.bundled_package().await?)?.len();
    cut(&proxy, size);
    let rollout = world.roll_out().await?;
    let over = world.upgraded(&rollout, &[&machine]).await?;
    assert_eq!(over.machine("one")?.attempt, 1, "a cut is no failure: {over:#?}");
    assert_eq!(proxy.cuts(), 1, "the connection was cut");
    assert_eq!(e2e::upgrades_commanded(machine.home())?, 1);
    Ok((size, proxy.forwarded()))
}

#[tokio::test]
async fn an_upload_cut_at_its_first_byte_is_made_again() -> anyhow::Result<()> {
    is_cut_and_resumed(|proxy, _| proxy.cut_at(0)).await.map(drop)
}

#[tokio::test]
async fn an_upload_cut_in_the_middle_goes_on_there() -> anyhow::Result<()> {
    let (size, forwarded) = is_cut_and_resumed(|proxy, size| proxy.cut_at(size / 2)).await?;
    assert!(forwarded < size + size / 4, "{forwarded} bytes were sent for a package of {size}");
    Ok(())
}

#[tokio::test]
async fn an_upload_cut_at_its_last_byte_goes_on_there() -> anyhow::Result<()> {
    let (size, forwarded) = is_cut_and_resumed(Proxy::cut_before_last_byte).await?;
    assert!(forwarded < size + size / 8, "{forwarded} bytes were sent for a package of {size}");
    Ok(())
}

/// Rolls out a package that was spoilt in the portal's own store. The portal must say these words of it, and the
/// machine's store must stay as it is.
async fn is_refused(spoil: impl FnOnce(&mut Vec<u8>), words: &str) -> anyhow::Result<()> {
    let world = World::start().await?;
    let (machine, proxy) = world.machine_behind_proxy("one").await?;
    proxy.hold();
    let before = tree(&machine.home().applications())?;
    let rollout = world.roll_out().await?;
    world.phase(&rollout, "one", "Checking").await?;
    let packages = std::fs::read_dir(world.portal.data_dir().join("packages"))?.collect::<Result<Vec<_>, _>>()?;
    let stored = packages.iter().map(std::fs::DirEntry::path).find(|path| path.is_file());
    let stored = stored.ok_or_else(|| anyhow::anyhow!("the portal stores no package: {packages:?}"))?;
    let mut bytes = std::fs::read(&stored)?;
    spoil(&mut bytes);
    std::fs::remove_file(&stored)?;
    std::fs::write(&stored, bytes)?;
    proxy.release();
    let told = world.api.rollout_wait(&rollout.id, e2e::LIMIT, |rollout| {
        rollout.machine("one").is_ok_and(|machine| machine.reason.contains(words))
    });
    told.await?;
    unchanged(&world, &machine, &before).await
}

async fn unchanged(
    world: &World,
    machine: &Machine,
    before: &std::collections::BTreeMap<String, Option<Vec<u8>>>,
) -> anyhow::Result<()> {
    assert!(tree(&machine.home().applications())? == *before, "the store was changed");
    assert_eq!(e2e::upgrades_commanded(machine.home())?, 0);
    let killed = machine.kill9_tentacle()?;
    xtask::wait_for("another process", e2e::LIMIT, async || {
        Ok(machine.tentacle_pid().filter(|pid| *pid != killed && machine.running_version().is_some()))
    })
    .await?;
    world.runs(machine, &world.from).await
}

#[tokio::test]
async fn a_package_with_a_flipped_bit_is_thrown_away_by_the_machine() -> anyhow::Result<()> {
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    is_refused(flip, "they were thrown away").await
}

#[tokio::test]
async fn a_package_that_was_truncated_in_the_store_is_named_as_damaged() -> anyhow::Result<()> {
    is_refused(|bytes| bytes.truncate(bytes.len() / 2), "it is damaged").await
}

/// An archive with a nuspec of this id, a program, and what `more` adds.
fn archive(
    id: &str,
    more: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let nuspec = format!("<package><metadata><id>{id}</id><version>2099.1.0</version></metadata></package>");
    add(&mut writer, "a.nuspec", nuspec.as_bytes())?;
    add(&mut writer, "tentacle", b"#!/bin/sh\n")?;
    more(&mut writer)?;
    Ok(writer.finish()?.into_inner())
}

fn add(writer: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    writer.start_file(name, SimpleFileOptions::default())?;
    Ok(writer.write_all(bytes)?)
}

#[tokio::test]
async fn hostile_packages_are_refused_by_the_portal_and_by_the_machine() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let before = tree(&machine.home().applications())?;
    let folder = tempfile::tempdir()?;
    let tentacle = format!("Octopus.Tentacle.{}", package::current_runtime());
    let real = std::fs::read(world.bundled_package().await?)?;
    let cases = [
        ("climbs out", archive(&tentacle, |writer| add(writer, "../../../../escaped", b"evil"))?),
        ("is absolute", archive(&tentacle, |writer| add(writer, "/escaped", b"evil"))?),
        ("climbs out of an ordinary one", archive("Acme.Web", |writer| add(writer, "a/../../escaped", b"evil"))?),
        ("has one name twice", archive("Acme.Web", |writer| add(writer, "TENTACLE", b"evil"))?),
        ("claims to be what Tentacle wrote", archive(&tentacle, |writer| add(writer, ".octopus-package", b"evil"))?),
        (
            "holds a link",
            archive("Acme.Web", |w| Ok(w.add_symlink("link", "/etc/passwd", SimpleFileOptions::default())?))?,
        ),
        ("is a bomb", archive("Acme.Web", |writer| add(writer, "zeros", &vec![0; BOMB]))?),
        ("is cut", real[..real.len() / 2].to_vec()),
        ("is no archive", b"not a package at all".to_vec()),
        ("is empty", Vec::new()),
    ];
    for (number, (what, bytes)) in cases.iter().enumerate() {
        let path = folder.path().join(format!("Acme.Web.{number}.0.0.nupkg"));
        std::fs::write(&path, bytes)?;
        let (status, answer) = world.push(&path).await?;
        assert!((400..500).contains(&status), "a package that {what} was answered with {status}: {answer}");
        assert!(answer.contains("ErrorMessage"), "{answer}");
        let installed = install(&machine, &path).await?;
        assert!(installed.starts_with("tentacle: ") && !installed.contains("panicked"), "{what}: {installed}");
        assert!(tree(&machine.home().applications())? == before, "a package that {what} changed the store");
    }
    assert!(!Path::new("/escaped").exists());
    let listed = world.api.get("/api/packages").await?;
    assert_eq!(listed["TotalResults"], 0, "{listed}");
    let page = Visitor::log_in(&world.portal).await?.page("/packages").await?.text();
    assert!(!page.contains("Acme.Web"), "{page}");
    world.runs(&machine, &world.from).await
}

/// Runs `tentacle install`, which must fail, and returns what it said.
async fn install(machine: &Machine, package: &Path) -> anyhow::Result<String> {
    let mut command: Command = machine.tentacle_command("install");
    let output = command.arg(package).args(["--environment", e2e::ENVIRONMENT]).kill_on_drop(true).output();
    let output = tokio::time::timeout(e2e::LIMIT, output).await??;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "{said}");
    Ok(said)
}
