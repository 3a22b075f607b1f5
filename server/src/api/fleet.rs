//! What several resources need at once: the machines of a space beside what is known of them, read in one go.

use std::collections::HashMap;

use contract::Version;

use crate::app::App;
use crate::clock::Timestamp;
use crate::db::facts::{facts_get, facts_list};
use crate::db::machine_holds::{hold_get, hold_list};
use crate::db::machines::{machine_get, machine_list};
use crate::db::rollouts::{rollout_in_flight, rollout_machines_live};
use crate::error::ApiError;
use crate::ids::{MachineId, RolloutId, SpaceId};
use crate::model::{Contact, Facts, Health, Machine, VersionState};
use crate::rollout::hindrance::Hold;
use crate::rollout::look::{why_of, whys};
use crate::rollout::why::Why;

/// A machine beside what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub machine: Machine,
    pub facts: Option<Facts>,
    /// The rollout that has it in flight.
    pub rollout: Option<RolloutId>,
    pub version: VersionState,
    /// A person said that it is not to be upgraded.
    pub hold: Option<Hold>,
    /// Why it is not upgraded.
    pub why: Why,
}

/// All machines of a space, by name.
pub(super) async fn fleet(app: &App, space: SpaceId) -> Result<Vec<Seen>, ApiError> {
    let mut conn = app.db.read().await?;
    let machines = machine_list(&mut conn, space).await?;
    let mut facts = facts_list(&mut conn, space).await?;
    let live = rollout_machines_live(&mut conn, space).await?;
    let mut in_flight: HashMap<MachineId, RolloutId> = live
        .into_iter()
        .filter(|(_, place)| place.machine.phase.kind().is_in_flight())
        .map(|(id, place)| (id, place.rollout))
        .collect();
    let mut holds = hold_list(&mut conn, space, app.now()).await?;
    let known: Vec<_> = machines.iter().map(|machine| (machine, facts.get(&machine.id))).collect();
    let mut whys = whys(app, &mut conn, space, &known).await?;
    let see = |machine: Machine| {
        let facts = facts.remove(&machine.id);
        let rollout = in_flight.remove(&machine.id);
        let version = version_state(app, facts.as_ref());
        let hold = holds.remove(&machine.id);
        let why = whys.remove(&machine.id).unwrap_or(Why::NeverAsked);
        Seen { machine, facts, rollout, version, hold, why }
    };
    Ok(machines.into_iter().map(see).collect())
}

/// One machine; 404 where there is none.
pub(super) async fn seen(app: &App, space: SpaceId, id: MachineId) -> Result<Seen, ApiError> {
    let mut conn = app.db.read().await?;
    let machine = machine_get(&mut conn, space, id).await?;
    let machine = machine.ok_or_else(|| ApiError::not_found(format!("The machine {id}")))?;
    let facts = facts_get(&mut conn, id).await?;
    let rollout = rollout_in_flight(&mut conn, id).await?;
    let version = version_state(app, facts.as_ref());
    let hold = hold_get(&mut conn, id, app.now()).await?;
    let why = why_of(app, &mut conn, &machine, facts.as_ref()).await?;
    Ok(Seen { machine, facts, rollout, version, hold, why })
}

fn version_state(app: &App, facts: Option<&Facts>) -> VersionState {
    let report = facts.and_then(|facts| facts.report.as_ref());
    let bundled = report.and_then(|report| app.bundle.package(&report.runtime)).map(|package| &package.version);
    VersionState::of(report.map(|report| &report.version), bundled)
}

impl Seen {
    pub(super) fn reported_version(&self) -> Option<&Version> {
        self.facts.as_ref()?.report.as_ref().map(|report| &report.version)
    }

    /// `Online`, `Offline`, `Unknown`, `NeedsUpgrade` or `Disabled`.
    pub(super) fn status(&self) -> &'static str {
        match &self.facts {
            _ if self.machine.is_disabled => "Disabled",
            None => "Unknown",
            Some(Facts { contact: Contact::Answered, .. }) if self.can_be_upgraded() => "NeedsUpgrade",
            Some(Facts { contact: Contact::Answered, .. }) => "Online",
            Some(_) => "Offline",
        }
    }

    /// `Healthy`, `Unhealthy`, `Unavailable` or `Unknown`.
    pub(super) fn health_status(&self) -> &'static str {
        match Health::of(self.facts.as_ref()) {
            Health::Healthy => "Healthy",
            Health::Unhealthy => "Unhealthy",
            Health::Unavailable => "Unavailable",
            Health::Unknown => "Unknown",
        }
    }

    pub(super) fn can_be_upgraded(&self) -> bool {
        self.version == VersionState::UpgradeAvailable
    }

    /// True where an upgrade would be begun if somebody asked for it, as soon as the machine can be reached.
    pub(super) fn upgrade_is_suggested(&self) -> bool {
        let stays = matches!(
            self.why,
            Why::Hindered { .. }
                | Why::Unsupervised
                | Why::Disabled
                | Why::EnvironmentsDisabled
                | Why::Upgrading { .. }
        );
        self.can_be_upgraded() && self.hold.is_none() && !stays
    }

    /// Everything in one sentence, with the age of what is known.
    pub(super) fn summary(&self, now: Timestamp) -> String {
        let Some(facts) = &self.facts else { return "The portal has not tried to reach it yet.".to_owned() };
        let tried = age(now, facts.tried_at);
        let last = match &facts.report {
            Some(report) => format!("It last reported {} {}.", report.version, age(now, report.at)),
            None => "It never reported.".to_owned(),
        };
        let problems = facts.problems();
        match (&facts.contact, &facts.report) {
            (Contact::Answered, Some(report)) if problems.is_empty() => {
                format!("It answered {tried}, runs {} and is healthy.", report.version)
            }
            (Contact::Answered, Some(report)) => {
                format!("It answered {tried}, runs {} and has problems: {}", report.version, problems.join(" "))
            }
            (Contact::Answered, None) => format!("It answered {tried}."),
            (Contact::Silent { reason }, _) => format!("It could not be reached {tried}: {} {last}", ended(reason)),
            (Contact::Refused { reason }, _) => format!("It was not spoken to {tried}: {} {last}", ended(reason)),
        }
    }
}

fn ended(reason: &str) -> String {
    if reason.ends_with('.') { reason.to_owned() } else { format!("{reason}.") }
}

/// How long ago it was: `12 s ago`, `3 min ago`, `5 h ago`, `9 days ago`.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    match now.since(then).as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}
