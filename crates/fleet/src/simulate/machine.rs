//! A machine as it really is, whatever the portal thinks of it: a Tentacle, a Suction Cup and a network card, as values.

use std::collections::BTreeMap;

use contract::{Rejection, Verdicts, Version};
use octopus_server::clock::Timestamp;
use octopus_server::model::{InstalledVersion, Report};
use octopus_server::rollout::settle::Outcome;
use octopus_server::rollout::state::Command;

/// A second in the clock's unit.
pub(crate) const SECOND: i64 = 1_000_000;

/// Suction Cup falls back from a version that ends at once after so long.
const FALLS_BACK_AFTER: i64 = 8 * SECOND;

/// Suction Cup gives a version up that nobody confirmed after so long.
const UNCONFIRMED_AFTER: i64 = 600 * SECOND;

/// What the new version, or the machine, is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// All is well.
    Good,
    /// The new version ends at once.
    Crashes,
    /// The new version runs and cannot be reached.
    Mute,
    /// It is never heard of again once it is commanded.
    Dies,
    /// It vanishes once it is commanded and comes back after so many seconds.
    Vanishes(i64),
    /// Nobody reaches it before this second.
    OfflineUntil(i64),
    /// It has no room for the package.
    DiskFull,
    /// What it got cannot be unpacked there.
    Spoilt,
    /// It runs a deployment until this second.
    BusyUntil(i64),
    /// It has problems of its own until this second.
    UnwellUntil(i64),
    /// It runs the target already.
    Current,
    /// It runs a newer version.
    Ahead,
    /// Its Tentacle was not started by Suction Cup.
    NoSupervisor,
    /// It reboots every so many seconds.
    Reboots(i64),
    /// The new process says that it is another version.
    Lies,
    /// It is killed in the middle of its first installation.
    KilledOnce,
    /// From this second on a copy of it answers as often as it does.
    ClonedAt(i64),
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ticket {
    Running,
    Armed,
    Failed,
    Busy,
    Unknown,
}

/// See the head of this file.
pub(crate) struct Machine {
    pub name: String,
    pub nature: Nature,
    pub version: Version,
    instance: u64,
    verdicts: BTreeMap<Version, Verdicts>,
    tickets: BTreeMap<String, Ticket>,
    generation: u64,
    has_package: bool,
    /// The process that was armed, and since when.
    armed_at: Option<i64>,
    launched_at: Option<i64>,
    was_killed: bool,
    /// Every ticket that was carried out. More than once is a broken promise.
    pub carried_out: Vec<String>,
    /// What it was told that it must never be told.
    pub outrage: Option<String>,
}

impl Machine {
    pub fn new(name: String, nature: Nature, old: &Version, target: &Version) -> Self {
        let version = match nature {
            Nature::Current => target.clone(),
            Nature::Ahead => Version::release(9, 0, 0),
            _ => old.clone(),
        };
        let proven = Verdicts { proven: true, ..Verdicts::default() };
        Self {
            name,
            nature,
            verdicts: BTreeMap::from([(version.clone(), proven)]),
            version,
            instance: 1,
            tickets: BTreeMap::new(),
            generation: 0,
            has_package: false,
            armed_at: None,
            launched_at: None,
            was_killed: false,
            carried_out: Vec::new(),
            outrage: None,
        }
    }

    /// True where a status would be answered now.
    pub fn answers(&self, now: i64) -> bool {
        let since = self.armed_at.map(|at| now - at);
        match (self.nature, since) {
            (Nature::OfflineUntil(second), _) if now < second * SECOND => false,
            (Nature::Dies, Some(_)) => false,
            (Nature::Vanishes(seconds), Some(since)) if since < seconds * SECOND => false,
            // A restart takes a second.
            (_, Some(since)) if since < SECOND => false,
            (Nature::Crashes, Some(since)) if since < FALLS_BACK_AFTER => false,
            (Nature::Mute, Some(since)) if since < UNCONFIRMED_AFTER => false,
            (Nature::Reboots(every), _) => now % (every * SECOND) > 2 * SECOND,
            _ => true,
        }
    }

    /// What happens on the machine by itself.
    pub fn live(&mut self, now: i64, old: &Version, target: &Version) {
        if let Nature::Reboots(every) = self.nature
            && now % (every * SECOND) <= 2 * SECOND
        {
            self.reboot(old);
        }
        let Some(armed_at) = self.armed_at else { return };
        let since = now - armed_at;
        match self.nature {
            Nature::Crashes if since >= FALLS_BACK_AFTER => self.fall_back(Rejection::Crashed, old, target),
            Nature::Mute if since >= UNCONFIRMED_AFTER => self.fall_back(Rejection::Unconfirmed, old, target),
            Nature::Crashes | Nature::Mute | Nature::Dies => {}
            Nature::Vanishes(seconds) if since < seconds * SECOND => {}
            _ if self.launched_at.is_none() && since >= SECOND => {
                self.launched_at = Some(now);
                self.version = target.clone();
                self.instance += 1;
            }
            _ => {
                let proven = self.verdicts.get(target).is_some_and(|verdicts| verdicts.proven);
                if self.launched_at.is_some_and(|at| now - at >= UNCONFIRMED_AFTER) && !proven {
                    self.fall_back(Rejection::Unconfirmed, old, target);
                }
            }
        }
    }

    fn reboot(&mut self, old: &Version) {
        self.instance += 1;
        for ticket in self.tickets.values_mut().filter(|ticket| **ticket == Ticket::Running) {
            *ticket = Ticket::Unknown;
        }
        debug_assert!(self.version >= *old);
    }

    fn fall_back(&mut self, kind: Rejection, old: &Version, target: &Version) {
        self.verdicts.insert(target.clone(), Verdicts { rejected: Some(kind), ..Verdicts::default() });
        self.version = old.clone();
        self.instance += 1;
        (self.armed_at, self.launched_at) = (None, None);
    }

    /// What it says of itself.
    pub fn report(&self, now: i64) -> Report {
        let second = now / SECOND;
        let lies = self.nature == Nature::Lies && self.launched_at.is_some();
        let is_unwell = matches!(self.nature, Nature::UnwellUntil(until) if second < until);
        let installed = self.verdicts.iter().rev();
        Report {
            at: Timestamp(now),
            instance_seen_at: Timestamp(now),
            version: if lies { Version::release(1, 5, 0) } else { self.version.clone() },
            instance_id: format!("{}-{}", self.name, self.instance),
            started_at: Timestamp(0),
            runtime: "linux-x64".to_owned(),
            os: String::new(),
            hostname: self.name.clone(),
            supervisor_contract: (self.nature != Nature::NoSupervisor).then_some(1),
            installed: installed
                .map(|(version, verdicts)| InstalledVersion { version: version.clone(), verdicts: *verdicts })
                .collect(),
            last_words: None,
            free_disk_bytes: 0,
            running_work: Vec::new(),
            generation: self.generation,
            problems: if is_unwell { vec!["a disk is failing".to_owned()] } else { Vec::new() },
        }
    }

    /// True where a copy of it answers as well.
    pub fn is_cloned(&self, now: i64) -> bool {
        matches!(self.nature, Nature::ClonedAt(second) if now >= second * SECOND)
    }

    /// What its copy says: nobody ever commands that, so it runs what the machine ran when it was copied.
    pub fn report_of_twin(&self) -> Report {
        let version = Version::release(1, 0, 0);
        let verdicts = Verdicts { proven: true, ..Verdicts::default() };
        let installed = vec![InstalledVersion { version: version.clone(), verdicts }];
        let instance_id = format!("{}-twin", self.name);
        Report { version, installed, instance_id, generation: 0, problems: Vec::new(), ..self.report(0) }
    }

    /// Takes the package.
    pub fn upload(&mut self, now: i64) -> Result<(), Outcome> {
        if !self.answers(now) {
            return Err(Outcome::Broken("nobody answers".to_owned()));
        }
        if self.nature == Nature::DiskFull {
            return Err(Outcome::Refused("no room on the disk".to_owned()));
        }
        self.has_package = true;
        Ok(())
    }

    /// Takes an order and tells what became of it, as the real one does: the same ticket is the same order.
    pub fn install(&mut self, now: i64, command: &Command, target: &Version) -> Outcome {
        if !self.answers(now) {
            // The port of a process that ended is closed; a machine that vanished says nothing.
            let gone = self.armed_at.is_some() && matches!(self.nature, Nature::Good | Nature::Lies);
            let sentence = "nobody answers".to_owned();
            return if gone { Outcome::Gone(sentence) } else { Outcome::Broken(sentence) };
        }
        if let Some(ticket) = self.tickets.get(&command.ticket) {
            return match ticket {
                Ticket::Armed => Outcome::Armed,
                Ticket::Failed => Outcome::Refused("it could not be unpacked".to_owned()),
                Ticket::Busy => Outcome::Busy("a deployment is running".to_owned()),
                Ticket::Unknown | Ticket::Running => Outcome::Interrupted("the Tentacle died meanwhile".to_owned()),
            };
        }
        if self.version.to_string() != command.expected {
            return Outcome::Interrupted("another version runs".to_owned());
        }
        if command.generation <= self.generation {
            return Outcome::Interrupted("a later command was seen".to_owned());
        }
        if self.tickets.values().any(|ticket| *ticket == Ticket::Running) {
            self.outrage = Some(format!("{} has two live commands", self.name));
        }
        if !self.has_package {
            self.outrage = Some(format!("{} was commanded without a package", self.name));
        }
        self.generation = command.generation;
        let state = match self.nature {
            Nature::BusyUntil(until) if now / SECOND < until => Ticket::Busy,
            Nature::Spoilt => Ticket::Failed,
            Nature::KilledOnce if !self.was_killed => {
                self.was_killed = true;
                self.instance += 1;
                Ticket::Unknown
            }
            _ => Ticket::Armed,
        };
        self.tickets.insert(command.ticket.clone(), state);
        if state == Ticket::Armed {
            self.carried_out.push(command.ticket.clone());
            self.armed_at = Some(now);
            self.launched_at = None;
            // An order clears what was said of the version before.
            self.verdicts.insert(target.clone(), Verdicts::default());
        }
        self.install_reply(&command.ticket)
    }

    fn install_reply(&self, ticket: &str) -> Outcome {
        match self.tickets.get(ticket) {
            Some(Ticket::Armed) => Outcome::Armed,
            Some(Ticket::Busy) => Outcome::Busy("a deployment is running".to_owned()),
            Some(Ticket::Failed) => Outcome::Refused("it could not be unpacked".to_owned()),
            Some(Ticket::Running | Ticket::Unknown) | None => Outcome::Interrupted("it was killed".to_owned()),
        }
    }

    /// Hears that a process of it was seen well.
    pub fn confirm(&mut self, now: i64, instance: &str, target: &Version) -> Outcome {
        if !self.answers(now) || format!("{}-{}", self.name, self.instance) != instance {
            return Outcome::Broken("another process runs".to_owned());
        }
        if self.version == *target {
            self.verdicts.entry(target.clone()).or_default().proven = true;
        }
        Outcome::Confirmed
    }

    /// The truth about an upgrade: the version runs and is proven.
    pub fn is_upgraded(&self, target: &Version) -> bool {
        self.version == *target && self.verdicts.get(target).is_some_and(|verdicts| verdicts.proven)
    }
}
