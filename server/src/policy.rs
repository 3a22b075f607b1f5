//! The machine policy of a space: how often machines are asked and how long each phase of an upgrade may take. What people
//! set holds over what the portal was started with. The loops ask [`App::deadlines`] and [`App::health_interval`] at every
//! step, so a change holds from the next step on; a deadline that was written down already stays.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::App;
use crate::audit::Deed;
use crate::db::space_settings::{space_setting_list, space_setting_put};
use crate::db::spaces::space_ids;
use crate::db::{Connection, DbError};
use crate::ids::SpaceId;
use crate::model::{AuditCategory, AuditKind};
use crate::rollout::state::Deadlines;

/// One of the things that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Knob {
    /// How often each machine is asked how it is.
    HealthInterval,
    /// See [`Deadlines::checking`].
    Checking,
    /// See [`Deadlines::uploading`].
    Uploading,
    /// See [`Deadlines::installing`].
    Installing,
    /// See [`Deadlines::restarting`].
    Restarting,
    /// See [`Deadlines::proving`].
    Proving,
    /// See [`Deadlines::proving_time`].
    ProvingTime,
    /// See [`Deadlines::drain`].
    Drain,
    /// See [`Deadlines::soak`].
    Soak,
}

impl Knob {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 9] = [
        Self::HealthInterval,
        Self::Checking,
        Self::Uploading,
        Self::Installing,
        Self::Restarting,
        Self::Proving,
        Self::ProvingTime,
        Self::Drain,
        Self::Soak,
    ];

    /// Its name in the database and in the form.
    pub fn name(self) -> &'static str {
        match self {
            Self::HealthInterval => "health_interval_s",
            Self::Checking => "checking_s",
            Self::Uploading => "uploading_s",
            Self::Installing => "installing_s",
            Self::Restarting => "restarting_s",
            Self::Proving => "proving_s",
            Self::ProvingTime => "proving_time_s",
            Self::Drain => "drain_s",
            Self::Soak => "soak_s",
        }
    }

    /// The least and the most, in seconds. What is outside is refused: less would fail sound machines, and more would hide
    /// those that are not.
    pub fn bounds(self) -> (u64, u64) {
        match self {
            Self::HealthInterval => (5, 24 * 3600),
            Self::Checking => (5, 3600),
            Self::Uploading | Self::Installing => (30, 24 * 3600),
            Self::Restarting => (10, 3600),
            Self::Proving => (30, 24 * 3600),
            Self::ProvingTime => (5, 3600),
            Self::Drain => (0, 24 * 3600),
            Self::Soak => (0, 7 * 24 * 3600),
        }
    }

    fn of(self, deadlines: &mut Deadlines) -> Option<&mut Duration> {
        match self {
            Self::HealthInterval => None,
            Self::Checking => Some(&mut deadlines.checking),
            Self::Uploading => Some(&mut deadlines.uploading),
            Self::Installing => Some(&mut deadlines.installing),
            Self::Restarting => Some(&mut deadlines.restarting),
            Self::Proving => Some(&mut deadlines.proving),
            Self::ProvingTime => Some(&mut deadlines.proving_time),
            Self::Drain => Some(&mut deadlines.drain),
            Self::Soak => Some(&mut deadlines.soak),
        }
    }
}

/// What people set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachinePolicy(BTreeMap<Knob, Duration>);

impl MachinePolicy {
    /// The policy that sets these.
    pub fn new(set: impl IntoIterator<Item = (Knob, Duration)>) -> Self {
        Self(set.into_iter().collect())
    }

    /// What is set.
    pub fn get(&self, knob: Knob) -> Option<Duration> {
        self.0.get(&knob).copied()
    }

    /// These deadlines with what is set. Transfers that keep a pace are given the time that needs all the same.
    pub fn over(&self, configured: Deadlines) -> Deadlines {
        let mut deadlines = configured;
        for (knob, value) in &self.0 {
            if let Some(deadline) = knob.of(&mut deadlines) {
                *deadline = *value;
            }
        }
        if deadlines.transfers.is_some() {
            deadlines.uploading = deadlines.uploading.max(configured.uploading);
        }
        deadlines
    }

    /// Why it cannot be, over these deadlines.
    pub fn problem(&self, configured: Deadlines) -> Option<String> {
        for (knob, value) in &self.0 {
            let (least, most) = knob.bounds();
            if !(least..=most).contains(&value.as_secs()) {
                return Some(format!("{} must be between {least} and {most} seconds", knob.label()));
            }
        }
        let deadlines = self.over(configured);
        if deadlines.proving <= deadlines.proving_time {
            return Some("the deadline for proving must be longer than the time a new process must be well".to_owned());
        }
        let drained = deadlines.installing > deadlines.drain;
        (!drained).then(|| "the deadline for installing must be longer than running work may go on".to_owned())
    }

    /// As the trail keeps it: seconds by name, nothing where what was configured holds.
    fn state(&self) -> Value {
        Knob::ALL
            .into_iter()
            .map(|knob| (knob.name().to_owned(), json!(self.get(knob).map(|set| set.as_secs()))))
            .collect()
    }

    async fn load(conn: &mut Connection, space: SpaceId) -> Result<Self, DbError> {
        let all = space_setting_list(conn, space).await?;
        let seconds = |knob: Knob| Some((knob, Duration::from_secs(u64::try_from(*all.get(knob.name())?).ok()?)));
        Ok(Self::new(Knob::ALL.into_iter().filter_map(seconds)))
    }
}

impl Knob {
    /// What it is, as a label says it.
    pub fn label(self) -> &'static str {
        match self {
            Self::HealthInterval => "Ask each machine how it is every",
            Self::Checking => "To answer at all",
            Self::Uploading => "To receive the package",
            Self::Installing => "To finish running work and unpack",
            Self::Restarting => "To come back as a new process",
            Self::Proving => "To become proven",
            Self::ProvingTime => "A new process must be well for",
            Self::Drain => "Running work may go on for",
            Self::Soak => "The next wave waits for",
        }
    }

    /// What happens then, in a sentence.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::HealthInterval => "A machine that falls silent is noticed after this long at the latest.",
            Self::Checking => "Then the machine waits as offline, which counts as no failure.",
            Self::Uploading => "Then it waits as offline if it is silent, and has failed otherwise.",
            Self::Installing | Self::Restarting | Self::Proving => {
                "Then it is lost if it is silent, and has failed otherwise."
            }
            Self::ProvingTime => "Then it is confirmed, and the machine is upgraded.",
            Self::Drain => "Then the upgrade of that machine is put off.",
            Self::Soak => "After the last machine of a wave was proven, where its strategy says nothing else.",
        }
    }
}

/// What people set in each space; a space in which nobody set anything is not among them.
pub type MachinePolicies = BTreeMap<SpaceId, MachinePolicy>;

impl App {
    /// The deadlines of a space's rollouts, as they hold now.
    pub fn deadlines(&self, space: SpaceId) -> Deadlines {
        self.machine_policy(space).over(self.rollout)
    }

    /// What people set in a space.
    pub fn machine_policy(&self, space: SpaceId) -> MachinePolicy {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).get(&space).cloned().unwrap_or_default()
    }

    /// How often each machine of a space is asked how it is, as it holds now.
    pub fn health_interval(&self, space: SpaceId) -> Duration {
        self.machine_policy(space).get(Knob::HealthInterval).unwrap_or(self.health_interval)
    }
}

impl Knob {
    /// What the portal was started with.
    pub fn configured(self, app: &App) -> Duration {
        let mut deadlines = app.rollout;
        self.of(&mut deadlines).map_or(app.health_interval, |deadline| *deadline)
    }
}

/// Reads what was set. Asked at the start, before any loop runs.
pub async fn machine_policy_load(app: &App) -> Result<(), DbError> {
    let mut conn = app.db.read().await?;
    let mut policies = MachinePolicies::new();
    for space in space_ids(&mut conn).await? {
        policies.insert(space, MachinePolicy::load(&mut conn, space).await?);
    }
    *app.policy.write().unwrap_or_else(PoisonError::into_inner) = policies;
    Ok(())
}

/// Forgets what was set in a space that is gone.
pub fn machine_policy_forget(app: &App, space: SpaceId) {
    app.policy.write().unwrap_or_else(PoisonError::into_inner).remove(&space);
}

/// Writes down what is set, all of it, and lets it hold in the space from now on.
pub async fn machine_policy_save(app: &App, space: SpaceId, policy: MachinePolicy) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    let before = MachinePolicy::load(&mut tx, space).await?;
    let line = "changed the machine policy";
    let deed = Deed::new(AuditKind::Setting, AuditCategory::Modified, "Policy", line).on(space);
    let deed = deed.changed(before.state(), policy.state());
    if !deed.changes_nothing() {
        deed.write(&mut tx, space, app.now()).await?;
    }
    for knob in Knob::ALL {
        let seconds = policy.get(knob).map(|value| i64::try_from(value.as_secs()).unwrap_or(i64::MAX));
        space_setting_put(&mut tx, space, knob.name(), seconds).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    app.policy.write().unwrap_or_else(PoisonError::into_inner).insert(space, policy);
    app.live.poke_orchestrator();
    app.live.poke_health();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NewSpace, TaskQueue};
    use crate::spaces::space_add;

    const HERE: SpaceId = SpaceId(2);

    #[tokio::test]
    async fn what_is_set_holds_at_once_and_after_a_restart_and_the_rest_is_as_configured() {
        let app = App::for_tests().await;
        let elsewhere = (app.deadlines(SpaceId::DEFAULT), app.health_interval(SpaceId::DEFAULT));
        let new = NewSpace { name: "x".into(), slug: None, description: String::new(), queue: TaskQueue::Runs };
        assert_eq!(space_add(&app, &new).await.unwrap().id, HERE);
        let (before, interval) = (app.deadlines(HERE), app.health_interval(HERE));
        let set = [(Knob::Checking, Duration::from_secs(77)), (Knob::HealthInterval, Duration::from_secs(300))];
        machine_policy_save(&app, HERE, MachinePolicy::new(set)).await.unwrap();
        let expected = Deadlines { checking: Duration::from_secs(77), ..before };
        assert_eq!((app.deadlines(HERE), app.health_interval(HERE)), (expected, Duration::from_secs(300)));

        let untouched = (app.deadlines(SpaceId::DEFAULT), app.health_interval(SpaceId::DEFAULT));
        assert_eq!(untouched, elsewhere, "it holds in its own space");

        let again = app.with(|_| {});
        assert_eq!(again.deadlines(HERE), before, "nothing was read yet");
        machine_policy_load(&again).await.unwrap();
        assert_eq!((again.deadlines(HERE), again.health_interval(HERE)), (expected, Duration::from_secs(300)));
        machine_policy_save(&again, HERE, MachinePolicy::default()).await.unwrap();
        assert_eq!((again.deadlines(HERE), again.health_interval(HERE)), (before, interval));
    }

    #[test]
    fn what_would_fail_every_machine_is_refused() {
        let problem =
            |knob, seconds| MachinePolicy::new([(knob, Duration::from_secs(seconds))]).problem(Deadlines::default());
        assert_eq!(problem(Knob::Checking, 30), None);
        assert!(problem(Knob::Checking, 1).unwrap().contains("between 5 and 3600"));
        assert!(problem(Knob::ProvingTime, 600).unwrap().contains("longer than the time"));
        assert!(problem(Knob::Drain, 3600).unwrap().contains("running work"));
        for knob in Knob::ALL {
            let (_, most) = knob.bounds();
            assert!(problem(knob, most + 1).is_some(), "{knob:?}");
        }
    }

    #[test]
    fn transfers_that_keep_a_pace_keep_their_time() {
        let paced = Deadlines::default().paced(Some(1024), 100 << 20);
        let policy = MachinePolicy::new([(Knob::Uploading, Duration::from_secs(60))]);
        assert_eq!(policy.over(paced).uploading, paced.uploading);
        assert_eq!(policy.over(Deadlines::default()).uploading, Duration::from_secs(60));
    }
}
