//! Whether a demo's upgrade went as it must: asked of the portal, of the disks and of the processes.

use anyhow::Context as _;
use contract::Rejection;

use super::Break;
use super::fleet::Fleet;
use super::report::{Report, Row};
use super::watch::Watched;
use crate::api::RolloutMachine;
use crate::machine::Machine;
use crate::packages::Flavor;

/// Compares what is with what must be. What is wrong stands in the report's complaints.
pub(super) async fn judge(fleet: &Fleet, watched: &Watched, broken: Option<Break>) -> anyhow::Result<Report> {
    let mut report = Report::new(watched.took, broken.is_some());
    for machine in &fleet.machines {
        let told = watched.rollout.machine(machine.name())?;
        let seen = watched.machines.get(machine.name()).context("a machine was not watched")?;
        let judge = Judge { fleet, machine, told, pid_before: seen.pid_before, complaints: Vec::new() };
        let complaints = match broken {
            None => judge.upgraded().await?,
            Some(_) if told.phase == "Waiting" => judge.untouched()?,
            Some(how) => judge.fell_back(how).await?,
        };
        report.complaints.extend(complaints);
        report.rows.push(Row {
            name: machine.name().to_owned(),
            from: fleet.from.to_string(),
            now: machine.running_version().map_or_else(|| "nothing".to_owned(), |version| version.to_string()),
            phase: told.phase.clone(),
            reason: told.reason.clone(),
            commanded_for: seen.commanded_for,
            port_closed: seen.port_closed,
        });
    }
    let rollout = &watched.rollout;
    if broken.is_some() {
        let touched = report.rows.iter().filter(|row| row.phase != "Waiting").count();
        let allowed = rollout.failure_budget.max(1) as usize;
        report.check(touched <= allowed, || format!("{touched} machines were touched; at most {allowed} may be"));
        report.check(touched > 0, || "no machine was touched, so nothing was shown".to_owned());
        report.check(rollout.state == "Paused" || rollout.state == "CompletedWithFailures", || {
            format!("the portal says that the rollout is {}, and it failed", rollout.state)
        });
        report.state = format!("{}: {}", rollout.state, rollout.state_reason);
    } else {
        report.check(rollout.state == "Completed", || format!("the rollout is {}: {}", rollout.state, rollout.summary));
        report.state = format!("{}: {}", rollout.state, rollout.summary);
    }
    Ok(report)
}

struct Judge<'a> {
    fleet: &'a Fleet,
    machine: &'a Machine,
    told: &'a RolloutMachine,
    pid_before: Option<u32>,
    complaints: Vec<String>,
}

impl Judge<'_> {
    fn check(&mut self, good: bool, complaint: impl FnOnce() -> String) {
        if !good {
            self.complaints.push(format!("{}: {}", self.machine.name(), complaint()));
        }
    }

    /// It runs the target, it is proven there, and the portal says both.
    async fn upgraded(mut self) -> anyhow::Result<Vec<String>> {
        let (to, told) = (&self.fleet.to, self.told);
        self.check(told.phase == "Upgraded", || format!("the portal says {}: {}", told.phase, told.reason));
        self.check(self.machine.verdicts(to).proven, || format!("{to} is not proven on its disk"));
        self.runs(to);
        self.portal_says(to).await?;
        Ok(self.complaints)
    }

    /// It was touched and is back, Suction Cup says why on the disk, and the portal says the same.
    async fn fell_back(mut self, how: Break) -> anyhow::Result<Vec<String>> {
        let (from, to, told) = (&self.fleet.from, &self.fleet.to, self.told);
        self.check(told.phase == "FellBack", || format!("the portal says {}: {}", told.phase, told.reason));
        let (rejection, word) = match how {
            Break::Crash => (Rejection::Crashed, Flavor::CRASH_WORDS),
            Break::Hang | Break::Mute => (Rejection::Unconfirmed, "confirm"),
        };
        self.check(told.reason.contains(word), || format!("the portal's reason lacks \"{word}\": {}", told.reason));
        let verdicts = self.machine.verdicts(to);
        self.check(verdicts.rejected == Some(rejection), || format!("{to} is not {} on its disk", rejection.word()));
        self.check(!verdicts.proven, || format!("{to} is proven on its disk"));
        self.runs(from);
        self.portal_says(from).await?;
        Ok(self.complaints)
    }

    /// Nothing was ever commanded: the same process runs, and the newer version is not on the disk.
    fn untouched(mut self) -> anyhow::Result<Vec<String>> {
        let (from, to, machine) = (&self.fleet.from, &self.fleet.to, self.machine);
        self.runs(from);
        self.check(self.pid_before.is_some() && machine.tentacle_pid() == self.pid_before, || {
            "its Tentacle was started again".to_owned()
        });
        let installed = machine.home().installed_tentacles()?;
        self.check(installed == [from.clone()], || format!("it has {installed:?} installed"));
        self.check(machine.verdicts(to) == Default::default(), || format!("there is a verdict on {to}"));
        Ok(self.complaints)
    }

    fn runs(&mut self, version: &contract::Version) {
        let running = self.machine.running_version();
        self.check(running.as_ref() == Some(version), || format!("it runs {running:?} and not {version}"));
    }

    async fn portal_says(&mut self, version: &contract::Version) -> anyhow::Result<()> {
        let said = self.fleet.portal.api()?.machine_version(self.machine.name()).await?;
        self.check(said.as_ref() == Some(version), || format!("the portal shows {said:?} and not {version}"));
        Ok(())
    }
}
