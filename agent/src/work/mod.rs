//! Work under tickets: accepted once, run in turn, watched from anywhere, and remembered over restarts.
//!
//! `Work/<ticket>/` holds what was ordered, the log and the end state. The gate here decides whether new work is taken.

mod job;
mod record;
mod run;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use octopus_proto::{Progress, Refusal, RefusalKind, RunningWork, Start, Ticket, Watch, Work, WorkState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use job::CancelCause;
pub(crate) use job::Job;
pub(crate) use record::Record;

use crate::upload::{InUse, Uploads};

/// Most tickets whose work has not ended. Further work is refused as busy.
const UNFINISHED_MAX: usize = 100;

/// Most finished tickets that are remembered; beyond it the oldest are forgotten.
const FINISHED_KEPT: usize = 200;

/// Age at which a finished ticket is forgotten.
const FINISHED_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Whether new work is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gate {
    /// Yes.
    Open,
    /// No: an upgrade waits for the running work to end. It may yet open again.
    Draining(Ticket),
    /// Never again: the process is ending.
    Ending,
}

/// All work of a machine.
pub(crate) struct Works {
    folder: PathBuf,
    inner: Mutex<Inner>,
    /// Held while one order is looked at and written down, so that the same order twice at once is accepted once.
    accepting: Mutex<()>,
    /// Tickets whose work has not ended.
    unfinished: watch::Sender<usize>,
    /// Fires when, with the gate closed for good, a watcher was told how a ticket ended.
    end_told: CancellationToken,
    runner: run::Runner,
}

struct Inner {
    gate: Gate,
    jobs: HashMap<Ticket, Arc<Job>>,
}

/// What became of an order.
pub(crate) enum Accepted {
    /// It is new; the job waits to be carried out.
    New(Arc<Job>),
    /// The same order was accepted before.
    Known,
}

impl Works {
    /// Reads the tickets of earlier processes. Work that had not ended is closed with an unknown result. Where nothing can
    /// be read no work will be taken either, but the machine can be asked what is wrong.
    pub(crate) fn open(home: contract::Home, uploads: Arc<Uploads>) -> Arc<Self> {
        let folder = home.work();
        let jobs = job::load_all(&folder).unwrap_or_else(|error| {
            tracing::error!(folder = %folder.display(), %error, "the work of earlier processes cannot be read");
            HashMap::new()
        });
        let works = Self {
            folder,
            inner: Mutex::new(Inner { gate: Gate::Open, jobs }),
            accepting: Mutex::default(),
            unfinished: watch::Sender::new(0),
            end_told: CancellationToken::new(),
            runner: run::Runner::new(home, uploads),
        };
        works.forget_old(&mut works.inner());
        Arc::new(works)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing is left half-changed in it, so a panic elsewhere does not make it wrong.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts work, once per ticket. Durable when it returns. Blocks on the disk; must be called in a runtime.
    pub(crate) fn start(self: &Arc<Self>, start: Start) -> Result<(), Refusal> {
        let record = Record::of_start(&start);
        if self.is_known(&start.ticket, &record)? {
            return Ok(());
        }
        self.refuse_when_closed()?;
        let Work::Install { package: sha256, .. } = start.work;
        let package = self.runner.uploads.in_use(sha256);
        if !self.runner.uploads.package(sha256).is_file() {
            let sentence = format!("the package {sha256} is not on this machine: upload it first");
            return Err(Refusal::new(RefusalKind::BadPackage, sentence));
        }
        if let Accepted::New(job) = self.accept(&start.ticket, record, Gate::Open)? {
            tokio::spawn(Arc::clone(self).carry_out(start.work, job, package));
        }
        Ok(())
    }

    async fn carry_out(self: Arc<Self>, work: Work, job: Arc<Job>, package: InUse) {
        let (works, running) = (Arc::clone(&self), Arc::clone(&job));
        // On a task of its own, so that a panic ends the ticket and not only the task.
        let run = tokio::spawn(async move { works.runner.run(work, running).await });
        let state =
            run.await.unwrap_or_else(|error| WorkState::Failed { reason: format!("Tentacle's own fault: {error}") });
        let finish = tokio::task::spawn_blocking(move || self.finish(&job, state));
        if let Err(error) = finish.await {
            tracing::error!(%error, "could not end a ticket");
        }
        drop(package);
    }

    /// Takes an order for an upgrade and closes the gate for other work. The same order again is `Known`.
    pub(crate) fn accept_upgrade(&self, ticket: &Ticket, record: Record) -> Result<Accepted, Refusal> {
        self.accept(ticket, record, Gate::Draining(ticket.clone()))
    }

    /// Is there an order under this ticket, and is it this one?
    pub(crate) fn is_known(&self, ticket: &Ticket, record: &Record) -> Result<bool, Refusal> {
        match self.inner().jobs.get(ticket) {
            None => Ok(false),
            Some(job) if job.is_of(record) => Ok(true),
            Some(_) => {
                let sentence = format!("the ticket {ticket} was used for other work: choose a new one");
                Err(Refusal::new(RefusalKind::TicketReused, sentence))
            }
        }
    }

    fn accept(&self, ticket: &Ticket, record: Record, then: Gate) -> Result<Accepted, Refusal> {
        let _turn = self.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_known(ticket, &record)? {
            return Ok(Accepted::Known);
        }
        self.refuse_when_closed()?;
        let unfinished = *self.unfinished.borrow();
        if unfinished >= UNFINISHED_MAX {
            let sentence =
                format!("{unfinished} pieces of work are waiting or running: try again when some have ended");
            return Err(Refusal::new(RefusalKind::Busy, sentence));
        }
        let job = Job::create(&self.folder, ticket, record).map_err(|error| {
            Refusal::new(RefusalKind::Internal, format!("could not write down the ticket {ticket}: {error}"))
        })?;
        let mut inner = self.inner();
        if inner.gate != Gate::Open {
            // The process began to end while the ticket was written.
            job.discard();
            return Err(closed(&inner.gate));
        }
        let job = Arc::new(job);
        inner.jobs.insert(ticket.clone(), Arc::clone(&job));
        inner.gate = then;
        self.unfinished.send_modify(|count| *count += 1);
        self.forget_old(&mut inner);
        Ok(Accepted::New(job))
    }

    /// Refuses when no new work is taken.
    pub(crate) fn refuse_when_closed(&self) -> Result<(), Refusal> {
        match &self.inner().gate {
            Gate::Open => Ok(()),
            gate => Err(closed(gate)),
        }
    }

    /// Refuses when the process is ending.
    pub(crate) fn refuse_when_ending(&self) -> Result<(), Refusal> {
        match &self.inner().gate {
            gate @ Gate::Ending => Err(closed(gate)),
            Gate::Open | Gate::Draining(_) => Ok(()),
        }
    }

    /// Refuses when another upgrade is on its way.
    pub(crate) fn refuse_when_upgrading(&self) -> Result<(), Refusal> {
        match &self.inner().gate {
            Gate::Draining(ticket) => Err(Refusal::new(
                RefusalKind::Busy,
                format!("another upgrade is on its way, under the ticket {ticket}"),
            )),
            Gate::Open | Gate::Ending => Ok(()),
        }
    }

    /// Takes new work again after an upgrade that did not come to pass.
    pub(crate) fn reopen(&self) {
        let mut inner = self.inner();
        if inner.gate != Gate::Ending {
            inner.gate = Gate::Open;
        }
    }

    /// Takes no new work any more, for good.
    pub(crate) fn close_for_good(&self) {
        self.inner().gate = Gate::Ending;
    }

    /// Waits until no more than `but` tickets are unfinished; false at the limit.
    pub(crate) async fn drained(&self, but: usize, limit: Duration) -> bool {
        let mut unfinished = self.unfinished.subscribe();
        tokio::time::timeout(limit, unfinished.wait_for(|count| *count <= but)).await.is_ok()
    }

    /// Ends a ticket: its state is on the disk before anybody is told.
    pub(crate) fn finish(&self, job: &Job, state: WorkState) {
        if job.finish(state) {
            self.unfinished.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    /// Work that has not ended, oldest first.
    pub(crate) fn running(&self) -> Vec<RunningWork> {
        let inner = self.inner();
        let mut running: Vec<_> =
            inner.jobs.values().filter(|job| !job.is_finished()).map(|job| job.summary()).collect();
        running.sort_by(|a, b| (a.since, &a.ticket).cmp(&(b.since, &b.ticket)));
        running
    }

    fn job(&self, ticket: &Ticket) -> Result<Arc<Job>, Refusal> {
        self.inner().jobs.get(ticket).cloned().ok_or_else(|| {
            let sentence =
                format!("there is no work under the ticket {ticket}: it was never accepted, or is long past");
            Refusal::new(RefusalKind::UnknownTicket, sentence)
        })
    }

    /// News of a ticket: at once when there are any, else when there are, the wait is over or the process is ending.
    pub(crate) async fn watch(&self, watch: Watch, ending: &CancellationToken) -> Result<Progress, Refusal> {
        let job = self.job(&watch.ticket)?;
        tokio::select! {
            () = job.wait_for_news(watch.after, watch.wait) => {}
            () = ending.cancelled() => {}
        }
        let read = tokio::task::spawn_blocking(move || job.progress(watch.after)).await;
        let progress = read.map_err(std::io::Error::other).and_then(|progress| progress).map_err(|error| {
            Refusal::new(RefusalKind::Internal, format!("could not read the log of {}: {error}", watch.ticket))
        })?;
        if progress.state.is_final() && self.inner().gate == Gate::Ending {
            self.end_told.cancel();
        }
        Ok(progress)
    }

    /// Waits until a watcher was told how the last ticket ended.
    pub(crate) async fn end_told(&self) {
        self.end_told.cancelled().await;
    }

    /// Notes the wish that the work of a ticket be ended. Work that has ended stays as it is.
    pub(crate) fn cancel(&self, ticket: &Ticket) -> Result<(), Refusal> {
        self.job(ticket)?.cancel(CancelCause::Asked);
        Ok(())
    }

    /// Ends all work because the process must end.
    pub(crate) fn cancel_all(&self) {
        for job in self.inner().jobs.values() {
            job.cancel(CancelCause::Stopping);
        }
    }

    fn forget_old(&self, inner: &mut Inner) {
        let mut finished: Vec<_> = inner.jobs.values().filter(|job| job.is_finished()).cloned().collect();
        finished.sort_by_key(|job| std::cmp::Reverse(job.since()));
        let oldest = crate::agent::now_micros() - i64::try_from(FINISHED_AGE_MAX.as_micros()).unwrap_or(i64::MAX);
        for (index, job) in finished.iter().enumerate() {
            if index >= FINISHED_KEPT || job.since() < oldest {
                inner.jobs.remove(job.ticket());
                job.discard();
            }
        }
    }
}

fn closed(gate: &Gate) -> Refusal {
    let sentence = match gate {
        Gate::Draining(ticket) => {
            format!("Tentacle is being upgraded (ticket {ticket}) and takes no new work: ask again in a moment")
        }
        Gate::Open | Gate::Ending => "this Tentacle is ending: ask its successor in a moment".to_owned(),
    };
    Refusal::new(RefusalKind::Ending, sentence)
}

#[cfg(test)]
mod tests;
