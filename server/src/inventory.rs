//! The inventory: the only writer of facts. Whoever asked a machine for its status brings the answer here.
//!
//! Nothing here calls a machine or decides what to do about what it said.

use octopus_proto::Status;

use crate::app::App;
use crate::audit::{Deed, because};
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::facts::{facts_get, facts_put};
use crate::db::health_changes::{HealthChange, health_change_insert};
use crate::db::machines::machine_some;
use crate::db::rollouts::generation_issued;
use crate::ids::MachineId;
use crate::live::Change;
use crate::model::{
    Answer, AuditCategory, AuditKind, Contact, Facts, Health, InstalledVersion, Instances, Report, RunningWork,
};
use crate::restored::restored_notice;
use crate::rollout::hands::WHY_MAX;
use crate::tentacle::CallError;

/// Highest generation that a machine is believed. No portal issues as many; one that went above could count no further.
const GENERATION_MAX: u64 = 1 << 62;

/// Longest last words that are kept, in bytes. The rest is cut off at the front: the end says why it died.
const LAST_WORDS_MAX: usize = 16 * 1024;

/// Writes down the outcome of an attempt to get a machine's status, and tells those who listen. `tried_at` is when the
/// attempt began. Returns the facts as they stand now.
pub async fn inventory_record(
    app: &App,
    machine: MachineId,
    tried_at: Timestamp,
    outcome: Result<Status, CallError>,
) -> Result<Facts, DbError> {
    let mut tx = app.db.write().await?;
    let before = facts_get(&mut tx, machine).await?;
    let now = app.clock.now();
    // One from the future was written before the clock was set back: it is not newer.
    if let Some(newer) = before.clone().filter(|facts| facts.tried_at > tried_at && facts.tried_at <= now) {
        // Two loops asked at once, and this is the answer to the earlier question.
        return Ok(newer);
    }
    if let (Some(before), Ok(status)) = (&before, &outcome)
        && before.instances.at(now).is_late(answer(status, tried_at))
    {
        // A process that another one has replaced since: nothing is as it says.
        return Ok(before.clone());
    }
    let facts = facts_after(before.as_ref(), tried_at, now, outcome);
    let was_cloned = before.as_ref().is_some_and(|before| before.instances.is_cloned());
    if let Some(sentence) = facts.instances.clone_sentence().filter(|_| !was_cloned) {
        tracing::warn!(machine.id = %machine, sentence, "a machine's identity was cloned");
    }
    facts_put(&mut tx, machine, &facts).await?;
    let health = Health::of(Some(&facts));
    if Health::of(before.as_ref()) != health {
        let change = HealthChange { at: tried_at, health, reason: facts.reason() };
        health_change_insert(&mut tx, machine, &change).await?;
    }
    let seen = facts.report.as_ref().map_or(0, |report| report.generation);
    let mut is_restored = false;
    if seen > generation_issued(&mut tx).await?
        && let Some(known) = machine_some(&mut tx, &[machine]).await?.first()
    {
        is_restored = restored_notice(&mut tx, known.space, &known.name, now).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    app.live.tell(Change::Machine(machine));
    if is_restored {
        app.live.tell(Change::Portal);
        app.live.poke_orchestrator();
    }
    Ok(facts)
}

/// A person says that one machine alone has the identity now. It is looked at anew: nothing that answered before counts.
pub async fn inventory_forget_clone(app: &App, machine: MachineId, who: &str, why: &str) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    let Some(before) = facts_get(&mut tx, machine).await?.filter(|facts| facts.instances.is_cloned()) else {
        return Ok(());
    };
    let facts = Facts { instances: Instances::default(), ..before };
    facts_put(&mut tx, machine, &facts).await?;
    if let Some(known) = machine_some(&mut tx, &[machine]).await?.first() {
        let why: String = why.trim().chars().take(WHY_MAX).collect();
        let line = format!("said that machine {} alone has its identity now{}", known.name, because(&why));
        let deed = Deed::new(AuditKind::Machine, AuditCategory::Modified, "TrustClone", line).by(who).on(machine);
        deed.write(&mut tx, known.space, app.now()).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    tracing::warn!(machine.id = %machine, by = who, "the clone of a machine's identity is said to be gone");
    app.live.tell(Change::Machine(machine));
    app.live.poke_orchestrator();
    Ok(())
}

/// What is known after an attempt. Pure.
fn facts_after(
    before: Option<&Facts>,
    tried_at: Timestamp,
    now: Timestamp,
    outcome: Result<Status, CallError>,
) -> Facts {
    let former = before.and_then(|facts| facts.report.clone());
    let known = before.map(|facts| facts.instances.at(now)).unwrap_or_default();
    let instances = match &outcome {
        Ok(status) => {
            let former = former.as_ref().map(|report| (report.instance_id.as_str(), report.hostname.as_str()));
            known.after(former, answer(status, tried_at), now)
        }
        Err(_) => known,
    };
    let (contact, report) = match outcome {
        Ok(status) => (Contact::Answered, Some(report(former.as_ref(), now, status))),
        Err(CallError::Untrusted { sentence }) => (Contact::Refused { reason: sentence }, former),
        Err(error) => (Contact::Silent { reason: error.to_string() }, former),
    };
    let same_kind = |facts: &&Facts| std::mem::discriminant(&facts.contact) == std::mem::discriminant(&contact);
    let contact_since = before.filter(same_kind).map_or(tried_at, |facts| facts.contact_since);
    Facts { tried_at, contact, contact_since, report, instances }
}

fn answer(status: &Status, asked_at: Timestamp) -> Answer<'_> {
    Answer { instance: status.instance_id.as_str(), hostname: &status.hostname, asked_at }
}

fn report(former: Option<&Report>, at: Timestamp, status: Status) -> Report {
    let instance_id = status.instance_id.to_string();
    let same = former.filter(|report| report.instance_id == instance_id);
    let installed = status.installed.into_iter();
    let running = status.running_work.into_iter();
    Report {
        at,
        instance_seen_at: same.map_or(at, |report| report.instance_seen_at),
        version: status.version,
        instance_id,
        started_at: Timestamp(status.started_at),
        runtime: status.runtime,
        os: status.os,
        hostname: status.hostname,
        supervisor_contract: status.supervisor_contract,
        installed: installed.map(|i| InstalledVersion { version: i.version, verdicts: i.verdicts }).collect(),
        last_words: status.last_words.map(last_part),
        free_disk_bytes: status.free_disk_bytes,
        running_work: running
            .map(|work| RunningWork {
                ticket: work.ticket.to_string(),
                description: work.description,
                since: Timestamp(work.since),
            })
            .collect(),
        generation: status.generation.min(GENERATION_MAX),
        problems: status.problems,
    }
}

fn last_part(text: String) -> String {
    let start = text.len().saturating_sub(LAST_WORDS_MAX);
    let start = (start..text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use contract::Thumbprint;

    use super::*;
    use crate::db::environments::environment_insert;
    use crate::db::machines::machine_insert;
    use crate::ids::SpaceId;
    use crate::model::{Address, Health, NewEnvironment, NewMachine};

    fn status(instance: &str) -> Status {
        Status {
            nonce: "n".into(),
            version: contract::Version::release(1, 0, 0),
            instance_id: instance.parse().unwrap(),
            started_at: 1,
            runtime: "linux-x64".into(),
            os: "Debian".into(),
            hostname: "m1".into(),
            supervisor_contract: Some(1),
            installed: Vec::new(),
            last_words: None,
            free_disk_bytes: 1,
            running_work: Vec::new(),
            generation: 0,
            problems: Vec::new(),
        }
    }

    fn silence() -> Result<Status, CallError> {
        Err(CallError::Unreachable { sentence: "no route".into() })
    }

    #[test]
    fn an_old_report_is_kept_with_its_age_while_the_machine_is_silent() {
        let first = facts_after(None, Timestamp(10), Timestamp(11), Ok(status("a")));
        let second = facts_after(Some(&first), Timestamp(20), Timestamp(25), silence());
        let third = facts_after(Some(&second), Timestamp(30), Timestamp(35), silence());
        assert_eq!(third.report.as_ref().unwrap().at, Timestamp(11));
        assert_eq!(third.contact, Contact::Silent { reason: "no route".into() });
        assert_eq!((third.tried_at, third.contact_since), (Timestamp(30), Timestamp(20)));
    }

    #[test]
    fn a_machine_that_names_no_real_generation_leaves_room_to_count() {
        let told = Status { generation: u64::MAX, ..status("a") };
        let facts = facts_after(None, Timestamp(10), Timestamp(11), Ok(told));
        assert!(facts.report.unwrap().generation.checked_add(1 << 32).is_some());
    }

    #[test]
    fn an_instance_is_known_since_it_was_first_seen() {
        let first = facts_after(None, Timestamp(10), Timestamp(11), Ok(status("a")));
        let second = facts_after(Some(&first), Timestamp(20), Timestamp(21), Ok(status("a")));
        let third = facts_after(Some(&second), Timestamp(30), Timestamp(31), Ok(status("b")));
        assert_eq!(second.report.unwrap().instance_seen_at, Timestamp(11));
        assert_eq!(third.report.unwrap().instance_seen_at, Timestamp(31));
    }

    #[tokio::test]
    async fn two_machines_with_one_identity_are_noted_and_forgotten_by_a_persons_word() {
        let app = App::for_tests().await;
        let machine = machine(&app).await;
        let answers = ["a", "b", "a", "b"];
        for instance in answers {
            let facts = inventory_record(&app, machine, app.now(), Ok(status(instance))).await.unwrap();
            assert_eq!(facts.report.unwrap().instance_id, instance);
        }
        let kept = async || facts_get(&mut app.db.read().await.unwrap(), machine).await.unwrap().unwrap();
        assert_eq!(Health::of(Some(&kept().await)), Health::Unhealthy);
        assert!(kept().await.problems()[0].contains("two machines answer with its identity"));
        inventory_record(&app, machine, app.now(), silence()).await.unwrap();
        assert!(kept().await.instances.is_cloned(), "silence ends nothing");
        inventory_forget_clone(&app, machine, "alice", "").await.unwrap();
        assert_eq!(kept().await.instances, Instances::default());
    }

    #[tokio::test]
    async fn a_late_answer_of_the_process_before_is_left_out() {
        let app = App::for_tests().await;
        let machine = machine(&app).await;
        let before = |us| Timestamp(app.now().0 - us);
        inventory_record(&app, machine, before(10), Ok(status("a"))).await.unwrap();
        // Both were asked before the new process answered.
        let late = before(5);
        for _ in 0..3 {
            inventory_record(&app, machine, late, Ok(status("b"))).await.unwrap();
            let facts = inventory_record(&app, machine, late, Ok(status("a"))).await.unwrap();
            assert_eq!(facts.report.unwrap().instance_id, "b");
            assert!(!facts.instances.is_cloned());
        }
    }

    async fn machine(app: &App) -> MachineId {
        let mut tx = app.db.write().await.unwrap();
        let environment = NewEnvironment {
            name: "Production".parse().unwrap(),
            description: String::new(),
            sort_order: None,
            is_disabled: false,
        };
        let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &environment).await.unwrap();
        let new = NewMachine {
            name: "m1".to_owned(),
            address: Address::new("127.0.0.1", 10933).unwrap(),
            thumbprint: Thumbprint([7; 32]),
            is_disabled: false,
            environments: vec![environment.id],
            roles: Vec::new(),
        };
        let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap();
        tx.commit().await.unwrap();
        machine.id
    }

    #[test]
    fn a_wrong_certificate_is_not_silence() {
        let refused = Err(CallError::Untrusted { sentence: "shows another certificate".into() });
        let facts = facts_after(None, Timestamp(1), Timestamp(2), refused);
        assert_eq!(facts.contact, Contact::Refused { reason: "shows another certificate".into() });
    }

    #[test]
    fn long_last_words_keep_their_end() {
        let text = format!("{}é the end", "x".repeat(LAST_WORDS_MAX));
        let kept = last_part(text);
        assert!(kept.len() <= LAST_WORDS_MAX && kept.ends_with("é the end"));
    }
}
