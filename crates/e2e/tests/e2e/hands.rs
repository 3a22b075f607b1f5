//! What a person does with a rollout by the buttons of its page, and no script.

use contract::Version;
use e2e::{LIMIT, Visitor, World};
use serde_json::json;
use tokio::try_join;
use xtask::{Flavor, Rollout};

/// Somebody who presses the buttons of one rollout.
struct Hands<'a> {
    world: &'a World,
    visitor: Visitor,
    path: String,
    id: String,
}

impl Hands<'_> {
    /// Presses the one button that begins with these words, saying why, and waits until the rollout is as wished.
    async fn press(&mut self, words: &str, wanted: impl Fn(&Rollout) -> bool) -> anyhow::Result<Rollout> {
        let form = self.visitor.page(&self.path).await?.button(words)?;
        let why = format!("for {}", words.to_lowercase());
        self.visitor.submit(&form, &[("why", &why)]).await?;
        let waited = self.world.api.rollout_wait(&self.id, LIMIT, wanted).await;
        waited.map_err(|error| error.context(format!("after \"{words}\": {}", self.world.log())))
    }
}

fn fell(rollout: &Rollout) -> usize {
    rollout.in_phase("FellBack").count()
}

#[tokio::test]
async fn every_button_of_a_rollout_does_what_it_says_and_says_who_and_why() -> anyhow::Result<()> {
    let world = World::with(Flavor::Crash, &[]).await?;
    let _machines = try_join!(
        world.machine("a-one"),
        world.machine("b-two"),
        world.machine("c-three"),
        world.machine("d-four"),
        world.machine("e-five"),
    )?;
    let (from, until) = ("2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z");
    world.api.post("/api/freezes", &json!({ "From": from, "Until": until, "Reason": "the audit" })).await?;
    let waves = json!([{ "Members": { "Next": 3 }, "SoakSeconds": 0 }, { "Members": "Rest", "Approval": "Person" }]);
    let strategy = json!({ "Waves": waves, "MaxInFlight": 1, "FailureBudget": 9 });
    let rollout = world.api.rollout_create(&json!({ "Strategy": strategy, "StartAt": until })).await?;
    let (path, id) = (format!("/rollouts/{}", rollout.id), rollout.id.clone());
    let mut hands = Hands { world: &world, visitor: Visitor::log_in(&world.portal).await?, path, id };

    hands.press("Pause", |rollout| rollout.state == "Paused").await?;
    hands.press("Resume", |rollout| rollout.state == "Scheduled").await?;
    hands.press("Start now", |rollout| rollout.state == "Running").await?;
    let left = hands.press("Leave out e-five", |rollout| rollout.in_phase("Skipped").count() == 1).await?;
    assert!(left.machine("e-five")?.reason.contains("for leave out e-five"), "{left:#?}");
    assert_eq!(fell(&left), 0, "all is frozen: {left:#?}");

    let failed = hands.press("Begin outside", |rollout| rollout.is_completed).await?;
    assert_eq!((fell(&failed), failed.state.as_str()), (3, "CompletedWithFailures"), "{failed:#?}");
    let row = hands.visitor.page(&hands.path).await?.row("d-four")?;
    assert!(row.contains("failed on 3 machines"), "{row}");

    hands.press("Release wave 2", |_| true).await?;
    let again = hands.press("Retry a-one", |rollout| {
        rollout.machine("a-one").is_ok_and(|machine| machine.attempt == 2 && machine.phase == "FellBack")
    });
    let again = again.await?;
    assert_eq!(again.machine("d-four")?.phase, "Waiting", "it is held for the others: {again:#?}");
    hands.press("Release the version", |rollout| fell(rollout) == 4).await?;

    let page = hands.visitor.page(&hands.path).await?.text();
    for said in [
        "paused Rollouts-1: for pause",
        "resumed Rollouts-1; it begins at 2120-01-01 00:00 UTC: for resume",
        "began Rollouts-1 before its hour: for start now",
        "left e-five as it is, in Rollouts-1: for leave out e-five",
        "let machines begin outside their maintenance windows and in freezes",
        "released wave 2 (the rest) of Rollouts-1: for release wave 2",
        "retried a-one in Rollouts-1; the rollout goes on: for retry a-one",
        "for linux-x64, in Rollouts-1: for release the version",
        "Maintenance windows and freezes are ignored: for begin outside",
    ] {
        assert!(page.contains(said), "\"{said}\" is not on the page: {page}");
    }
    let old: Version = world.from.clone();
    assert_eq!(world.api.machine_version("e-five").await?, Some(old), "it was left as it is");
    Ok(())
}
