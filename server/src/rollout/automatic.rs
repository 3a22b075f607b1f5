//! The automatic upgrade policy: when a portal starts that bundles a version for the first time, it makes the rollouts of
//! the environments that want this.
//!
//! Once for each version, whatever becomes of it: that it was seen and what came of it is written in the transaction that
//! makes the rollouts, so no restart and no kill makes them again. A rollout that its brake stops stays stopped.

use contract::Version;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::create::{RolloutError, RolloutRequest, Selection, rollout_tell, rollout_write};
use super::strategy::Strategy;
use crate::app::App;
use crate::db::policies::{bundle_seen_insert, bundles_seen, policies_list, version_called_off};
use crate::db::spaces::space_ids;
use crate::db::{Connection, DbError};
use crate::ids::{EnvironmentId, SpaceId};
use crate::restored::restored_open;

/// Who makes these rollouts, in every place that names a person.
pub const WHO: &str = "the automatic policy";

/// What an environment says of upgrades that nobody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePolicy {
    /// There are none.
    #[default]
    Never,
    /// When the portal bundles a version for the first time, by this strategy.
    OnNewBundle(Strategy),
}

impl UpgradePolicy {
    /// The strategy, where there is one.
    pub fn strategy(&self) -> Option<&Strategy> {
        match self {
            Self::Never => None,
            Self::OnNewBundle(strategy) => Some(strategy),
        }
    }
}

/// Makes the rollouts of a version that is bundled for the first time, in every space. Called once at the start, before the
/// loops.
pub async fn on_start_everywhere(app: &App) -> Result<(), DbError> {
    let spaces = space_ids(&mut *app.db.read().await?).await?;
    for space in spaces {
        on_start(app, space).await?;
    }
    Ok(())
}

/// The same in one space.
pub async fn on_start(app: &App, space: SpaceId) -> Result<(), DbError> {
    let Some(bundled) = app.bundle.version().cloned() else { return Ok(()) };
    let mut tx = app.db.write().await?;
    let seen = bundles_seen(&mut tx, space).await?;
    if seen.contains_key(&bundled) {
        return Ok(());
    }
    let mut made = Vec::new();
    let reason = why_not(&mut tx, space, &bundled, seen.keys().max()).await?;
    let outcome = match reason {
        Some(reason) => reason,
        None => {
            let mut said = Vec::new();
            for (strategy, environments) in wishes(&mut tx, space).await? {
                let request = RolloutRequest {
                    strategy: Some(strategy),
                    target: Some(bundled.clone()),
                    description: Some(format!("Upgrade to {bundled} by the automatic policy")),
                    ..RolloutRequest::of(Selection::Environments(environments))
                };
                match rollout_write(app, &mut tx, space, WHO, request).await {
                    Ok(rollout) => {
                        said.push(format!("{} was made for {} machines", rollout.id, rollout.machines.len()));
                        made.push(rollout);
                    }
                    Err(RolloutError::Db(error)) => return Err(error),
                    // What makes no sense now is not tried again at the next start.
                    Err(refused) => said.push(refused.to_string()),
                }
            }
            if said.is_empty() { "no environment asks for it".to_owned() } else { said.join("; ") }
        }
    };
    bundle_seen_insert(&mut tx, space, &bundled, &outcome, app.clock.now()).await?;
    tx.commit().await.map_err(DbError::from)?;
    tracing::info!(version = %bundled, outcome, "this version is bundled for the first time");
    made.iter().for_each(|rollout| rollout_tell(app, rollout));
    Ok(())
}

/// Why nothing is made for a version; `None` where it may be.
async fn why_not(
    conn: &mut Connection,
    space: SpaceId,
    bundled: &Version,
    newest: Option<&Version>,
) -> Result<Option<String>, DbError> {
    if let Some(restored) = restored_open(conn).await? {
        return Ok(Some(format!("nothing was made, because {}", restored.reason())));
    }
    if let Some(newest) = newest.filter(|newest| *newest > bundled) {
        return Ok(Some(format!("nothing was made: this portal bundled {newest} before, which is newer")));
    }
    let called_off = version_called_off(conn, space, bundled).await?;
    Ok(called_off.map(|line| format!("nothing was made, because a person called this version off before: {line}")))
}

/// The environments that want it; those that go about it alike are one wish.
async fn wishes(conn: &mut Connection, space: SpaceId) -> Result<Vec<(Strategy, Vec<EnvironmentId>)>, DbError> {
    let mut wishes: Vec<(Strategy, Vec<EnvironmentId>)> = Vec::new();
    for (id, strategy) in policies_list(conn, space).await? {
        match wishes.iter_mut().find(|(other, _)| *other == strategy) {
            Some((_, environments)) => environments.push(id),
            None => wishes.push((strategy, vec![id])),
        }
    }
    Ok(wishes)
}

#[cfg(test)]
#[path = "automatic_tests.rs"]
mod tests;
