//! A machine as a list shows it: what people said of it, and the few words of its facts that a row has room for. Pure.

use contract::Version;

use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId};
use crate::model::{Facts, Health, Machine};

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The machine.
    pub id: MachineId,
    /// Its name.
    pub name: String,
    /// It is shown, but not checked, upgraded or deployed to.
    pub is_disabled: bool,
    /// The environments it belongs to, in their order.
    pub environments: Vec<EnvironmentId>,
    /// Its roles, in alphabetical order.
    pub roles: Vec<String>,
    /// How it is.
    pub health: Health,
    /// Why it is so, in a sentence; empty where the word says it all.
    pub health_reason: String,
    /// What it ran when it last answered.
    pub version: Option<Version>,
    /// Its runtime, in .NET's words.
    pub runtime: Option<String>,
    /// When it last answered.
    pub seen: Option<Timestamp>,
}

impl Brief {
    /// What a row shows of a machine of which everything is known.
    pub fn of(machine: &Machine, facts: Option<&Facts>) -> Self {
        let report = facts.and_then(|facts| facts.report.as_ref());
        Self {
            id: machine.id,
            name: machine.name.clone(),
            is_disabled: machine.is_disabled,
            environments: machine.environments.clone(),
            roles: machine.roles.clone(),
            health: Health::of(facts),
            health_reason: facts.map(Facts::reason).unwrap_or_default(),
            version: report.map(|report| report.version.clone()),
            runtime: report.map(|report| report.runtime.clone()),
            seen: report.map(|report| report.at),
        }
    }
}
