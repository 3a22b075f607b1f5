//! What needs a person, counted in the background, so that every page can say it without asking the database; and what the
//! machines run, written down for each day. One loop for both: it takes no input, and looks again after news or a while.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::overview::{overview_asking, overview_cloned, overview_groups, overview_paused};
use crate::db::samples::sample_put;
use crate::ids::SpaceId;
use crate::model::Health;

/// Shortest time between two looks: what changes more often is counted together.
const PAUSE: Duration = Duration::from_secs(2);

/// Longest time between two looks, where there is no news.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often what machines run is written down.
const SAMPLE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long days are kept. Older ones are forgotten.
const DAYS_KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// How many machines and rollouts need a person. As old as the last look.
#[derive(Debug, Default)]
pub struct Attention {
    machines: AtomicUsize,
    rollouts: AtomicUsize,
}

impl Attention {
    /// Machines that are not well, not reached, or answer as two.
    pub fn machines(&self) -> usize {
        self.machines.load(Ordering::Relaxed)
    }

    /// Rollouts that are paused, or ask a person.
    pub fn rollouts(&self) -> usize {
        self.rollouts.load(Ordering::Relaxed)
    }
}

/// Counts and samples until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    let mut changes = app.live.listen();
    let mut sampled: Option<Duration> = None;
    loop {
        let elapsed = app.clock.elapsed();
        if let Err(error) = look(&app).await {
            tracing::warn!(error = crate::error::chain(&error), "what needs a person was not counted");
        }
        if sampled.is_none_or(|before| elapsed.saturating_sub(before) >= SAMPLE_EVERY) {
            match sample(&app).await {
                Ok(()) => sampled = Some(elapsed),
                // The next look is the retry.
                Err(error) => tracing::warn!(error = crate::error::chain(&error), "no sample of versions was written"),
            }
        }
        let news = async {
            tokio::time::sleep(PAUSE).await;
            while !matches!(changes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
            if let Err(RecvError::Closed) = changes.recv().await {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tokio::time::timeout(LOOK_EVERY, news) => {}
        }
    }
}

/// Counts what needs a person.
pub async fn look(app: &App) -> Result<(), DbError> {
    let mut conn = app.db.read().await?;
    let space = SpaceId::DEFAULT;
    let groups = overview_groups(&mut conn, space).await?;
    let unwell = groups
        .iter()
        .filter(|group| !group.is_disabled && matches!(group.health, Health::Unhealthy | Health::Unavailable));
    let machines = unwell.map(|group| group.number).sum::<usize>() + overview_cloned(&mut conn, space).await?.len();
    let rollouts = overview_paused(&mut conn, space).await?.len() + overview_asking(&mut conn, space).await?.len();
    app.attention.machines.store(machines, Ordering::Relaxed);
    app.attention.rollouts.store(rollouts, Ordering::Relaxed);
    Ok(())
}

/// Writes down what the machines run today.
pub async fn sample(app: &App) -> Result<(), DbError> {
    let now = app.now();
    let day = Timestamp(now.0 - now.0.rem_euclid(DAY_US));
    let mut tx = app.db.write().await?;
    sample_put(&mut tx, SpaceId::DEFAULT, day, now.before(DAYS_KEPT)).await?;
    Ok(tx.commit().await?)
}
