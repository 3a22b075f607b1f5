//! One machine of a `Deploy` task: does what [`super::step::next`] decides, one step at a time. Intent is written down
//! before each call and its result after, so that a new portal process goes on from the row alone.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::{PackageId, Sha256, Version};
use octopus_proto::{LogLevel, Progress, RefusalKind, Ticket, Work, WorkState};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::DeployRequest;
use super::journal::{Journal, Line};
use super::step::{Answer, Known, Step, Withdrawn, next};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::environments::environment_get;
use crate::db::machines::machine_get;
use crate::db::rollouts::rollout_in_flight;
use crate::ids::EnvironmentId;
use crate::model::{LogCategory, Machine, MachineTask, MachineTaskState, Package, Task};
use crate::tentacle::{CallError, Target};

/// How long one question for news may wait at the machine. Then it is asked again.
const WATCH_WAIT: Duration = Duration::from_secs(20);

/// How long to wait before a machine that was silent, busy or in a rollout is looked at again.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Lines of a machine's log that are copied. The rest stays on the machine, and the log says so.
const LINES_MAX: u64 = 20_000;

/// What is deployed: the arguments of a `Deploy` task. The package is named by its digest, so that a task that goes on
/// after a restart installs what was asked for, even if the package was replaced meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Order {
    package_id: String,
    version: String,
    sha256: String,
    size: u64,
    environment_id: EnvironmentId,
    roles: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// Why the arguments of a task are no order.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    PackageId(#[from] contract::NameError),
    #[error(transparent)]
    Version(#[from] contract::VersionError),
    #[error(transparent)]
    Digest(#[from] contract::DigestError),
}

/// An order whose parts were read.
#[derive(Clone, Debug)]
pub(super) struct ReadOrder {
    package_id: PackageId,
    version: Version,
    sha256: Sha256,
    size: u64,
    environment: EnvironmentId,
    variables: BTreeMap<String, String>,
}

impl Order {
    pub(super) fn new(package: &Package, request: &DeployRequest) -> Self {
        Self {
            package_id: package.package.package_id.as_str().to_owned(),
            version: package.package.version.to_string(),
            sha256: package.package.sha256.to_string(),
            size: package.package.size,
            environment_id: request.environment,
            roles: request.roles.clone(),
            variables: request.variables.clone(),
        }
    }

    pub(super) fn read(arguments: &serde_json::Value) -> Result<ReadOrder, OrderError> {
        let order = Self::deserialize(arguments)?;
        Ok(ReadOrder {
            package_id: order.package_id.parse()?,
            version: order.version.parse()?,
            sha256: order.sha256.parse()?,
            size: order.size,
            environment: order.environment_id,
            variables: order.variables,
        })
    }
}

/// Works on the machine of `part` until its part is over.
pub(super) async fn run(
    app: &App,
    task: &Task,
    order: &ReadOrder,
    row: MachineTask,
    gate: &Semaphore,
    cancel: &CancellationToken,
) -> Result<(), DbError> {
    let known = Known {
        now: app.now(),
        cancel: false,
        withdrawn: None,
        rollout: None,
        answer: Answer::Nothing,
        silent_since: None,
        held_since: None,
        cancel_sent_at: None,
    };
    let journal = Journal::new(app.clone(), task.id);
    let mut part =
        Part { app, task, order, gate, place: None, cancel, journal, row, known, machine: None, said: String::new() };
    loop {
        part.look().await?;
        match next(&part.row, &part.known) {
            Step::Nothing => return Ok(()),
            Step::End(state, reason) => return part.end(state, reason).await,
            Step::Hold { why } => part.hold(&why).await?,
            step => part.take(step).await?,
        }
    }
}

struct Part<'a> {
    app: &'a App,
    task: &'a Task,
    order: &'a ReadOrder,
    gate: &'a Semaphore,
    /// Held while the machine is worked on, given back while it is only waited for.
    place: Option<SemaphorePermit<'a>>,
    cancel: &'a CancellationToken,
    journal: Journal,
    row: MachineTask,
    known: Known,
    machine: Option<Machine>,
    /// The last trouble that was told, so that it is told once.
    said: String,
}

impl Part<'_> {
    /// Learns what may have changed since the last step.
    async fn look(&mut self) -> Result<(), DbError> {
        let mut conn = self.app.db.read().await?;
        self.machine = machine_get(&mut conn, self.task.task.space, self.row.machine).await?;
        self.known.rollout = rollout_in_flight(&mut conn, self.row.machine).await?;
        drop(conn);
        self.known.withdrawn = match &self.machine {
            None => Some(Withdrawn::Deleted),
            Some(machine) => machine.is_disabled.then_some(Withdrawn::Disabled),
        };
        self.known.cancel = self.cancel.is_cancelled();
        self.known.now = self.app.now();
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<(), DbError> {
        if self.place.is_none() {
            // The gate is never closed. The wait may be long: everything is looked at again before the step is taken.
            self.place = self.unless_cancelled(self.gate.acquire()).await.and_then(Result::ok);
            return Ok(());
        }
        let Some(target) = self.machine.as_ref().map(Target::from) else { return Ok(()) };
        let begun = self.app.now();
        let answer = match step {
            Step::Begin => {
                self.row.state = MachineTaskState::Running;
                self.row.started_at = Some(self.app.now());
                return self.journal.record(&self.row, &[]).await;
            }
            Step::Ticket => {
                self.row.ticket = uuid::Uuid::new_v4().to_string();
                return self.journal.record(&self.row, &[]).await;
            }
            Step::Upload => self.upload(&target).await?,
            Step::Start => self.start(&target).await?,
            Step::Watch => self.watch(&target).await?,
            Step::Cancel => self.cancel(&target).await?,
            Step::Hold { .. } | Step::End(..) | Step::Nothing => None,
        };
        match answer {
            Some(answer) => self.heard(answer, begun).await,
            None => Ok(()),
        }
    }

    /// Writes down for later what the machine answered to a call that began at `begun`, and waits where it was no use.
    async fn heard(&mut self, answer: Answer, begun: Timestamp) -> Result<(), DbError> {
        let now = self.app.now();
        match &answer {
            // A call that took long was not silence all the while: an upload may have gone on.
            Answer::Silent(_) => {
                let fresh = now.since(begun) > super::step::UNREACHED_MAX;
                self.known.silent_since = self.known.silent_since.filter(|_| !fresh).or(Some(now));
            }
            Answer::Held(_) => {
                self.known.silent_since = None;
                self.known.held_since = self.known.held_since.or(Some(now));
            }
            Answer::Work(_) => (self.known.silent_since, self.known.held_since) = (None, None),
            Answer::Nothing | Answer::Uploaded | Answer::UnknownTicket | Answer::Refused(_) => {
                self.known.silent_since = None;
            }
        }
        self.known.answer = answer.clone();
        if let Answer::Silent(why) | Answer::Held(why) = answer {
            self.trouble(&format!("It is tried again: {why}")).await?;
            self.place = None;
            self.pause(RETRY_PAUSE).await;
        }
        Ok(())
    }

    async fn hold(&mut self, why: &str) -> Result<(), DbError> {
        self.known.held_since = self.known.held_since.or(Some(self.app.now()));
        self.place = None;
        self.trouble(why).await?;
        self.pause(RETRY_PAUSE).await;
        Ok(())
    }

    async fn trouble(&mut self, sentence: &str) -> Result<(), DbError> {
        if self.said != sentence {
            sentence.clone_into(&mut self.said);
            self.journal.say(Some(self.row.machine), LogCategory::Warning, sentence).await?;
        }
        Ok(())
    }

    async fn pause(&self, length: Duration) {
        self.unless_cancelled(tokio::time::sleep(length)).await;
    }

    /// Does it, unless people want the task cancelled before it is done. What follows a wish to cancel is always done.
    async fn unless_cancelled<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        if self.known.cancel {
            return Some(what.await);
        }
        tokio::select! {
            done = what => Some(done),
            () = self.cancel.cancelled() => None,
        }
    }

    async fn upload(&mut self, target: &Target) -> Result<Option<Answer>, DbError> {
        let order = self.order;
        let file = self.app.store.path(&order.sha256);
        if !tokio::fs::try_exists(&file).await.unwrap_or(true) {
            let why = "The package is no longer in the portal's store: it was deleted or replaced.";
            return Ok(Some(Answer::Refused(why.to_owned())));
        }
        let sent = self.app.tentacles.upload(target, &file, order.sha256, order.size);
        Ok(match self.unless_cancelled(sent).await {
            None => None,
            Some(Ok(())) => Some(Answer::Uploaded),
            Some(Err(CallError::Untrusted { sentence } | CallError::Protocol { sentence })) => {
                Some(Answer::Refused(sentence))
            }
            Some(Err(CallError::Refused(refusal))) if refusal.kind == RefusalKind::DigestMismatch => {
                Some(Answer::Silent(refusal.sentence))
            }
            Some(Err(error)) => Some(answer_of(error, Answer::Refused)),
        })
    }

    async fn start(&mut self, target: &Target) -> Result<Option<Answer>, DbError> {
        let mut conn = self.app.db.read().await?;
        let environment = environment_get(&mut conn, self.task.task.space, self.order.environment).await?;
        drop(conn);
        let Some(environment) = environment else {
            return Ok(Some(Answer::Refused("The environment was deleted.".to_owned())));
        };
        let Ok(ticket) = self.row.ticket.parse::<Ticket>() else {
            return Err(DbError::damaged("task_machines.ticket", &self.row.ticket));
        };
        let variables = variables(self.task, self.order, environment.name.as_str(), &self.row.machine_name);
        let work = Work::Install {
            package: self.order.sha256,
            environment: environment.name,
            variables,
            sensitive: BTreeMap::new(),
        };
        let description = format!("Deploy {} {}", self.order.package_id, self.order.version);
        // Not broken off by a wish to cancel: the machine would have to be asked anyway whether it began.
        let started = self.app.tentacles.start(target, &ticket, &description, work).await;
        Ok(Some(match started {
            Ok(()) => Answer::Work(WorkState::Running),
            Err(error) => answer_of(error, Answer::Refused),
        }))
    }

    async fn watch(&mut self, target: &Target) -> Result<Option<Answer>, DbError> {
        let Ok(ticket) = self.row.ticket.parse::<Ticket>() else {
            return Err(DbError::damaged("task_machines.ticket", &self.row.ticket));
        };
        let news = self.app.tentacles.watch(target, &ticket, self.row.log_seq, WATCH_WAIT);
        Ok(match self.unless_cancelled(news).await {
            None => None,
            Some(Ok(progress)) => {
                self.copy(&progress).await?;
                Some(Answer::Work(progress.state))
            }
            Some(Err(error)) => Some(answer_of(error, Answer::Silent)),
        })
    }

    async fn cancel(&mut self, target: &Target) -> Result<Option<Answer>, DbError> {
        let Ok(ticket) = self.row.ticket.parse::<Ticket>() else {
            return Err(DbError::damaged("task_machines.ticket", &self.row.ticket));
        };
        self.trouble("It is told to end its work.").await?;
        Ok(Some(match self.app.tentacles.cancel(target, &ticket).await {
            Ok(()) => {
                self.known.cancel_sent_at = Some(self.app.now());
                Answer::Work(WorkState::Running)
            }
            Err(error) => answer_of(error, Answer::Silent),
        }))
    }

    /// Copies new lines of the machine's log, with the machine's times as far as they are not in the future.
    async fn copy(&mut self, progress: &Progress) -> Result<(), DbError> {
        let now = self.app.now();
        let mut lines = Vec::new();
        for line in progress.lines.iter().filter(|line| line.seq > self.row.log_seq) {
            let category = match line.level {
                LogLevel::Info => LogCategory::Info,
                LogLevel::Warning => LogCategory::Warning,
                LogLevel::Error => LogCategory::Error,
            };
            match line.seq {
                seq if seq <= LINES_MAX => {
                    lines.push(Line { at: Timestamp(line.at).min(now), category, text: line.text.clone() });
                }
                seq if seq == LINES_MAX + 1 => {
                    let text = format!("The log has more than {LINES_MAX} lines; the rest stays on the machine.");
                    lines.push(self.journal.line(LogCategory::Warning, text));
                }
                _ => {}
            }
        }
        if progress.last > self.row.log_seq {
            self.row.log_seq = progress.last;
            self.journal.record(&self.row, &lines).await?;
        }
        Ok(())
    }

    async fn end(&mut self, state: MachineTaskState, reason: String) -> Result<(), DbError> {
        let line = match state {
            MachineTaskState::Success => self.journal.line(LogCategory::Info, "It was installed."),
            MachineTaskState::Canceled if reason.is_empty() => self.journal.line(LogCategory::Warning, "Cancelled."),
            MachineTaskState::Canceled => self.journal.line(LogCategory::Warning, reason.clone()),
            _ => self.journal.line(LogCategory::Error, reason.clone()),
        };
        self.row.state = state;
        self.row.reason = reason;
        self.row.completed_at = Some(self.app.now());
        self.journal.record(&self.row, &[line]).await
    }
}

/// What a failed call means; `other` for a refusal that is neither about the ticket nor a request to wait.
fn answer_of(error: CallError, other: impl Fn(String) -> Answer) -> Answer {
    match error {
        CallError::Refused(refusal) => match refusal.kind {
            RefusalKind::Busy | RefusalKind::Ending => Answer::Held(refusal.sentence),
            RefusalKind::UnknownTicket => Answer::UnknownTicket,
            _ => other(refusal.sentence),
        },
        CallError::Closed { sentence }
        | CallError::Unreachable { sentence }
        | CallError::TimedOut { sentence }
        | CallError::Untrusted { sentence }
        | CallError::Protocol { sentence } => Answer::Silent(sentence),
    }
}

/// The variables of one machine: those that were given, and the standard ones, which win.
fn variables(task: &Task, order: &ReadOrder, environment: &str, machine: &str) -> BTreeMap<String, String> {
    let mut variables = order.variables.clone();
    let standard = [
        ("Octopus.Environment.Name", environment.to_owned()),
        ("Octopus.Machine.Name", machine.to_owned()),
        ("Octopus.Package.Id", order.package_id.as_str().to_owned()),
        ("Octopus.Package.Version", order.version.to_string()),
        ("Octopus.Deployment.Id", task.id.to_string()),
        ("Octopus.Task.Id", task.id.to_string()),
    ];
    variables.extend(standard.map(|(name, value)| (name.to_owned(), value)));
    variables
}
