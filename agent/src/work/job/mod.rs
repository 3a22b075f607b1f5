//! One ticket: its record, its log, its state and the wish to end it.

mod log_file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, io};

use log_file::LogFile;
use octopus_proto::{LogLevel, Progress, RunningWork, Ticket, WorkState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::record::{self, End, Record};
use crate::log::Log;
use crate::sys;

/// Why work was ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelCause {
    /// The portal asked for it.
    Asked,
    /// The process must end.
    Stopping,
}

/// The work of one ticket.
pub(crate) struct Job {
    ticket: Ticket,
    folder: PathBuf,
    record: Record,
    log: Mutex<LogFile>,
    news: watch::Sender<News>,
    cancel: CancellationToken,
    cause: OnceLock<CancelCause>,
}

#[derive(Clone, Debug)]
struct News {
    /// The highest sequence number in the log.
    last: u64,
    state: WorkState,
}

/// The tickets of earlier processes. A folder with neither an order nor an end was never accepted and is deleted.
pub(super) fn load_all(folder: &Path) -> io::Result<HashMap<Ticket, std::sync::Arc<Job>>> {
    let mut jobs = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(ticket) = entry.file_name().to_str().and_then(|name| name.parse::<Ticket>().ok()) else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if was_accepted(&entry.path()) {
            jobs.insert(ticket.clone(), std::sync::Arc::new(Job::load(&entry.path(), &ticket)));
        } else if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(%ticket, %error, "could not delete what is left of an order that was not accepted");
        }
    }
    Ok(jobs)
}

/// True where there is a record, whether it can be read or not.
fn was_accepted(folder: &Path) -> bool {
    [record::order_path(folder), record::end_path(folder)].iter().any(|path| fs::symlink_metadata(path).is_ok())
}

/// Deletes what a process that was killed left besides its record: the variables above all.
fn remove_leftovers(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if ![record::order_path(folder), record::log_path(folder), record::end_path(folder)].contains(&path) {
            if fs::symlink_metadata(&path)?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
    }
    Ok(())
}

/// A part of a record: `None` where there is none, an error where it cannot be understood.
fn read_part<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Job {
    /// Writes a new ticket down; durable when it returns.
    pub(super) fn create(works: &Path, ticket: &Ticket, record: Record) -> io::Result<Self> {
        package::ensure_private_folder(works).map_err(io::Error::other)?;
        let folder = works.join(ticket.as_str());
        match fs::create_dir(&folder) {
            // A record that could not be read when this process started: the work may have been done.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && was_accepted(&folder) => {
                return Err(io::Error::other(format!("{} holds an earlier order", folder.display())));
            }
            // What is left of an order that was refused half-way.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&folder)?;
                fs::create_dir(&folder)?;
            }
            other => other?,
        }
        let log = LogFile::create(&record::log_path(&folder))?;
        sys::write_durable(&record::order_path(&folder), &serde_json::to_vec(&record)?)?;
        sys::sync_folder(works)?;
        Ok(Self::new(ticket, folder, record, log, WorkState::Running))
    }

    /// Reads the record of an earlier process. Whatever is damaged in it, the ticket stays known, so that its work is not
    /// done again; what nobody can tell any more becomes an unknown result.
    fn load(folder: &Path, ticket: &Ticket) -> Self {
        let warn = |error: io::Error, what| tracing::warn!(%ticket, %error, "{what} of an earlier process is damaged");
        let mut reason = "Tentacle ended while this was going on, and nobody saw how it came out";
        if let Err(error) = remove_leftovers(folder) {
            warn(error, "what lies beside the record of a ticket");
        }
        let record =
            read_part(&record::order_path(folder)).and_then(|record| record.ok_or(io::ErrorKind::NotFound.into()));
        let record = record.unwrap_or_else(|error| {
            warn(error, "the order of a ticket");
            let record = Record::damaged();
            let _ = serde_json::to_vec(&record).map(|bytes| sys::write_durable(&record::order_path(folder), &bytes));
            record
        });
        let log = LogFile::load(&record::log_path(folder)).unwrap_or_else(|error| {
            warn(error, "the log of a ticket");
            LogFile::lost()
        });
        let end = read_part::<End>(&record::end_path(folder)).unwrap_or_else(|error| {
            warn(error, "the end of a ticket");
            reason = "the record of how it ended is damaged";
            None
        });
        let known = end.is_some();
        let job = Self::new(ticket, folder.to_owned(), record, log, end.map_or(WorkState::Running, Into::into));
        if !known {
            job.line(LogLevel::Error, reason);
            job.finish(WorkState::UnknownResult { reason: reason.to_owned() });
        }
        job
    }

    fn new(ticket: &Ticket, folder: PathBuf, record: Record, log: LogFile, state: WorkState) -> Self {
        Self {
            ticket: ticket.clone(),
            folder,
            record,
            news: watch::Sender::new(News { last: log.last(), state }),
            log: Mutex::new(log),
            cancel: CancellationToken::new(),
            cause: OnceLock::new(),
        }
    }

    fn log(&self) -> MutexGuard<'_, LogFile> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    pub(super) fn is_of(&self, record: &Record) -> bool {
        self.record.is_same_order(record)
    }

    pub(super) fn since(&self) -> i64 {
        self.record.since
    }

    pub(super) fn is_finished(&self) -> bool {
        self.news.borrow().state.is_final()
    }

    pub(super) fn variables_path(&self) -> PathBuf {
        record::variables_path(&self.folder)
    }

    pub(super) fn summary(&self) -> RunningWork {
        let Record { description, since, .. } = &self.record;
        RunningWork { ticket: self.ticket.clone(), description: description.clone(), since: *since }
    }

    /// Ends it: the log and then the state are on the disk before anybody is told. False when it had ended before.
    pub(super) fn finish(&self, state: WorkState) -> bool {
        let (Some(end), false) = (End::of(&state), self.is_finished()) else { return false };
        let written = self.log().sync().and_then(|()| self.write_end(&end));
        if let Err(error) = written {
            // Whoever asks this process is told the truth all the same; its successor will not know.
            tracing::error!(ticket = %self.ticket, %error, "could not write down how work ended");
        }
        self.news.send_modify(|news| news.state = state);
        true
    }

    fn write_end(&self, end: &End) -> io::Result<()> {
        let (path, bytes) = (record::end_path(&self.folder), serde_json::to_vec(end)?);
        if !self.folder.exists() {
            // Somebody deleted it. A ticket that the next process does not know would be carried out again.
            fs::create_dir_all(&self.folder)?;
            sys::write_durable(&record::order_path(&self.folder), &serde_json::to_vec(&self.record)?)?;
        }
        sys::write_durable(&path, &bytes)
    }

    /// Forgets it.
    pub(super) fn discard(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(ticket = %self.ticket, %error, "could not delete an old ticket");
        }
    }

    pub(super) fn cancel(&self, cause: CancelCause) {
        // The first cause counts.
        let _ = self.cause.set(cause);
        self.cancel.cancel();
    }

    /// Fires when the work is to be ended.
    pub(crate) fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The state of work that was ended before its time.
    pub(crate) fn state_when_cancelled(&self) -> WorkState {
        match self.cause.get() {
            Some(CancelCause::Stopping) => {
                WorkState::Failed { reason: "it was ended because Tentacle was told to end".to_owned() }
            }
            Some(CancelCause::Asked) | None => WorkState::Cancelled,
        }
    }

    pub(super) async fn wait_for_news(&self, after: u64, wait: Duration) {
        let mut news = self.news.subscribe();
        let any = news.wait_for(|news| news.last > after || news.state.is_final());
        // No news is an answer too.
        let _ = tokio::time::timeout(wait, any).await;
    }

    /// Lines after a sequence number, and the state. A final one only with the last line.
    pub(super) fn progress(&self, after: u64) -> io::Result<Progress> {
        // The state first: lines that come meanwhile do no harm, a state that comes before its last line would.
        let News { last, state } = self.news.borrow().clone();
        let lines = self.log().read(after)?;
        let told = lines.last().map_or(after, |line| line.seq);
        let state = if state.is_final() && told < last { WorkState::Running } else { state };
        Ok(Progress { lines, state, last: told })
    }
}

impl Log for Job {
    fn lines(&self, lines: &mut dyn Iterator<Item = (LogLevel, &str)>) {
        let last = {
            let mut log = self.log();
            let had_gap = log.has_gap();
            // Said once: a script may write many lines to a full disk.
            if let Err(error) = log.append(lines)
                && !had_gap
            {
                tracing::error!(ticket = %self.ticket, %error, "could not write the log of work");
            }
            log.last()
        };
        self.news.send_if_modified(|news| std::mem::replace(&mut news.last, last) != last);
    }
}
