//! Undo: machines are brought back, each to its own previous version, which is on its disk. Nothing is sent.

use contract::Version;
use e2e::{LIMIT, Proxy, Visitor, World, upgrades_commanded};
use serde_json::json;
use tokio::try_join;
use xtask::{Flavor, Machine, Rollout};

use crate::deploy::Work;

/// Long enough to be met in the phase Proving.
const SLOW_PROOF: [(&str, &str); 1] = [("OCTOPUS_ROLLOUT_PROVING_TIME_MS", "3000")];

/// A machine that runs this version, behind a network that counts what is sent to it.
async fn machine(world: &World, name: &str, version: &Version) -> anyhow::Result<(Machine, Proxy)> {
    let machine = world.start_machine(name, version).await?;
    let proxy = Proxy::start(machine.address()).await?;
    world.register(&machine, proxy.address(), "any").await?;
    world.runs(&machine, version).await?;
    Ok((machine, proxy))
}

async fn undo(world: &World, rollout: &Rollout) -> anyhow::Result<Rollout> {
    let answer =
        world.api.post(&format!("/api/rollouts/{}/undo", rollout.id), &json!({ "Reason": "it leaks" })).await?;
    assert_eq!(answer["UndoOf"], rollout.id, "{answer}");
    Ok(serde_json::from_value(answer)?)
}

/// Waits until the machine is back, and proven there.
async fn is_back(world: &World, undo: &Rollout, machine: &Machine, version: &Version) -> anyhow::Result<()> {
    let told = world.phase(undo, machine.name(), "Upgraded").await?;
    assert_eq!(told.machine(machine.name())?.to_version, version.to_string());
    world.runs(machine, version).await?;
    let (old, new) = (machine.verdicts(version), machine.verdicts(&world.to));
    assert!(old.proven && !old.is_marked_bad() && new.withdrawn, "{old:?} {new:?}");
    Ok(())
}

#[tokio::test]
async fn three_machines_go_back_to_two_versions_of_their_own_and_nothing_is_sent() -> anyhow::Result<()> {
    let world = World::start().await?;
    let other = Version::release(2026, 2, 0);
    let (a, b, c) =
        try_join!(machine(&world, "a", &world.from), machine(&world, "b", &other), machine(&world, "c", &world.from))?;
    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&a.0, &b.0, &c.0]).await?;

    let proxies = [&a.1, &b.1, &c.1];
    proxies.iter().for_each(|proxy| proxy.hold_at(u64::MAX));
    let first = undo(&world, &rollout).await?;
    let again = undo(&world, &rollout).await?;
    assert_eq!(first.id, again.id, "the same wish is the same undo");
    let over = world.over(&first).await?;
    assert_eq!(over.state, "Completed", "{over:#?}\n{}", world.log());
    for (machine, version) in [(&a.0, &world.from), (&b.0, &other), (&c.0, &world.from)] {
        is_back(&world, &first, machine, version).await?;
        assert_eq!(upgrades_commanded(machine.home())?, 2, "there and back");
    }
    assert_eq!(proxies.map(Proxy::forwarded), [0, 0, 0], "bytes of a package were sent");
    assert_eq!(world.task_over(&first.task_id).await?["State"], "Success");

    // Undone itself, they are upgraded again, and nothing is sent either.
    let forward = undo(&world, &first).await?;
    world.over(&forward).await?;
    for machine in [&a.0, &b.0, &c.0] {
        world.runs(machine, &world.to).await?;
    }
    assert_eq!(proxies.map(Proxy::forwarded), [0, 0, 0], "bytes of a package were sent");
    Ok(())
}

#[tokio::test]
async fn a_person_reads_what_an_undo_will_do_agrees_and_is_told_why_nothing_can_be_done_again() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&machine]).await?;
    let mut visitor = Visitor::log_in(&world.portal).await?;
    let page = visitor.page(&format!("/rollouts/{}", rollout.id)).await?;
    assert!(page.text().contains("Undo on 1 machine"), "{}", page.text());
    let page = visitor.page(&format!("/rollouts/{}/undo", rollout.id)).await?;
    assert!(page.text().contains(&format!("1 machine to {}", world.from)), "{}", page.text());
    let page = visitor.submit(&page.form("Undo on 1 machine")?, &[("why", "it leaks")]).await?;
    assert!(page.text().contains(&format!("Undo of {}", rollout.id)), "{}", page.text());
    assert!(page.text().contains("it leaks"), "{}", page.text());
    let undo = world.api.rollout_get(page.path.rsplit('/').next().unwrap_or_default()).await?;
    is_back(&world, &undo, &machine, &world.from).await?;
    let page = visitor.page(&format!("/rollouts/{}", rollout.id)).await?;
    assert!(page.text().contains(&format!("undone by {}", undo.id)) && !page.text().contains("Undo on"));
    let page = visitor.page(&format!("/rollouts/{}/undo", rollout.id)).await?;
    assert!(page.text().contains("undone already"), "{}", page.text());
    Ok(())
}

#[tokio::test]
async fn tentacle_is_killed_while_it_drains_to_go_back() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&machine]).await?;
    let work = Work::start(&world).await?;
    let undo = undo(&world, &rollout).await?;
    world.phase(&undo, "one", "Installing").await?;
    machine.kill9_tentacle()?;
    is_back(&world, &undo, &machine, &world.from).await?;
    work.finish(&world).await.map(drop)
}

#[tokio::test]
async fn tentacle_and_then_suction_cup_are_killed_while_the_old_version_proves_itself_again() -> anyhow::Result<()> {
    let world = World::with(Flavor::Real, &SLOW_PROOF).await?;
    let mut machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&machine]).await?;
    let undo = undo(&world, &rollout).await?;
    world.phase(&undo, "one", "Proving").await?;
    machine.kill9_tentacle()?;
    world.phase(&undo, "one", "Proving").await?;
    machine.kill9_supervisor();
    machine.start_supervisor()?;
    is_back(&world, &undo, &machine, &world.from).await?;
    assert_eq!(upgrades_commanded(machine.home())?, 2, "there and back");
    Ok(())
}

#[tokio::test]
async fn a_version_that_was_damaged_meanwhile_is_not_gone_back_to_and_the_machine_says_so() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let rollout = world.roll_out().await?;
    world.upgraded(&rollout, &[&machine]).await?;
    let program = machine.home().tentacle_program(&world.from);
    let bytes = std::fs::read(&program)?;
    std::fs::remove_file(&program)?;
    std::fs::write(&program, &bytes[..bytes.len() / 2])?;
    let undo = undo(&world, &rollout).await?;
    let stopped = world.phase(&undo, "one", "Failed").await?;
    let reason = &stopped.machine("one")?.reason;
    assert!(reason.contains("is damaged"), "{reason}");
    let verdicts = machine.verdicts(&world.to);
    assert!(verdicts.proven && !verdicts.withdrawn, "nothing was touched: {verdicts:?}");
    let gone_on = world.api.rollout_wait(&undo.id, LIMIT, |rollout| rollout.state != "Running").await?;
    assert_eq!(gone_on.state, "CompletedWithFailures", "{gone_on:#?}");
    world.runs(&machine, &world.to).await
}
