//! Spaces as people add, change, stop and delete them, each in one transaction with its row in the trail. Used by pages and
//! API alike. A space is added and deleted in the trail of the default one, and changed in its own.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::App;
use crate::audit::{Deed, space_state};
use crate::db::policies::bundle_seen_insert;
use crate::db::spaces::{
    space_activity, space_contents, space_count, space_delete, space_digests, space_get, space_insert,
    space_lines_delete, space_list, space_rollouts_revise, space_update,
};
use crate::db::{Connection, DbError};
use crate::error::{ApiError, sentence};
use crate::feed::remove_quietly;
use crate::ids::SpaceId;
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind, NewSpace, Space, SpaceContents, TaskQueue};

/// Most spaces of a portal: the loops go through all of them. One more is refused.
pub const SPACES_MAX: i64 = 200;

/// Longest description, in characters. A longer one is refused.
pub const DESCRIPTION_MAX: usize = 1000;

/// Lines of logs that one transaction takes away at most, before the space itself goes. The rest goes in the next one.
const LINES_BITE: u32 = 5_000;

/// How long the database is left to others between two of those.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a space was not added, changed or deleted. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// There is no such space.
    #[error("there is no space {0}")]
    Unknown(SpaceId),
    /// There are as many as there may be.
    #[error("there are {SPACES_MAX} spaces, and no more may be; delete one first")]
    TooMany,
    /// The description is too long.
    #[error("a description may have at most {DESCRIPTION_MAX} characters, not {0}")]
    DescriptionTooLong(usize),
    /// It is where addresses lead that name no space.
    #[error("the default space \"{0}\" cannot be deleted: addresses that name no space mean it")]
    Default(String),
    /// Its tasks may begin at any moment.
    #[error("the task queue of the space \"{0}\" runs; stop it first")]
    Runs(String),
    /// Something goes on in it that would be torn off.
    #[error(
        "in the space \"{name}\" {tasks} task(s) run and rollouts are at {machines} machine(s); wait for their end, or cancel \
         them"
    )]
    Busy {
        /// The space.
        name: String,
        /// Tasks that run.
        tasks: i64,
        /// Machines that a rollout is at.
        machines: i64,
    },
    /// The database failed, or a rule of it would be broken.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<SpaceError> for ApiError {
    fn from(error: SpaceError) -> Self {
        match error {
            SpaceError::Unknown(id) => Self::not_found(format!("The space {id}")),
            SpaceError::Db(error) => error.into(),
            error @ SpaceError::DescriptionTooLong(_) => Self::bad_request(sentence(&error.to_string())),
            error @ (SpaceError::TooMany | SpaceError::Default(_) | SpaceError::Runs(_) | SpaceError::Busy { .. }) => {
                Self::conflict(sentence(&error.to_string()))
            }
        }
    }
}

impl App {
    /// The spaces, the default one first. As old as the last change of one.
    pub fn spaces(&self) -> Vec<Space> {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads which spaces there are. Asked at the start, and after every change of one.
pub async fn spaces_load(app: &App) -> Result<(), DbError> {
    let spaces = space_list(&mut *app.db.read().await?).await?;
    *app.spaces.write().unwrap_or_else(PoisonError::into_inner) = spaces;
    Ok(())
}

/// The same after a change that was committed: it is done, whatever becomes of this.
async fn tell_pages(app: &App) {
    if let Err(error) = spaces_load(app).await {
        tracing::warn!(error = crate::error::chain(&error), "pages name the spaces as they were before");
    }
}

/// Adds a space. What the portal bundles is not new to it: its automatic policies begin with the next version.
pub async fn space_add(app: &App, new: &NewSpace) -> Result<Space, SpaceError> {
    check(new)?;
    let mut tx = app.db.write().await?;
    if space_count(&mut tx).await? >= SPACES_MAX {
        return Err(SpaceError::TooMany);
    }
    let space = space_insert(&mut tx, new).await?;
    if let Some(bundled) = app.bundle.version() {
        let outcome = "nothing was made: the space is younger than this version";
        bundle_seen_insert(&mut tx, space.id, bundled, outcome, app.now()).await?;
    }
    let line = format!("added space {}", space.name);
    let deed = Deed::new(AuditKind::Space, AuditCategory::Created, "Create", line).on(space.id);
    deed.changed(Value::Null, space_state(&space)).write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    tracing::info!(space.id = %space.id, space.name = space.name, "a space was added");
    tell_pages(app).await;
    Ok(space)
}

/// Changes a space to what `wish` makes of what it is. What is the same already is no change.
pub async fn space_change<E: From<SpaceError> + From<DbError>>(
    app: &App,
    id: SpaceId,
    wish: impl FnOnce(&Space) -> Result<NewSpace, E>,
) -> Result<Space, E> {
    let mut tx = app.db.write().await?;
    let old = space_get(&mut tx, id).await?.ok_or(SpaceError::Unknown(id))?;
    let new = wish(&old)?;
    check(&new)?;
    let changed = space_update(&mut tx, id, &new).await?.ok_or(SpaceError::Unknown(id))?;
    let (what, line) = match (old.queue, changed.queue) {
        (TaskQueue::Runs, TaskQueue::Stopped) => ("StopQueue", "stopped the task queue of space"),
        (TaskQueue::Stopped, TaskQueue::Runs) => ("StartQueue", "started the task queue of space"),
        (TaskQueue::Runs, TaskQueue::Runs) | (TaskQueue::Stopped, TaskQueue::Stopped) => ("Edit", "changed space"),
    };
    let line = format!("{line} {}", changed.name);
    let deed = Deed::new(AuditKind::Space, AuditCategory::Modified, what, line).on(id);
    let deed = deed.changed(space_state(&old), space_state(&changed));
    if deed.changes_nothing() {
        return Ok(changed);
    }
    deed.write(&mut tx, id, app.now()).await?;
    // A plan that was made with the queue as it was is thrown away.
    let rollouts = if old.queue == changed.queue { Vec::new() } else { space_rollouts_revise(&mut tx, id).await? };
    tx.commit().await.map_err(DbError::from)?;
    tracing::info!(space.id = %id, space.name = changed.name, queue = ?changed.queue, "a space was changed");
    tell_pages(app).await;
    rollouts.into_iter().for_each(|rollout| app.live.tell(Change::Rollout(rollout)));
    app.live.poke_orchestrator();
    app.live.poke_tasks();
    Ok(changed)
}

/// Deletes a space whose queue is stopped and in which nothing goes on, with everything in it. Machines are forgotten, not
/// touched. False if there is none.
pub async fn space_remove(app: &App, id: SpaceId) -> Result<bool, SpaceError> {
    if !may_go(&mut *app.db.read().await?, id).await? {
        return Ok(false);
    }
    // Logs are long, and nobody may wait for the database while they go: so they go first.
    loop {
        let mut tx = app.db.write().await?;
        let lines = space_lines_delete(&mut tx, id, LINES_BITE).await?;
        tx.commit().await.map_err(DbError::from)?;
        if lines < u64::from(LINES_BITE) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let mut tx = app.db.write().await?;
    if !may_go(&mut tx, id).await? {
        return Ok(false);
    }
    let space = space_get(&mut tx, id).await?.ok_or(SpaceError::Unknown(id))?;
    let before = held(&space, space_contents(&mut tx, id).await?);
    let files = space_digests(&mut tx, id).await?;
    space_delete(&mut tx, id).await?;
    let line = format!("deleted space {} with everything in it", space.name);
    let deed = Deed::new(AuditKind::Space, AuditCategory::Deleted, "Delete", line).on(id);
    deed.changed(before, Value::Null).write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    tracing::info!(space.id = %id, space.name = space.name, "a space was deleted");
    tell_pages(app).await;
    crate::policy::machine_policy_forget(app, id);
    for file in files {
        remove_quietly(app, &file).await;
    }
    app.live.tell(Change::Packages);
    Ok(true)
}

/// True where a space may be deleted, false where there is none.
async fn may_go(conn: &mut Connection, id: SpaceId) -> Result<bool, SpaceError> {
    let Some(space) = space_get(conn, id).await? else { return Ok(false) };
    if space.is_default {
        return Err(SpaceError::Default(space.name));
    }
    if !space.queue.is_stopped() {
        return Err(SpaceError::Runs(space.name));
    }
    let activity = space_activity(conn, id).await?;
    if activity.is_none() {
        return Ok(true);
    }
    Err(SpaceError::Busy { name: space.name, tasks: activity.tasks, machines: activity.machines })
}

fn check(new: &NewSpace) -> Result<(), SpaceError> {
    match new.description.chars().count() {
        length if length > DESCRIPTION_MAX => Err(SpaceError::DescriptionTooLong(length)),
        _ => Ok(()),
    }
}

/// A space as the trail keeps it when it goes: with how much went.
fn held(space: &Space, contents: SpaceContents) -> Value {
    let mut state = space_state(space);
    state["Environments"] = json!(contents.environments);
    state["Machines"] = json!(contents.machines);
    state["Packages"] = json!(contents.packages);
    state["Rollouts"] = json!(contents.rollouts);
    state["Tasks"] = json!(contents.tasks);
    state
}

#[cfg(test)]
#[path = "spaces_tests.rs"]
mod tests;
