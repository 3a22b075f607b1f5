//! A newer version that is broken: the rollout stops after the first failure, the machine heals by itself, the reason is
//! told, and nobody else is touched.

use contract::Rejection;
use e2e::{Visitor, World, tree};
use tokio::try_join;
use xtask::Flavor;

#[tokio::test]
async fn a_version_that_dies_at_once_stops_the_rollout_and_is_undone() -> anyhow::Result<()> {
    stops_and_heals(Flavor::Crash, Rejection::Crashed, Flavor::CRASH_WORDS).await
}

#[tokio::test]
async fn a_version_that_never_listens_stops_the_rollout_and_is_undone() -> anyhow::Result<()> {
    stops_and_heals(Flavor::Hang, Rejection::Unconfirmed, "confirm").await
}

#[tokio::test]
async fn a_version_that_cannot_be_reached_stops_the_rollout_and_is_undone() -> anyhow::Result<()> {
    stops_and_heals(Flavor::Mute, Rejection::Unconfirmed, "confirm").await
}

async fn stops_and_heals(flavor: Flavor, rejection: Rejection, words: &str) -> anyhow::Result<()> {
    let world = World::with(flavor, &[]).await?;
    let (touched, left) = try_join!(world.machine("a-touched"), world.machine("b-left"))?;
    let (pid, store) = (left.tentacle_pid(), tree(&left.home().applications())?);
    let rollout = world.roll_out().await?;
    let fallen = world.phase(&rollout, "a-touched", "FellBack").await?;
    let reason = &fallen.machine("a-touched")?.reason;
    assert!(reason.contains(words) && reason.contains(&world.to.to_string()), "{reason}");
    world.runs(&touched, &world.from).await?;
    let verdicts = touched.verdicts(&world.to);
    assert!(verdicts.rejected == Some(rejection) && !verdicts.proven, "{verdicts:?}");

    let stopped = world.api.rollout_wait(&rollout.id, e2e::LIMIT, |rollout| rollout.state == "Paused").await?;
    assert!(stopped.state_reason.contains("a-touched"), "{}", stopped.state_reason);
    assert_eq!(stopped.machine("b-left")?.phase, "Waiting");
    let task = world.task_over(&rollout.task_id).await?;
    assert_eq!((&task["State"], &task["FinishedSuccessfully"]), (&"Failed".into(), &false.into()), "{task}");
    assert_eq!(left.tentacle_pid(), pid, "a machine was touched after the failure");
    assert!(tree(&left.home().applications())? == store, "the other's store was changed");
    assert_eq!(e2e::upgrades_commanded(left.home())?, 0);

    let mut visitor = Visitor::log_in(&world.portal).await?;
    let row = visitor.page(&format!("/rollouts/{}", rollout.id)).await?.row("a-touched")?;
    assert!(row.contains(words), "the page says why: {row}");
    let row = visitor.page("/environments").await?.row("a-touched")?;
    assert!(row.contains(&world.from.to_string()), "the page says what runs: {row}");
    Ok(())
}
