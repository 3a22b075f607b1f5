//! What a person does with a rollout by the buttons of the pages alone, and no script: what the page says of it then, what
//! stands in the trail, and what became of the machines.

use e2e::{LIMIT, Page, Visitor, World, tree, upgrades_commanded};
use serde_json::{Value, json};
use tokio::try_join;
use xtask::{Flavor, Machine, Rollout, packed_tentacle};

/// A moment that no test lives to see.
const FAR: &str = "2120-01-01T00:00:00Z";

/// Bytes of the package after which its upload is held: it has begun, and is not over.
const SOME_BYTES: u64 = 200_000;

/// Somebody who presses the buttons of one rollout.
struct Hands<'a> {
    world: &'a World,
    visitor: Visitor,
    rollout: Rollout,
}

impl<'a> Hands<'a> {
    /// Makes a rollout, and looks at its page.
    async fn on(world: &'a World, wish: Value) -> anyhow::Result<Self> {
        let rollout = world.api.rollout_create(&wish).await?;
        Ok(Self { world, visitor: Visitor::log_in(&world.portal).await?, rollout })
    }

    async fn page(&mut self) -> anyhow::Result<Page> {
        self.visitor.page(&format!("/rollouts/{}", self.rollout.id)).await
    }

    /// Presses the one button that begins with these words, reads what that would do, and says yes and why.
    async fn press(&mut self, words: &str) -> anyhow::Result<Page> {
        let form = self.page().await?.button(words)?;
        let question = self.visitor.submit(&form, &[]).await?;
        let asked = question.text_of("[data-question] p")?;
        anyhow::ensure!(asked.contains("machine") || asked.contains(" is "), "it does not say what happens: {asked}");
        let yes = question.form_to(&form.action)?;
        self.visitor.submit(&yes, &[("why", &why(words))]).await
    }

    /// Waits until the rollout is as wished.
    async fn until(&self, what: &str, wanted: impl Fn(&Rollout) -> bool) -> anyhow::Result<Rollout> {
        let waited = self.world.api.rollout_wait(&self.rollout.id, LIMIT, wanted).await;
        waited.map_err(|error| error.context(format!("{what} was waited for; {}", self.world.log())))
    }

    async fn until_state(&self, state: &str) -> anyhow::Result<Rollout> {
        self.until(state, |rollout| rollout.state == state).await
    }

    /// Waits until a machine is in a phase.
    async fn until_phase(&self, machine: &str, phase: &str) -> anyhow::Result<Rollout> {
        self.world.phase(&self.rollout, machine, phase).await
    }

    /// Demands that the rollout's page and the trail say this, and that `admin` did it for that button's reason.
    async fn is_told(&mut self, did: &str, button: &str) -> anyhow::Result<()> {
        let line = format!("{did}: {}", why(button));
        let page = self.page().await?.text();
        anyhow::ensure!(page.contains(&line), "\"{line}\" is not on the page: {page}");
        is_in_trail(&mut self.visitor, &line).await
    }
}

/// Demands that the trail says of `admin` that this was done.
async fn is_in_trail(visitor: &mut Visitor, line: &str) -> anyhow::Result<()> {
    let trail = visitor.page("/audit?who=admin").await?.text();
    anyhow::ensure!(trail.contains(line), "\"{line}\" is not in the trail: {trail}");
    Ok(())
}

/// What a person types beside a button.
fn why(button: &str) -> String {
    format!("for {}", button.to_lowercase())
}

/// Puts another program under the target's version on a machine: an upgrade to that is refused there, at once.
async fn spoil(world: &World, machine: &Machine) -> anyhow::Result<()> {
    let (programs, version) = (world.programs(), world.to.clone());
    let packed = tokio::task::spawn_blocking(move || packed_tentacle(programs, Flavor::Crash, &version)).await??;
    let mut install = machine.tentacle_command("install");
    let output = tokio::time::timeout(LIMIT, install.arg(packed).kill_on_drop(true).output()).await??;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Takes away what was put there.
fn mend(world: &World, machine: &Machine) -> anyhow::Result<()> {
    Ok(std::fs::remove_dir_all(machine.home().tentacle(&world.to))?)
}

#[tokio::test]
async fn a_scheduled_rollout_is_paused_resumed_and_begun_before_its_hour_by_hand() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let mut hands = Hands::on(&world, json!({ "StartAt": FAR })).await?;
    hands.press("Pause").await?;
    hands.until_state("Paused").await?;
    hands.is_told("paused Rollouts-1", "Pause").await?;
    hands.press("Resume").await?;
    hands.until_state("Scheduled").await?;
    hands.is_told("resumed Rollouts-1; it begins at 2120-01-01 00:00 UTC", "Resume").await?;
    assert_eq!(upgrades_commanded(machine.home())?, 0, "its hour has not come");
    hands.press("Start now").await?;
    hands.is_told("began Rollouts-1 before its hour", "Start now").await?;
    world.upgraded(&hands.rollout, &[&machine]).await.map(drop)
}

#[tokio::test]
async fn a_rollout_is_paused_and_resumed_by_hand_while_a_package_is_sent() -> anyhow::Result<()> {
    let world = World::start().await?;
    let ((first, proxy), second) = try_join!(world.machine_behind_proxy("a-first"), world.machine("b-second"))?;
    proxy.hold_at(SOME_BYTES);
    let mut hands = Hands::on(&world, json!({})).await?;
    hands.until_phase("a-first", "Uploading").await?;
    hands.press("Pause").await?;
    let paused = hands.until_phase("a-first", "Waiting").await?;
    assert_eq!(paused.state, "Paused");
    hands.is_told("paused Rollouts-1", "Pause").await?;
    proxy.release();
    hands.press("Resume").await?;
    hands.is_told("resumed Rollouts-1", "Resume").await?;
    world.upgraded(&hands.rollout, &[&first, &second]).await.map(drop)
}

#[tokio::test]
async fn a_rollout_is_cancelled_by_hand_and_its_page_offers_no_way_on() -> anyhow::Result<()> {
    let world = World::start().await?;
    let ((first, proxy), second) = try_join!(world.machine_behind_proxy("a-first"), world.machine("b-second"))?;
    let before = tree(&second.home().tentacles())?;
    proxy.hold_at(SOME_BYTES);
    let mut hands = Hands::on(&world, json!({})).await?;
    hands.until_phase("a-first", "Uploading").await?;
    let ask = hands.visitor.page("/rollouts/Rollouts-1/cancel").await?;
    assert!(ask.text().contains("nothing is left half done"), "{}", ask.text());
    hands.visitor.submit(&ask.button("Cancel rollout")?, &[("why", &why("Cancel"))]).await?;
    proxy.release();
    let over = hands.until_state("Cancelled").await?;
    assert_eq!(over.in_phase("Cancelled").count(), 2, "{over:#?}");
    hands.is_told("cancelled Rollouts-1", "Cancel").await?;
    let page = hands.page().await?;
    assert!(page.button("Resume").is_err() && page.button("Pause").is_err(), "{}", page.text());
    assert!(tree(&second.home().tentacles())? == before, "something was left in the store");
    try_join!(world.runs(&first, &world.from), world.runs(&second, &world.from)).map(drop)
}

#[tokio::test]
async fn a_machine_is_left_out_and_a_wave_is_released_by_hand() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (first, second, left) = try_join!(world.machine("a"), world.machine("b"), world.machine("left"))?;
    let waves = json!([{ "Members": { "Next": 1 } }, { "Members": "Rest", "Approval": "Person" }]);
    let mut hands = Hands::on(&world, json!({ "Strategy": { "Waves": waves } })).await?;
    hands.until_phase("a", "Upgraded").await?;
    hands.press("Leave out left").await?;
    let skipped = hands.until_phase("left", "Skipped").await?;
    assert!(skipped.machine("left")?.reason.contains("for leave out left"), "{skipped:#?}");
    hands.is_told("left left as it is, in Rollouts-1", "Leave out left").await?;
    let row = hands.page().await?.row("b")?;
    assert!(row.contains("person"), "it waits for one: {row}");
    hands.press("Release wave 2").await?;
    world.upgraded(&hands.rollout, &[&first, &second]).await?;
    hands.is_told("released wave 2 (the rest) of Rollouts-1", "Release wave 2").await?;
    assert_eq!(upgrades_commanded(left.home())?, 0);
    world.runs(&left, &world.from).await
}

#[tokio::test]
async fn what_failed_is_retried_and_the_version_that_is_held_for_it_is_released_by_hand() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (a, b, c, held) =
        try_join!(world.machine("a"), world.machine("b"), world.machine("c"), world.machine("d-held"))?;
    try_join!(spoil(&world, &a), spoil(&world, &b), spoil(&world, &c))?;
    let strategy = json!({ "Waves": [{ "Members": "Rest" }], "FailureBudget": 3 });
    let mut hands = Hands::on(&world, json!({ "Strategy": strategy })).await?;
    let stopped = hands.until_state("Paused").await?;
    assert_eq!(stopped.in_phase("Failed").count(), 3, "{stopped:#?}");
    assert_eq!(stopped.machine("d-held")?.phase, "Waiting");

    mend(&world, &a)?;
    hands.press("Retry a").await?;
    hands.until_phase("a", "Upgraded").await?;
    hands.is_told("retried a in Rollouts-1; the rollout goes on", "Retry a").await?;
    let row = hands.page().await?.row("d-held")?;
    assert!(row.contains("failed on 3 machines"), "{row}");
    hands.press("Release the version").await?;
    hands.until_phase("d-held", "Upgraded").await?;
    hands.is_told(&format!("released {} for linux-x64, in Rollouts-1", world.to), "Release the version").await?;

    hands.until_state("CompletedWithFailures").await?;
    mend(&world, &b)?;
    mend(&world, &c)?;
    hands.press("Retry 2 machines").await?;
    world.upgraded(&hands.rollout, &[&a, &b, &c, &held]).await?;
    hands.is_told("retried b, c in Rollouts-1; the rollout goes on", "Retry 2 machines").await
}

#[tokio::test]
async fn machines_begin_in_a_freeze_by_hand_and_the_page_says_that_and_why() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let freeze = json!({ "From": "2020-01-01T00:00:00Z", "Until": FAR, "Reason": "the audit" });
    world.api.post("/api/freezes", &freeze).await?;
    let mut hands = Hands::on(&world, json!({})).await?;
    let row = hands.page().await?.row("one")?;
    assert!(row.contains("the audit"), "{row}");
    assert_eq!(upgrades_commanded(machine.home())?, 0);
    hands.press("Begin outside").await?;
    world.upgraded(&hands.rollout, &[&machine]).await?;
    let did = "let machines begin outside their maintenance windows and in freezes, in Rollouts-1";
    hands.is_told(did, "Begin outside").await?;
    let page = hands.page().await?.text();
    assert!(page.contains("Maintenance windows and freezes are ignored: for begin outside"), "{page}");
    Ok(())
}

#[tokio::test]
async fn an_upgrade_is_undone_by_the_buttons_of_its_page() -> anyhow::Result<()> {
    let world = World::start().await?;
    let machine = world.machine("one").await?;
    let mut hands = Hands::on(&world, json!({})).await?;
    world.upgraded(&hands.rollout, &[&machine]).await?;
    let button = hands.page().await?.button("Undo on 1 machine")?;
    let ask = hands.visitor.submit(&button, &[]).await?;
    hands.visitor.submit(&ask.button("Undo on 1 machine")?, &[("why", "it leaks")]).await?;
    let undo = world.api.rollout_get("Rollouts-2").await?;
    let over = world.over(&undo).await?;
    assert_eq!((over.state.as_str(), over.machine("one")?.phase.as_str()), ("Completed", "Upgraded"));
    world.runs(&machine, &world.from).await?;
    assert!(machine.verdicts(&world.to).withdrawn);
    is_in_trail(&mut hands.visitor, "undid Rollouts-1").await
}

#[tokio::test]
async fn a_machine_is_held_and_released_by_hand() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (machine, held) = try_join!(world.machine("a"), world.machine("held"))?;
    let mut visitor = Visitor::log_in(&world.portal).await?;
    let id = world.api.machine_by_name("held").await?["Id"].as_str().unwrap_or_default().to_owned();
    let path = format!("/machines/{id}");
    let form = visitor.page(&path).await?.button("Hold")?;
    let page = visitor.submit(&form, &[("reason", "a ledger is written")]).await?;
    assert!(page.text().contains("a ledger is written"), "{}", page.text());
    is_in_trail(&mut visitor, "held machine held: a ledger is written").await?;

    let rollout = world.roll_out().await?;
    world.over(&rollout).await?;
    let row = visitor.page(&format!("/rollouts/{}", rollout.id)).await?.row("held")?;
    assert!(row.contains("Admin holds it: a ledger is written"), "{row}");
    world.runs(&machine, &world.to).await?;
    assert_eq!(upgrades_commanded(held.home())?, 0);

    let form = visitor.page(&path).await?.button("Take the hold away")?;
    visitor.submit(&form, &[("reason", "it is written")]).await?;
    world.phase(&rollout, "held", "Upgraded").await?;
    is_in_trail(&mut visitor, "released machine held: it is written").await?;
    world.runs(&held, &world.to).await
}
