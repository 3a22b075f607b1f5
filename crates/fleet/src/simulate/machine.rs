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

/// So long a process that was killed is away, before Suction Cup's next one listens.
const DEAD_FOR: i64 = 2 * SECOND;

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
    /// It is killed while it drains for the first time, and nobody listens at its port until it is back.
    KilledDraining,
    /// The version ends at once the first time; the second time it is killed while it drains, as the former.
    CrashesThenKilled,
    /// From this second on a copy of it answers as often as it does.
    ClonedAt(i64),
    /// Of the way back: what ran before is swept from the disk as soon as the new version is proven.
    Swept,
}

/// An order as the portal sends it.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub command: Command,
    /// What is to run.
    pub to: Version,
    /// True where the package was sent before; else it has to be on the disk.
    pub with_package: bool,
}

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub ticket: String,
    pub from: Version,
    pub to: Version,
}

/// The version that was armed last, until Suction Cup falls back from it.
#[derive(Clone, Debug)]
struct Armed {
    at: i64,
    to: Version,
    launched_at: Option<i64>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ticket {
    /// It drains and unpacks, until this moment.
    Running(i64),
    Armed,
    Failed,
    Busy,
    Unknown,
}

/// See the head of this file.
pub(crate) struct Machine {
    pub name: String,
    pub nature: Nature,
    /// Its trouble on the way back to what it ran before.
    pub back: Nature,
    /// What it ran before anybody commanded it.
    pub old: Version,
    pub version: Version,
    instance: u64,
    verdicts: BTreeMap<Version, Verdicts>,
    tickets: BTreeMap<String, Ticket>,
    /// The order that it is at.
    at_work: Option<Order>,
    generation: u64,
    has_package: bool,
    armed: Option<Armed>,
    was_killed: bool,
    /// It crashed once, as [`Nature::CrashesThenKilled`] says.
    has_crashed: bool,
    /// When it will be killed.
    dies_at: Option<i64>,
    /// Until then nobody listens at its port, because it was killed.
    away_until: i64,
    /// Packages that were sent to it.
    pub uploads: usize,
    /// Every order that was carried out. One twice is a broken promise.
    pub carried_out: Vec<Done>,
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
            back: Nature::Good,
            old: version.clone(),
            verdicts: BTreeMap::from([(version.clone(), proven)]),
            version,
            instance: 1,
            tickets: BTreeMap::new(),
            at_work: None,
            generation: 0,
            has_package: false,
            armed: None,
            was_killed: false,
            has_crashed: false,
            dies_at: None,
            away_until: 0,
            uploads: 0,
            carried_out: Vec::new(),
        }
    }

    /// What is wrong with going to a version.
    fn trouble(&self, to: &Version) -> Nature {
        if *to > self.old { self.nature } else { self.back }
    }

    /// True where a status would be answered now.
    pub fn answers(&self, now: i64) -> bool {
        match self.nature {
            Nature::OfflineUntil(second) if now < second * SECOND => return false,
            Nature::Reboots(every) if now % (every * SECOND) <= 2 * SECOND => return false,
            _ if now < self.away_until => return false,
            _ => {}
        }
        let Some(armed) = &self.armed else { return true };
        let since = now - armed.at;
        match self.trouble(&armed.to) {
            Nature::Dies => false,
            Nature::Vanishes(seconds) if since < seconds * SECOND => false,
            // A restart takes a second.
            _ if since < SECOND => false,
            Nature::Crashes => since >= FALLS_BACK_AFTER,
            Nature::CrashesThenKilled if !self.has_crashed => since >= FALLS_BACK_AFTER,
            Nature::Mute => since >= UNCONFIRMED_AFTER,
            _ => true,
        }
    }

    /// What happens on the machine by itself.
    pub fn live(&mut self, now: i64) {
        if let Nature::Reboots(every) = self.nature
            && now % (every * SECOND) <= 2 * SECOND
        {
            self.reboot();
        }
        if self.dies_at.is_some_and(|at| at <= now) {
            self.dies_at = None;
            self.away_until = now + DEAD_FOR;
            self.reboot();
        }
        self.finish(now);
        let Some(armed) = self.armed.clone() else { return };
        let since = now - armed.at;
        match self.trouble(&armed.to) {
            Nature::Crashes if since >= FALLS_BACK_AFTER => self.fall_back(Rejection::Crashed, &armed.to),
            Nature::CrashesThenKilled if !self.has_crashed => {
                if since >= FALLS_BACK_AFTER {
                    self.has_crashed = true;
                    self.fall_back(Rejection::Crashed, &armed.to);
                }
            }
            Nature::Mute if since >= UNCONFIRMED_AFTER => self.fall_back(Rejection::Unconfirmed, &armed.to),
            Nature::Crashes | Nature::Mute | Nature::Dies => {}
            Nature::Vanishes(seconds) if since < seconds * SECOND => {}
            _ if armed.launched_at.is_none() && since >= SECOND => {
                self.version = armed.to.clone();
                self.instance += 1;
                self.armed = Some(Armed { launched_at: Some(now), ..armed });
            }
            _ => {
                let proven = self.verdicts.get(&armed.to).is_some_and(|verdicts| verdicts.proven);
                if armed.launched_at.is_some_and(|at| now - at >= UNCONFIRMED_AFTER) && !proven {
                    self.fall_back(Rejection::Unconfirmed, &armed.to);
                }
            }
        }
    }

    fn reboot(&mut self) {
        self.instance += 1;
        if let Some(order) = self.at_work.take() {
            self.tickets.insert(order.command.ticket, Ticket::Unknown);
        }
    }

    /// Arms what has drained and is unpacked.
    fn finish(&mut self, now: i64) {
        let is_due = |order: &mut Order| matches!(self.tickets.get(&order.command.ticket), Some(Ticket::Running(until)) if *until <= now);
        let Some(Order { command, to, .. }) = self.at_work.take_if(is_due) else { return };
        for (version, verdicts) in &mut self.verdicts {
            verdicts.withdrawn |= *version > to;
        }
        // An order clears what was said of the version before.
        self.verdicts.insert(to.clone(), Verdicts::default());
        self.carried_out.push(Done { ticket: command.ticket.clone(), from: self.version.clone(), to: to.clone() });
        self.tickets.insert(command.ticket, Ticket::Armed);
        self.armed = Some(Armed { at: now, to, launched_at: None });
    }

    fn fall_back(&mut self, kind: Rejection, from: &Version) {
        self.verdicts.insert(from.clone(), Verdicts { rejected: Some(kind), ..Verdicts::default() });
        self.version = self.choose();
        self.instance += 1;
        self.armed = None;
    }

    /// What Suction Cup launches.
    fn choose(&self) -> Version {
        let newest = |wanted: fn(&Verdicts) -> bool| {
            self.verdicts.iter().rev().find(|(_, verdicts)| wanted(verdicts)).map(|(version, _)| version.clone())
        };
        newest(|verdicts| (verdicts.proven || verdicts.rejected.is_none()) && !verdicts.withdrawn)
            .or_else(|| newest(|verdicts| verdicts.proven))
            .or_else(|| newest(|_| true))
            .unwrap_or_else(|| self.version.clone())
    }

    /// What it says of itself.
    pub fn report(&self, now: i64) -> Report {
        let second = now / SECOND;
        let lies = |armed: &Armed| armed.launched_at.is_some() && self.trouble(&armed.to) == Nature::Lies;
        let lies = self.armed.as_ref().is_some_and(lies);
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
        let version = self.old.clone();
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
        self.uploads += 1;
        Ok(())
    }

    /// Takes an order and tells what became of it, as the real one does: the same ticket is the same order. It drains and
    /// unpacks for so many microseconds.
    pub fn install(&mut self, now: i64, order: &Order, takes: i64) -> Outcome {
        let Order { command, to, with_package } = order;
        if !self.answers(now) {
            // The port of a process that ended is closed; a machine that vanished says nothing.
            let has_ended = self.armed.is_some() && matches!(self.nature, Nature::Good | Nature::Lies);
            let gone = has_ended || now < self.away_until;
            let sentence = "nobody answers".to_owned();
            return if gone { Outcome::Gone(sentence) } else { Outcome::Broken(sentence) };
        }
        if self.tickets.contains_key(&command.ticket) {
            return self.told(&command.ticket);
        }
        if self.version.to_string() != command.expected {
            return declined("another version runs");
        }
        if command.generation <= self.generation {
            return declined("a later command was seen");
        }
        if self.at_work.is_some() {
            return Outcome::Declined(Box::new(Outcome::Busy("another upgrade is running".to_owned())));
        }
        self.generation = command.generation;
        let is_there = if *with_package { self.has_package } else { self.verdicts.contains_key(to) };
        let state = match self.trouble(to) {
            _ if !is_there => Ticket::Failed,
            _ if matches!(self.nature, Nature::BusyUntil(until) if now / SECOND < until) => Ticket::Busy,
            Nature::Spoilt => Ticket::Failed,
            Nature::KilledOnce if !self.was_killed => {
                self.was_killed = true;
                self.instance += 1;
                Ticket::Unknown
            }
            _ => Ticket::Running(now + takes),
        };
        self.tickets.insert(command.ticket.clone(), state);
        if matches!(state, Ticket::Running(_)) {
            self.at_work = Some(order.clone());
            self.dies_at = self.is_to_die(to).then_some(now + takes / 2);
            self.was_killed |= self.dies_at.is_some();
            self.finish(now);
        }
        self.told(&command.ticket)
    }

    /// True where it will be killed before it armed what it was just told to change to.
    fn is_to_die(&self, to: &Version) -> bool {
        !self.was_killed
            && match self.trouble(to) {
                Nature::KilledDraining => true,
                Nature::CrashesThenKilled => self.has_crashed,
                _ => false,
            }
    }

    /// True where the order of this ticket was neither carried out nor refused: it ended in the middle.
    pub fn was_interrupted(&self, ticket: &str) -> bool {
        self.tickets.get(ticket) == Some(&Ticket::Unknown)
    }

    /// Tells what became of an order, to a portal that only asks.
    pub fn ask(&self, now: i64, ticket: &str) -> Outcome {
        if self.answers(now) { self.told(ticket) } else { Outcome::Broken("nobody answers".to_owned()) }
    }

    fn told(&self, ticket: &str) -> Outcome {
        match self.tickets.get(ticket) {
            Some(Ticket::Armed) => Outcome::Armed,
            Some(Ticket::Busy) => Outcome::Busy("a deployment is running".to_owned()),
            Some(Ticket::Failed) => Outcome::Refused("it could not be unpacked".to_owned()),
            Some(Ticket::Running(_)) => Outcome::Broken("it drains".to_owned()),
            Some(Ticket::Unknown) | None => Outcome::Interrupted("the Tentacle died meanwhile".to_owned()),
        }
    }

    /// Hears that a process of it was seen well.
    pub fn confirm(&mut self, now: i64, instance: &str, version: &Version) -> Outcome {
        if !self.answers(now) || format!("{}-{}", self.name, self.instance) != instance || self.version != *version {
            return Outcome::Broken("another process runs".to_owned());
        }
        self.verdicts.entry(version.clone()).or_default().proven = true;
        if self.back == Nature::Swept && *version > self.old {
            self.verdicts.remove(&self.old);
        }
        Outcome::Confirmed
    }

    /// The truth about an upgrade: the version runs and is proven.
    pub fn is_proven_at(&self, target: &Version) -> bool {
        self.version == *target && self.verdicts.get(target).is_some_and(|verdicts| verdicts.proven)
    }
}

fn declined(why: &str) -> Outcome {
    Outcome::Declined(Box::new(Outcome::Interrupted(why.to_owned())))
}
