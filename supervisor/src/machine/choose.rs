//! The part of the machine between an end and the next launch: judge the end, choose, wait, count, launch.

use std::time::Duration;

use contract::{Rejection, Version};

use super::state::{Attempt, Before, Effect, Fault, State, Survey};
use super::{Machine, seconds};
use crate::restart::{Restart, restart};
use crate::select::{Installed, is_on_probation, select, stand_in};

/// The first back-off after a failure that is the machine's. It doubles up to [`BACK_OFF_MAX`].
const BACK_OFF_MIN: Duration = Duration::from_millis(10);

/// The longest back-off after a failure that is the machine's: so late at most is a launch when the failure is over.
const BACK_OFF_MAX: Duration = Duration::from_millis(900);

/// How often is looked for a version while there is none that can be run: less than one wake-up in a second.
const NO_VERSION_POLL: Duration = Duration::from_secs(2);

/// Looks in a row that found no version, between two times that the bundled package is tried again; before that it is
/// tried after one look, two, four and so on. So long at most is the next try when a full disk has room again.
const BUNDLE_LOOKS_MAX: u32 = 128;

/// Readings in a row that may fail. After that the decision is made with what could be read.
const SURVEY_FAILURES_MAX: u32 = 5;

/// Launches in a row that may find the program open for writing. After that the next version is launched instead.
const BUSY_FAILURES_MAX: u32 = 20;

/// How long after the former end the launches of a version on probation come. The last holds for all further ones.
const PROBATION_PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4)];

impl Machine {
    /// Decides what to launch, and when.
    pub(super) fn choose(
        &mut self,
        before: Before,
        attempt: Attempt,
        survey: Survey,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) -> State {
        let nothing_read = survey.versions_fault.is_some() && survey.versions.is_empty();
        let fault = survey.versions_fault.as_ref().or(survey.marks_fault.as_ref());
        if let Some(why) = fault.filter(|_| nothing_read || attempt.failures < SURVEY_FAILURES_MAX) {
            return back_off(before, attempt, now, format!("cannot read what is installed ({why})"), effects);
        }
        if matches!(&before, Before::Ended { ran, .. } if *ran >= self.settings.crash_window) {
            // What could not be run long ago may be mended by now.
            self.forget_skips();
        }
        let tried = match &before {
            Before::Unstartable { version, .. } => self.versions.iter().find(|one| one.version == *version).cloned(),
            _ => None,
        };
        self.remember(survey);
        if let (Before::Unstartable { why, .. }, Some(tried)) = (&before, tried) {
            self.skip_unstartable(&tried, why, effects);
        }
        let Some(chosen) = self.choose_version(&attempt, effects) else {
            return self.no_version(&before, attempt, now, effects);
        };
        let changed = self.chosen.as_ref() != Some(&chosen);
        if changed {
            self.history.clear();
            self.chosen = Some(chosen.clone());
        }
        let (until, target) = self.judge(&before, chosen, changed);
        let until = until.max(self.starts.not_before(&self.settings)).filter(|until| now <= *until);
        let heading = self.heading(&before, &attempt, &target);
        if let Some(until) = until {
            let delay = until.saturating_sub(now);
            self.say_launching(heading, &target, &format!(" in {}", seconds(delay)), effects);
            return State::Waiting { until, before: Before::Nothing, attempt };
        }
        if is_on_probation(&self.versions, &target) && attempt.counted.as_ref() != Some(&target) {
            return State::Counting { version: target, heading, attempt };
        }
        self.say_launching(heading, &target, "", effects);
        State::Launching { version: target, attempt }
    }

    /// Takes in what was read. Marks that could not be read are taken to be as they were.
    pub(super) fn remember(&mut self, survey: Survey) {
        let mut versions = survey.versions;
        if survey.marks_fault.is_some() {
            for one in &mut versions {
                let same = |old: &&Installed| old.version == one.version && old.folder == one.folder;
                let Some(old) = self.versions.iter().find(same) else { continue };
                one.proven |= old.proven;
                one.rejected |= old.rejected;
                one.withdrawn |= old.withdrawn;
                one.launches = one.launches.max(old.launches.saturating_sub(self.memory.launches(old)));
            }
        }
        self.memory.merge(&mut versions, survey.versions_fault.is_none(), survey.marks_fault.is_none());
        self.versions = versions;
    }

    /// The program could not be run: an unproven version is rejected, any is skipped. One that was deleted or installed
    /// anew meanwhile gets no verdict, because nothing is known against it.
    fn skip_unstartable(&mut self, tried: &Installed, why: &str, effects: &mut Vec<Effect>) {
        let same = |one: &&mut Installed| one.version == tried.version && one.folder == tried.folder;
        let Some(one) = self.versions.iter_mut().find(same) else { return };
        one.skipped = true;
        self.memory.skip(one);
        if !one.proven && !one.rejected {
            self.reject(&tried.version, Rejection::Unstartable, format!("Its program cannot be run: {why}."), effects);
        }
    }

    /// What could not be run counts as there again, for the coming choices and for this one.
    fn forget_skips(&mut self) {
        self.memory.forget_skips();
        self.versions.iter_mut().for_each(|one| one.skipped = false);
    }

    /// Selects; a version on probation that has had all its launches is rejected here, whether it ended or the power
    /// went, and the next one is selected.
    fn choose_version(&mut self, attempt: &Attempt, effects: &mut Vec<Effect>) -> Option<Version> {
        // Each turn rejects one version, so there cannot be more turns than versions.
        for _ in 0..self.versions.len() {
            let one = select(&self.versions)?;
            let version = one.version.clone();
            let used_up = one.launches >= self.settings.probation_launches
                && attempt.counted.as_ref() != Some(&version)
                && is_on_probation(&self.versions, &version);
            if !used_up {
                return Some(version);
            }
            let sentence = format!("It was launched {} times and never became proven.", one.launches);
            self.reject(&version, Rejection::Crashed, sentence, effects);
        }
        select(&self.versions).map(|one| one.version.clone())
    }

    /// Until when to wait, and for which version: the chosen one or a stand-in. An end after which another version is
    /// chosen is an upgrade and is never counted.
    fn judge(&mut self, before: &Before, chosen: Version, changed: bool) -> (Option<Duration>, Version) {
        let mut until = None;
        if let Before::Ended { ran, at, .. } = before
            && !changed
            && let Restart::After(delay) = restart(*ran, &mut self.history, &self.settings, *at)
        {
            until = Some(at.saturating_add(delay));
            if self.history.turn().is_some() {
                // Nothing that could be run is of any use, so that what could not be run gets another try.
                self.forget_skips();
            }
        }
        let stand_in = self.history.turn().and_then(|turn| stand_in(&self.versions, turn));
        let target = stand_in.map_or(chosen, |one| one.version.clone());
        if let Before::Ended { version, at, .. } = before
            && *version == target
            && is_on_probation(&self.versions, &target)
        {
            let launches = self.versions.iter().find(|one| one.version == target).map_or(0, |one| one.launches);
            let place = usize::try_from(launches).unwrap_or(usize::MAX).min(PROBATION_PAUSES.len() - 1);
            let pause = PROBATION_PAUSES[place];
            until = until.max((pause > Duration::ZERO).then(|| at.saturating_add(pause)));
        }
        (until, target)
    }

    /// The start of the line that tells of the coming launch; `None` where the log has it already.
    fn heading(&self, before: &Before, attempt: &Attempt, target: &Version) -> Option<String> {
        match before {
            Before::Ended { version, ran, end, .. } => Some(format!("{version} {end} after {}; ", seconds(*ran))),
            Before::Unstartable { version, why } => {
                let failures = attempt.failures.max(self.looks);
                is_worth_a_line(failures).then(|| format!("{version} cannot be run ({why}); "))
            }
            Before::Nothing | Before::NoVersion => (self.announced.as_ref() != Some(target)).then(String::new),
        }
    }

    /// One line for each decision: why, what, when.
    pub(super) fn say_launching(
        &mut self,
        heading: Option<String>,
        version: &Version,
        when: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(heading) = heading else { return };
        let probation = if is_on_probation(&self.versions, version) { " on probation" } else { "" };
        effects.push(Effect::Log(format!("{heading}launching {version}{probation}{when}")));
        self.announced = Some(version.clone());
    }

    /// Nothing can be run: look again soon, and try then what could not be run before. Now and then the bundled package is
    /// looked at too: its installation may have failed for want of room or memory that is there by now.
    fn no_version(&mut self, before: &Before, attempt: Attempt, now: Duration, effects: &mut Vec<Effect>) -> State {
        self.forget_skips();
        if is_worth_a_line(self.looks) {
            let heading = match before {
                Before::Ended { version, ran, end, .. } => format!("{version} {end} after {}; ", seconds(*ran)),
                Before::Unstartable { version, why } => format!("{version} cannot be run ({why}); "),
                Before::Nothing | Before::NoVersion => String::new(),
            };
            effects.push(Effect::Log(format!(
                "{heading}no version that can be run is installed; looking every {}",
                seconds(NO_VERSION_POLL)
            )));
        }
        self.looks = self.looks.saturating_add(1);
        let again = self.looks.is_power_of_two() || self.looks.is_multiple_of(BUNDLE_LOOKS_MAX);
        let before = if again { Before::NoVersion } else { Before::Nothing };
        State::Waiting { until: now.saturating_add(NO_VERSION_POLL), before, attempt }
    }

    /// The launch is on the disk.
    pub(super) fn launch_counted(
        &mut self,
        version: Version,
        heading: Option<String>,
        attempt: Attempt,
        effects: &mut Vec<Effect>,
    ) -> State {
        if let Some(one) = self.versions.iter_mut().find(|one| one.version == version) {
            one.launches = one.launches.saturating_add(1);
        }
        self.say_launching(heading, &version, "", effects);
        let attempt = Attempt { counted: Some(version.clone()), ..attempt };
        State::Launching { version, attempt }
    }

    /// The disk refuses to count: the newest proven version is launched, and this one only if there is no other.
    pub(super) fn launch_uncounted(
        &mut self,
        version: Version,
        heading: Option<String>,
        attempt: Attempt,
        why: &str,
        effects: &mut Vec<Effect>,
    ) -> State {
        if let Some(proven) = stand_in(&self.versions, 0).map(|one| one.version.clone()) {
            let heading =
                heading.map(|heading| format!("{heading}the launch of {version} cannot be counted ({why}); "));
            self.say_launching(heading, &proven, "", effects);
            return State::Launching { version: proven, attempt };
        }
        if let Some(one) = self.versions.iter_mut().find(|one| one.version == version) {
            one.launches = one.launches.saturating_add(1);
            self.memory.count_launch(one);
        }
        let heading = heading.map(|heading| format!("{heading}the launch cannot be counted ({why}); "));
        self.say_launching(heading, &version, "", effects);
        let attempt = Attempt { counted: Some(version.clone()), ..attempt };
        State::Launching { version, attempt }
    }

    /// The program was not started: wait a moment, or take another version.
    pub(super) fn launch_refused(
        &mut self,
        version: Version,
        attempt: Attempt,
        fault: Fault,
        why: String,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) -> State {
        match fault {
            Fault::Version => State::Choosing {
                before: Before::Unstartable { version, why },
                attempt: Attempt { counted: None, ..attempt },
            },
            Fault::Busy if attempt.failures >= BUSY_FAILURES_MAX => {
                if let Some(one) = self.versions.iter().find(|one| one.version == version) {
                    self.memory.skip(one);
                }
                State::Choosing { before: Before::Nothing, attempt }
            }
            Fault::Busy | Fault::Machine => {
                back_off(Before::Nothing, attempt, now, format!("{version} cannot be started now ({why})"), effects)
            }
        }
    }
}

/// Waits a moment before it chooses again, longer each time in a row.
fn back_off(before: Before, attempt: Attempt, now: Duration, why: String, effects: &mut Vec<Effect>) -> State {
    if is_worth_a_line(attempt.failures) {
        effects.push(Effect::Log(format!("{why}; trying again and again")));
    }
    let factor = 1_u32.checked_shl(attempt.failures).unwrap_or(u32::MAX);
    let delay = BACK_OFF_MIN.saturating_mul(factor).min(BACK_OFF_MAX);
    let attempt = Attempt { failures: attempt.failures.saturating_add(1), ..attempt };
    State::Waiting { until: now.saturating_add(delay), before, attempt }
}

/// The same failure again and again is told at the first time, the second, the fourth and so on.
fn is_worth_a_line(failures: u32) -> bool {
    failures.checked_add(1).is_some_and(u32::is_power_of_two)
}
