//! What needs a person, counted in the background, so that every page can say it without asking the database; and what the
//! machines run, written down for each day. One loop for both: it takes no input, and looks again after news or a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::Timestamp;
use crate::db::overview::{overview_asking, overview_cloned, overview_groups, overview_paused};
use crate::db::samples::sample_put;
use crate::db::spaces::space_ids;
use crate::db::{Connection, DbError};
use crate::ids::SpaceId;
use crate::maintenance::is_in_maintenance;
use crate::model::Health;
use crate::restored::restored_open;

/// Shortest time between two looks: what changes more often is counted together.
const PAUSE: Duration = Duration::from_secs(2);

/// Longest time between two looks, where there is no news.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often what machines run is written down.
const SAMPLE_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long days are kept. Older ones are forgotten.
const DAYS_KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// How much of a space needs a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Machines that are not well, not reached, or answer as two.
    pub machines: usize,
    /// Rollouts that are paused, or ask a person.
    pub rollouts: usize,
}

/// How much needs a person, by space. As old as the last look.
#[derive(Debug, Default)]
pub struct Attention {
    spaces: RwLock<HashMap<SpaceId, Needs>>,
    portal: AtomicUsize,
    maintenance: AtomicBool,
}

impl Attention {
    /// How much of a space does.
    pub fn of(&self, space: SpaceId) -> Needs {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner).get(&space).copied().unwrap_or_default()
    }

    /// 1 where the portal was restored and nobody has confirmed that.
    pub fn portal(&self) -> usize {
        self.portal.load(Ordering::Relaxed)
    }

    /// True while administrators alone change anything, as every page says.
    pub fn is_maintenance(&self) -> bool {
        self.maintenance.load(Ordering::Relaxed)
    }

    /// Told when it begins or ends: no page waits for the next look.
    pub fn maintenance_is(&self, is_on: bool) {
        self.maintenance.store(is_on, Ordering::Relaxed);
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
            // What came meanwhile is news too; all of it is one look.
            if let Err(RecvError::Closed) = changes.recv().await {
                std::future::pending::<()>().await;
            }
            while !matches!(changes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tokio::time::timeout(LOOK_EVERY, news) => {}
        }
    }
}

/// Counts what needs a person, in every space.
pub async fn look(app: &App) -> Result<(), DbError> {
    let mut conn = app.db.read().await?;
    let mut found = HashMap::new();
    for space in space_ids(&mut conn).await? {
        found.insert(space, count(&mut conn, space).await?);
    }
    *app.attention.spaces.write().unwrap_or_else(PoisonError::into_inner) = found;
    let portal = usize::from(restored_open(&mut conn).await?.is_some());
    app.attention.portal.store(portal, Ordering::Relaxed);
    app.attention.maintenance_is(is_in_maintenance(&mut conn).await?);
    Ok(())
}

async fn count(conn: &mut Connection, space: SpaceId) -> Result<Needs, DbError> {
    let groups = overview_groups(conn, space).await?;
    let unwell = groups
        .iter()
        .filter(|group| !group.is_disabled && matches!(group.health, Health::Unhealthy | Health::Unavailable));
    let machines = unwell.map(|group| group.number).sum::<usize>() + overview_cloned(conn, space).await?.len();
    let rollouts = overview_paused(conn, space).await?.len() + overview_asking(conn, space).await?.len();
    Ok(Needs { machines, rollouts })
}

/// Writes down what the machines of every space run today.
pub async fn sample(app: &App) -> Result<(), DbError> {
    let now = app.now();
    let day = Timestamp(now.0 - now.0.rem_euclid(DAY_US));
    let mut tx = app.db.write().await?;
    for space in space_ids(&mut tx).await? {
        sample_put(&mut tx, space, day, now.before(DAYS_KEPT)).await?;
    }
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::db::environments::environment_insert;
    use crate::db::facts::facts_put;
    use crate::db::machines::machine_insert;
    use crate::live::Change;
    use crate::model::{Address, Contact, Facts, Instances, NewEnvironment, NewMachine};

    /// Adds a machine that nobody reaches, and tells of it.
    async fn lose(app: &App, name: &str) {
        let mut tx = app.db.write().await.unwrap();
        let environment = NewEnvironment {
            name: format!("Of {name}").parse().unwrap(),
            description: String::new(),
            sort_order: None,
            is_disabled: false,
        };
        let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &environment).await.unwrap().id;
        let new = NewMachine {
            name: name.to_owned(),
            address: Address::new(name, 10933).unwrap(),
            thumbprint: contract::Thumbprint([7; 32]),
            is_disabled: false,
            environments: vec![environment],
            roles: Vec::new(),
        };
        let id = machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap().id;
        let contact = Contact::Silent { reason: "no route".to_owned() };
        let (tried_at, contact_since) = (app.now(), app.now());
        let facts = Facts { tried_at, contact, contact_since, report: None, instances: Instances::default() };
        facts_put(&mut tx, id, &facts).await.unwrap();
        tx.commit().await.unwrap();
        app.live.tell(Change::Machine(id));
    }

    async fn counted(app: &App, machines: usize) {
        let limit = Instant::now() + LOOK_EVERY / 2;
        while app.attention.of(SpaceId::DEFAULT).machines != machines {
            assert!(Instant::now() < limit, "{:?} are counted, not {machines}", app.attention.of(SpaceId::DEFAULT));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_changes_right_after_a_look_is_counted_at_the_next_and_not_a_minute_later() {
        let app = App::for_tests().await;
        lose(&app, "web-1").await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(app.app.clone(), stop.clone()));
        counted(&app, 1).await;
        lose(&app, "web-2").await;
        counted(&app, 2).await;
        stop.cancel();
        running.await.unwrap();
    }
}
