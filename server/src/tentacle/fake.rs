//! A fleet that is a value: what tests put behind the seam to the machines, and look into afterwards. Not for the
//! program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract::{Rejection, Sha256, Thumbprint, Verdicts, Version};
use octopus_proto::{
    InstalledVersion, InstanceId, LogLevel, LogLine, Progress, Refusal, RefusalKind, Status, Ticket, TrustChange,
    UpgradeOrder, Work, WorkState,
};

use super::{Call, CallError, Target, Tentacles};
use crate::ids::MachineId;
use crate::model::Address;

/// What a new version does on a fake machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nature {
    /// It works.
    #[default]
    Good,
    /// It ends at every launch, and Suction Cup goes back to the version before.
    Crashes,
    /// The machine is never heard of again.
    Vanishes,
    /// Tentacle is killed before it arms the next version, and its port is closed; after that all is well.
    KilledFirst,
}

/// What a fake machine does and the portal does not hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// That it has the package.
    Upload,
    /// That it accepts a command.
    Command,
    /// What became of a command.
    End,
    /// That it was confirmed.
    Confirm,
}

/// A fake machine: everything about it may be set and read.
#[derive(Clone, Debug)]
pub struct FakeMachine {
    /// False: nobody answers.
    pub is_online: bool,
    /// What it answers when it is asked how it is, but for the nonce.
    pub status: Status,
    /// What the next version does.
    pub nature: Nature,
    /// What every call but a question for the status is refused with.
    pub refusal: Option<Refusal>,
    /// A copy of its disk that answers every other question for the status.
    pub copy: Option<Status>,
    /// Another portal's order comes first: what it runs when the next order arrives.
    pub overtaken_by: Option<Version>,
    /// Replies that get lost on their way, each once.
    pub lost: BTreeSet<Reply>,
    /// The packages it has.
    pub packages: BTreeSet<Sha256>,
    /// Every order it accepted, in order; the same ticket once.
    pub orders: Vec<UpgradeOrder>,
    /// The orders in the middle of which it was killed.
    pub interrupted: BTreeSet<Ticket>,
    /// Every process that was confirmed.
    pub confirmed: Vec<(InstanceId, Version)>,
    /// The work it was given: what it is and where it stands.
    pub work: BTreeMap<Ticket, (Work, Progress)>,
    /// Where new work ends at once; `Running` to let it go on until the test ends it.
    pub work_ends: WorkState,
    /// The portals that it was told to trust, and not to trust any more since.
    pub trusted: BTreeSet<Thumbprint>,
    /// The certificate it shows.
    pub thumbprint: Thumbprint,
}

impl FakeMachine {
    /// A machine that runs `version`, proven, and is well.
    pub fn running(version: Version) -> Self {
        let proven = Verdicts { proven: true, ..Verdicts::default() };
        let status = Status {
            nonce: String::new(),
            version: version.clone(),
            instance_id: new_instance(),
            started_at: 0,
            runtime: "linux-x64".to_owned(),
            os: "Debian GNU/Linux 12".to_owned(),
            hostname: "fake".to_owned(),
            supervisor_contract: Some(1),
            installed: vec![InstalledVersion { version, verdicts: proven }],
            last_words: None,
            free_disk_bytes: 1 << 40,
            running_work: Vec::new(),
            generation: 0,
            problems: Vec::new(),
        };
        Self {
            is_online: true,
            status,
            nature: Nature::Good,
            refusal: None,
            copy: None,
            overtaken_by: None,
            lost: BTreeSet::new(),
            packages: BTreeSet::new(),
            orders: Vec::new(),
            interrupted: BTreeSet::new(),
            confirmed: Vec::new(),
            work: BTreeMap::new(),
            work_ends: WorkState::Succeeded,
            trusted: BTreeSet::new(),
            thumbprint: Thumbprint([7; 32]),
        }
    }

    /// From now on a copy of its disk answers as well.
    pub fn copy_to(&mut self, hostname: &str) {
        let status = Status { instance_id: new_instance(), hostname: hostname.to_owned(), ..self.status.clone() };
        self.copy = Some(status);
    }

    /// What answers this time, and what answers the next.
    fn next_status(&mut self) -> Status {
        let status = self.status.clone();
        if let Some(copy) = &mut self.copy {
            std::mem::swap(copy, &mut self.status);
        }
        status
    }

    /// The reply, unless it gets lost on its way.
    fn reply<T>(&mut self, what: Reply, answer: T) -> Result<T, CallError> {
        match self.lost.take(&what) {
            Some(what) => Err(CallError::TimedOut { sentence: format!("the reply to {what:?} was lost") }),
            None => Ok(answer),
        }
    }

    fn change_version(&mut self, order: &UpgradeOrder) {
        let before = self.status.version.clone();
        let mut verdicts = Verdicts::default();
        match self.nature {
            Nature::Good => self.status.version = order.version.clone(),
            Nature::Crashes => {
                verdicts.rejected = Some(Rejection::Crashed);
                self.status.last_words = Some("exited with code 3\nno such table: widgets".to_owned());
            }
            Nature::Vanishes => self.is_online = false,
            Nature::KilledFirst => {}
        }
        self.status.installed.retain(|installed| installed.version != order.version || before == order.version);
        for newer in self.status.installed.iter_mut().filter(|installed| installed.version > order.version) {
            newer.verdicts.withdrawn = true;
        }
        self.status.installed.push(InstalledVersion { version: order.version.clone(), verdicts });
        self.status.instance_id = new_instance();
        self.status.generation = order.generation;
    }
}

/// A fleet of fake machines.
#[derive(Clone, Debug, Default)]
pub struct FakeTentacles(Arc<Mutex<BTreeMap<MachineId, FakeMachine>>>);

impl FakeTentacles {
    /// The machines. One that is not there is not answered for.
    pub fn machines(&self) -> MutexGuard<'_, BTreeMap<MachineId, FakeMachine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T>(
        &self,
        target: &Target,
        answer: impl FnOnce(&mut FakeMachine) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        match self.machines().get_mut(&target.machine) {
            Some(machine) if machine.is_online => answer(machine),
            _ => Err(CallError::Unreachable { sentence: format!("nobody answers at {}", target.address) }),
        }
    }

    fn ask<T>(
        &self,
        target: &Target,
        answer: impl FnOnce(&mut FakeMachine) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.call(target, |machine| match &machine.refusal {
            Some(refusal) => Err(CallError::Refused(refusal.clone())),
            None => answer(machine),
        })
    }
}

fn new_instance() -> InstanceId {
    uuid::Uuid::new_v4().to_string().parse().expect("a UUID is an instance id")
}

fn refuse<T>(kind: RefusalKind, sentence: &str) -> Result<T, CallError> {
    Err(CallError::Refused(Refusal::new(kind, sentence)))
}

impl Tentacles for FakeTentacles {
    fn status<'a>(&'a self, target: &'a Target) -> Call<'a, Status> {
        Box::pin(async move { self.call(target, |machine| Ok(machine.next_status())) })
    }

    fn upload<'a>(&'a self, target: &'a Target, file: &'a Path, sha256: Sha256, size: u64) -> Call<'a, ()> {
        Box::pin(async move {
            let found = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
            assert_eq!(found, size, "the file to send is there, whole");
            self.ask(target, |machine| {
                machine.packages.insert(sha256);
                machine.reply(Reply::Upload, ())
            })
        })
    }

    fn start<'a>(&'a self, target: &'a Target, ticket: &'a Ticket, description: &'a str, work: Work) -> Call<'a, ()> {
        Box::pin(async move {
            self.ask(target, |machine| {
                let line = LogLine { seq: 1, at: 0, level: LogLevel::Info, text: description.to_owned() };
                let state = machine.work_ends.clone();
                match machine.work.get(ticket) {
                    Some((known, _)) if *known == work => Ok(()),
                    Some(_) => refuse(RefusalKind::TicketReused, "the ticket is known, with other work"),
                    None => {
                        let progress = Progress { lines: vec![line], state, last: 1 };
                        machine.work.insert(ticket.clone(), (work, progress));
                        Ok(())
                    }
                }
            })
        })
    }

    fn watch<'a>(&'a self, target: &'a Target, ticket: &'a Ticket, after: u64, _: Duration) -> Call<'a, Progress> {
        Box::pin(async move {
            // A real machine lets a question for news wait; a fake one must not let the test spin.
            tokio::task::yield_now().await;
            self.ask(target, |machine| {
                if let Some(at) = machine.orders.iter().position(|order| order.ticket == *ticket) {
                    let order = machine.orders[at].clone();
                    if machine.nature == Nature::KilledFirst && machine.status.generation < order.generation {
                        machine.nature = Nature::Good;
                        (machine.status.generation, machine.status.instance_id) = (order.generation, new_instance());
                        machine.interrupted.insert(ticket.clone());
                        return Err(CallError::Closed { sentence: "nothing listens at its port".to_owned() });
                    }
                    if machine.interrupted.contains(ticket) {
                        let reason =
                            "Tentacle ended while this was going on, and nobody saw how it came out".to_owned();
                        return Ok(Progress {
                            lines: Vec::new(),
                            state: WorkState::UnknownResult { reason },
                            last: after,
                        });
                    }
                    if machine.status.generation < order.generation {
                        machine.change_version(&order);
                    }
                    let progress = Progress { lines: Vec::new(), state: WorkState::Succeeded, last: after };
                    return machine.reply(Reply::End, progress);
                }
                let Some((_, progress)) = machine.work.get(ticket) else {
                    return refuse(RefusalKind::UnknownTicket, "there is no work under this ticket");
                };
                let mut progress = progress.clone();
                progress.lines.retain(|line| line.seq > after);
                Ok(progress)
            })
        })
    }

    fn cancel<'a>(&'a self, target: &'a Target, ticket: &'a Ticket) -> Call<'a, ()> {
        Box::pin(async move {
            self.ask(target, |machine| match machine.work.get_mut(ticket) {
                Some((_, progress)) => {
                    if !progress.state.is_final() {
                        progress.state = WorkState::Cancelled;
                    }
                    Ok(())
                }
                None => refuse(RefusalKind::UnknownTicket, "there is no work under this ticket"),
            })
        })
    }

    fn upgrade<'a>(&'a self, target: &'a Target, order: UpgradeOrder) -> Call<'a, ()> {
        Box::pin(async move {
            self.ask(target, |machine| {
                if machine.orders.contains(&order) {
                    return Ok(());
                }
                if let Some(version) = machine.overtaken_by.take() {
                    let verdicts = Verdicts { proven: true, ..Verdicts::default() };
                    machine.status.installed.push(InstalledVersion { version: version.clone(), verdicts });
                    machine.status.version = version;
                    machine.status.instance_id = new_instance();
                }
                if machine.status.version != order.expected {
                    return refuse(RefusalKind::VersionChanged, "another version runs");
                }
                if order.generation <= machine.orders.last().map_or(0, |last| last.generation) {
                    return refuse(RefusalKind::StaleGeneration, "a later command was seen");
                }
                let has = |version| machine.status.installed.iter().any(|installed| installed.version == version);
                let (is_there, missing) = match order.package {
                    Some(package) => (machine.packages.contains(&package), "the package was not uploaded"),
                    None => (has(order.version.clone()), "the version is not on this machine any more"),
                };
                if !is_there {
                    return refuse(RefusalKind::BadPackage, missing);
                }
                machine.orders.push(order);
                machine.reply(Reply::Command, ())
            })
        })
    }

    fn confirm<'a>(&'a self, target: &'a Target, instance: &'a InstanceId, version: &'a Version) -> Call<'a, ()> {
        Box::pin(async move {
            self.ask(target, |machine| {
                if machine.status.instance_id != *instance || machine.status.version != *version {
                    return refuse(RefusalKind::OtherInstance, "another process runs");
                }
                machine.confirmed.push((instance.clone(), version.clone()));
                for installed in &mut machine.status.installed {
                    installed.verdicts.proven |= installed.version == *version;
                }
                machine.reply(Reply::Confirm, ())
            })
        })
    }

    fn trust<'a>(&'a self, target: &'a Target, change: TrustChange) -> Call<'a, ()> {
        Box::pin(async move {
            self.ask(target, |machine| {
                machine.trusted.extend(change.add);
                machine.trusted.retain(|portal| !change.remove.contains(portal));
                Ok(())
            })
        })
    }

    fn discover<'a>(&'a self, address: &'a Address) -> Call<'a, Thumbprint> {
        Box::pin(async move {
            let found = self.machines().values().find(|machine| machine.is_online).map(|machine| machine.thumbprint);
            found.ok_or_else(|| CallError::Unreachable { sentence: format!("nobody answers at {address}") })
        })
    }
}
