//! How a version died reaches the portal through the version that is launched after it, whatever it died of.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::ensure;
use contract::Version;
use e2e::{LIMIT, Visitor, World};
use tokio::try_join;
use xtask::{Machine, wait_for};

/// Puts a complete newer version with this program beside what runs, and has it launched.
fn put(machine: &Machine, program: &[u8]) -> anyhow::Result<()> {
    let version = Version::release(2026, 1, 1);
    let (folder, incoming) = (machine.home().tentacle(&version), machine.home().path().join("incoming"));
    fs::create_dir(&incoming)?;
    let path = incoming.join("tentacle");
    fs::write(&path, program)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    fs::rename(incoming, folder)?;
    machine.kill9_tentacle().map(drop)
}

async fn reads(world: &World, name: &str, words: &[&str]) -> anyhow::Result<()> {
    let id = world.api.machine_by_name(name).await?["Id"].as_str().unwrap_or_default().to_owned();
    let mut visitor = Visitor::log_in(&world.portal).await?;
    let read = wait_for("the last words", LIMIT, async || {
        let text = visitor.page(&format!("/machines/{id}")).await?.text();
        ensure!(words.iter().all(|word| text.contains(word)), "{words:?} are not all in {text}");
        Ok(Some(()))
    });
    read.await
}

/// The real program, whose loader looks for a library that is not there.
fn without_its_library(world: &World) -> anyhow::Result<Vec<u8>> {
    let mut program = fs::read(&world.programs().tentacle)?;
    let (there, missing) = (b"libgcc_s.so.1\0", b"libgcc_x.so.1\0");
    let at = program.windows(there.len()).position(|bytes| bytes == there);
    let at = at.ok_or_else(|| anyhow::anyhow!("the program needs no libgcc_s"))?;
    program[at..at + missing.len()].copy_from_slice(missing);
    Ok(program)
}

#[tokio::test]
async fn a_signal_a_loader_error_and_a_kill_for_want_of_memory_are_read_in_the_portal() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machines = try_join!(world.machine("signal"), world.machine("loader"), world.machine("memory"))?;
    put(&machines.0, b"#!/bin/sh\necho a bad pointer >&2\nkill -SEGV $$\n")?;
    put(&machines.1, &without_its_library(&world)?)?;
    put(&machines.2, b"#!/bin/sh\necho more and more >&2\nkill -KILL $$\n")?;
    try_join!(
        reads(&world, "signal", &["2026.1.1", "signal 11", "a bad pointer"]),
        reads(&world, "loader", &["2026.1.1", "exit code 127", "libgcc_x.so.1"]),
        reads(&world, "memory", &["2026.1.1", "perhaps for want of memory", "more and more"]),
    )?;
    for machine in [&machines.0, &machines.1, &machines.2] {
        world.runs(machine, &world.from).await?;
    }
    Ok(())
}
