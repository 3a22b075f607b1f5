//! What a machine's page shows. Built by a pure function; used by the page and by its live stream.

use askama::Template;
use contract::{Rejection, Verdicts};

use crate::clock::Timestamp;
use crate::db::health_changes::HealthChange;
use crate::db::machine_past::{Deed, Past};
use crate::db::rollout_events::Event;
use crate::ids::EnvironmentId;
use crate::model::{Brief, Facts, Machine, Report};
use crate::pages::environments::view::{Row, Truth, row_of};
use crate::pages::live::WholeView;
use crate::pages::sentence;
use crate::pages::view::{self as words, Status};
use crate::rollout::hindrance::Hold;

/// What a machine said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReportView {
    /// Its installed versions, newest first, each with the verdict on it.
    pub installed: Vec<(String, String)>,
    /// The process that answered.
    pub instance_id: String,
    /// When that began, by the machine's clock.
    pub started_at: Timestamp,
    /// The revision of the contract with Suction Cup.
    pub supervisor_contract: Option<u32>,
    /// The machine's own name.
    pub hostname: String,
    /// Its operating system.
    pub os: String,
    /// Its runtime.
    pub runtime: String,
    /// In bytes.
    pub free_disk_bytes: u64,
    /// What it does, and since when by its own clock.
    pub work: Vec<(String, Timestamp)>,
    /// How the process before this one ended.
    pub last_words: Option<String>,
}

/// The page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MachineView {
    /// What its row on the environments page shows.
    pub row: Row,
    /// Its environments with their names.
    pub environments: Vec<(EnvironmentId, String)>,
    /// Host and port.
    pub address: String,
    /// The same as the REST API writes it.
    pub uri: String,
    /// In groups of four digits.
    pub thumbprint: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// Since when its health is as it is.
    pub contact_since: Option<Timestamp>,
    /// That two machines answer with its identity, in a sentence; empty where nothing says so.
    pub cloned: String,
    /// When it was last asked.
    pub tried_at: Option<Timestamp>,
    /// What it last said.
    pub report: Option<ReportView>,
    /// A person said that it is not to be upgraded.
    pub hold: Option<Hold>,
    /// Why it is not upgraded, in a sentence.
    pub why: String,
    /// What was around it.
    pub around: Around,
}

/// What happened to a machine before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Around {
    /// What people did with it, newest first.
    pub events: Vec<Event>,
    /// How its health changed, newest first.
    pub health: Vec<HealthChange>,
    /// Its newest upgrades and deployments.
    pub past: Vec<Past>,
    /// How many there are in all.
    pub past_total: u64,
    /// It answered with another certificate than the one that is pinned, or the way to it was refused otherwise.
    pub is_refused: bool,
}

/// The verdicts on a version, in words.
fn verdict_word(verdicts: Verdicts) -> String {
    let word = match (verdicts.proven, verdicts.rejected) {
        (true, _) => "proven".to_owned(),
        (false, Some(Rejection::Crashed)) => "rejected: it crashed".to_owned(),
        (false, Some(Rejection::Unstartable)) => "rejected: it could not be started".to_owned(),
        (false, Some(Rejection::Unconfirmed)) => "rejected: nobody confirmed it in time".to_owned(),
        (false, None) if verdicts.launches > 0 => format!("on probation, launch {}", verdicts.launches),
        (false, None) => "not proven yet".to_owned(),
    };
    if verdicts.withdrawn { format!("{word}, withdrawn") } else { word }
}

fn report_view(report: &Report) -> ReportView {
    let installed = report.installed.iter().map(|i| (i.version.to_string(), verdict_word(i.verdicts)));
    ReportView {
        installed: installed.collect(),
        instance_id: report.instance_id.clone(),
        started_at: report.started_at,
        supervisor_contract: report.supervisor_contract,
        hostname: report.hostname.clone(),
        os: report.os.clone(),
        runtime: report.runtime.clone(),
        free_disk_bytes: report.free_disk_bytes,
        work: report.running_work.iter().map(|work| (work.description.clone(), work.since)).collect(),
        last_words: report.last_words.clone(),
    }
}

/// The page of one machine. `why` is the answer to why it is not upgraded; `truth` need not tell of any other machine.
pub fn machine_view(truth: &Truth, machine: &Machine, facts: Option<&Facts>, why: &str, around: Around) -> MachineView {
    let name = |id: &EnvironmentId| truth.environments.iter().find(|e| e.id == *id).map(|e| (e.id, e.name.to_string()));
    MachineView {
        row: row_of(&Brief::of(machine, facts), truth),
        environments: machine.environments.iter().filter_map(name).collect(),
        address: machine.address.to_string(),
        uri: machine.address.uri(),
        thumbprint: words::grouped(&machine.thumbprint),
        created_at: machine.created_at,
        contact_since: facts.map(|facts| facts.contact_since),
        cloned: facts.and_then(|facts| facts.instances.clone_sentence()).map(|how| sentence(&how)).unwrap_or_default(),
        tried_at: facts.map(|facts| facts.tried_at),
        report: facts.and_then(|facts| facts.report.as_ref()).map(report_view),
        hold: truth.holds.get(&machine.id).cloned(),
        why: sentence(why),
        around,
    }
}

#[derive(Template)]
#[template(path = "machines/region.html")]
struct Region<'a> {
    view: &'a MachineView,
    now: &'a Timestamp,
}

impl WholeView for MachineView {
    const REGION: &'static str = "machine";

    fn render(&self, now: Timestamp) -> askama::Result<String> {
        Region { view: self, now: &now }.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_its_words() {
        let verdicts = Verdicts { proven: true, rejected: Some(Rejection::Crashed), ..Verdicts::default() };
        assert_eq!(verdict_word(verdicts), "proven");
        let verdicts = Verdicts { rejected: Some(Rejection::Unconfirmed), ..Verdicts::default() };
        assert_eq!(verdict_word(verdicts), "rejected: nobody confirmed it in time");
        let verdicts = Verdicts { withdrawn: true, launches: 2, ..Verdicts::default() };
        assert_eq!(verdict_word(verdicts), "on probation, launch 2, withdrawn");
    }
}
