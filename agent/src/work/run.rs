//! Carries out one piece of work: when it may run, and how its outcome becomes a state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use contract::{EnvironmentName, Home, PackageId};
use octopus_proto::{LogLevel, Work, WorkState};
use tokio::sync::{OwnedMutexGuard, Semaphore};

use super::job::Job;
use crate::install::{InstallFailure, Order, install, verify};
use crate::log::{Log as _, chain};
use crate::upload::Uploads;
use crate::variables::Variables;

/// Pieces of work that run at a time; further ones wait, and their logs say so.
const RUNNING_MAX: usize = 4;

type Key = (EnvironmentName, PackageId);

/// Carries out work.
pub(super) struct Runner {
    home: Home,
    pub(super) uploads: Arc<Uploads>,
    slots: Semaphore,
    /// Work on the same package in the same environment runs one after the other.
    turns: Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>,
}

impl Runner {
    pub(super) fn new(home: Home, uploads: Arc<Uploads>) -> Self {
        Self { home, uploads, slots: Semaphore::new(RUNNING_MAX), turns: Mutex::default() }
    }

    /// Runs work to its end, whatever that is.
    pub(super) async fn run(&self, work: Work, job: Arc<Job>) -> WorkState {
        let cancelled = job.cancelled().clone();
        let outcome = self.run_install(work, &job).await;
        match outcome {
            Ok(()) => WorkState::Succeeded,
            Err(_) if cancelled.is_cancelled() => {
                job.line(LogLevel::Error, "the work was ended before its time");
                job.state_when_cancelled()
            }
            Err(failure) => {
                let reason = chain(&failure);
                job.line(LogLevel::Error, &reason);
                WorkState::Failed { reason }
            }
        }
    }

    async fn run_install(&self, work: Work, job: &Arc<Job>) -> Result<(), InstallFailure> {
        let Work::Install { package, environment, variables, sensitive } = work;
        let cancelled = job.cancelled();
        let verified = verify(&self.uploads, package).await?;
        let turn = self.turn((environment.clone(), verified.id().clone()));
        let waiting = async {
            let turn: OwnedMutexGuard<()> = match Arc::clone(&turn).try_lock_owned() {
                Ok(turn) => turn,
                Err(_) => {
                    job.info("waiting for other work on the same package in this environment");
                    turn.lock_owned().await
                }
            };
            let slot = match self.slots.try_acquire() {
                Ok(slot) => Some(slot),
                Err(_) => {
                    job.info(&format!("waiting: {RUNNING_MAX} other pieces of work are running"));
                    // The semaphore is never closed.
                    self.slots.acquire().await.ok()
                }
            };
            (turn, slot)
        };
        let _held = tokio::select! {
            () = cancelled.cancelled() => return Err(InstallFailure::Cancelled),
            held = waiting => held,
        };
        let order = Order {
            home: self.home.clone(),
            environment,
            variables: Variables { plain: variables, sensitive },
            variables_file: job.variables_path(),
        };
        install(order, verified, &**job, cancelled).await.map(drop)
    }

    fn turn(&self, key: Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }
}
