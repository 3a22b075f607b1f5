//! Saying that nothing is begun for a time, and taking that back. Used by pages and API alike.

use super::calendar::{FreezePeriod, FreezeScope};
use super::create::Selection;
use serde_json::Value;

use crate::app::App;
use crate::audit::{Deed, because, freeze_state};
use crate::db::DbError;
use crate::db::environments::environment_list;
use crate::db::maintenance::{freeze_delete, freeze_insert, freeze_list};
use crate::error::ApiError;
use crate::ids::{EnvironmentId, FreezeId, SpaceId};
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind};

/// Longest reason, in characters.
const REASON_MAX: usize = 500;

/// Why a freeze is refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// It ends before it begins.
    #[error("a freeze must end after it begins, and in the future")]
    Over,
    /// Nobody would know why.
    #[error(
        "a freeze needs a reason of at most {REASON_MAX} characters: whoever finds a machine waiting wants to know why"
    )]
    NoReason,
    /// It is for nothing.
    #[error("a freeze for some environments must name at least one")]
    NoEnvironment,
    /// One that was named is not there.
    #[error("there is no environment {0}")]
    UnknownEnvironment(EnvironmentId),
    /// The database failed.
    #[error("the freeze could not be written down")]
    Db(#[from] DbError),
}

impl From<FreezeError> for ApiError {
    fn from(error: FreezeError) -> Self {
        match error {
            FreezeError::Db(error) => error.into(),
            refused => Self::bad_request(crate::error::sentence(&refused.to_string())),
        }
    }
}

/// Writes a freeze down. What is under way goes on.
pub async fn freeze_add(app: &App, space: SpaceId, who: &str, period: FreezePeriod) -> Result<FreezeId, FreezeError> {
    let now = app.clock.now();
    let reason = period.reason.trim().to_owned();
    if period.until <= period.from || period.until <= now {
        return Err(FreezeError::Over);
    }
    if reason.is_empty() || reason.chars().count() > REASON_MAX {
        return Err(FreezeError::NoReason);
    }
    let mut tx = app.db.write().await?;
    let mut scope = period.scope;
    if let FreezeScope::Environments(ids) = &mut scope {
        ids.sort_unstable();
        ids.dedup();
        let known = environment_list(&mut tx, space).await?;
        if ids.is_empty() {
            return Err(FreezeError::NoEnvironment);
        }
        if let Some(id) = ids.iter().find(|id| known.iter().all(|environment| environment.id != **id)) {
            return Err(FreezeError::UnknownEnvironment(*id));
        }
    }
    let period = FreezePeriod { scope, reason, ..period };
    let id = freeze_insert(&mut tx, space, &period, who, now).await?;
    let line = format!("froze upgrades until {}: {}", period.until.minutes(), period.reason);
    let deed = Deed::new(AuditKind::Freeze, AuditCategory::Created, "Create", line).by(who).on(id);
    let deed = if let FreezeScope::Environments(ids) = &period.scope { deed.on_all(ids) } else { deed };
    deed.changed(Value::Null, freeze_state(&period)).write(&mut tx, space, now).await?;
    tx.commit().await.map_err(DbError::from)?;
    tracing::info!(freeze.id = %id, by = who, reason = period.reason, "upgrades are frozen for a time");
    tell(app, &period.scope);
    Ok(id)
}

/// Takes a freeze back. False if there is none.
pub async fn freeze_end(app: &App, space: SpaceId, who: &str, id: FreezeId) -> Result<bool, FreezeError> {
    let mut tx = app.db.write().await?;
    let freeze = freeze_list(&mut tx, space).await?.into_iter().find(|freeze| freeze.id == id);
    let was_there = freeze_delete(&mut tx, space, id).await?;
    if was_there {
        let reason = freeze.as_ref().map_or("", |freeze| freeze.period.reason.as_str());
        let line = format!("took a freeze back{}", because(reason));
        let deed = Deed::new(AuditKind::Freeze, AuditCategory::Deleted, "Delete", line).by(who).on(id);
        let before = freeze.as_ref().map(|freeze| freeze_state(&freeze.period)).unwrap_or_default();
        deed.changed(before, Value::Null).write(&mut tx, space, app.clock.now()).await?;
    }
    tx.commit().await.map_err(DbError::from)?;
    if was_there {
        tracing::info!(freeze.id = %id, by = who, "a freeze was taken back");
        app.live.poke_orchestrator();
    }
    Ok(was_there)
}

impl FreezeScope {
    /// The machines that it is about.
    pub fn selection(&self) -> Selection {
        match self {
            Self::All => Selection::All,
            Self::Environments(ids) => Selection::Environments(ids.clone()),
        }
    }
}

fn tell(app: &App, scope: &FreezeScope) {
    if let FreezeScope::Environments(ids) = scope {
        ids.iter().for_each(|id| app.live.tell(Change::Environment(*id)));
    }
    app.live.poke_orchestrator();
}
