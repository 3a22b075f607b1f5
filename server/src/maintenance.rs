//! Maintenance: while it lasts, administrators alone change anything, by pages and API alike. What was asked for before goes
//! on: a rollout is stopped by its own hands.

use serde_json::json;

use crate::app::App;
use crate::audit::Deed;
use crate::db::settings::{setting_get, setting_set};
use crate::db::{Connection, DbError};
use crate::ids::SpaceId;
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind};

/// The name of the setting.
const MAINTENANCE: &str = "maintenance";

/// What is written there while it lasts.
const ON: &str = "on";

/// True while it lasts.
pub async fn is_in_maintenance(conn: &mut Connection) -> Result<bool, DbError> {
    Ok(setting_get(conn, MAINTENANCE).await?.as_deref() == Some(ON))
}

/// Begins it or ends it.
pub async fn maintenance_set(app: &App, is_on: bool) -> Result<(), DbError> {
    let mut tx = app.db.write().await?;
    let before = is_in_maintenance(&mut tx).await?;
    if before == is_on {
        return Ok(());
    }
    setting_set(&mut tx, MAINTENANCE, if is_on { ON } else { "off" }).await?;
    let line = if is_on { "put the portal into maintenance" } else { "ended the portal's maintenance" };
    let deed = Deed::new(AuditKind::Setting, AuditCategory::Modified, "Maintenance", line).on(SpaceId::DEFAULT);
    let deed = deed.changed(json!({ "IsInMaintenanceMode": before }), json!({ "IsInMaintenanceMode": is_on }));
    deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
    tx.commit().await?;
    app.attention.maintenance_is(is_on);
    app.live.tell(Change::Portal);
    Ok(())
}
