//! What build servers say of packages is written down and forgotten here, each with its line in the trail.

use contract::{PackageId, Version};
use serde_json::{Value, json};

use crate::app::App;
use crate::audit::Deed;
use crate::db::DbError;
use crate::db::build_information::{
    build_information_delete, build_information_get, build_information_of, build_information_put,
};
use crate::feed::OverwriteMode;
use crate::ids::{BuildInformationId, SpaceId};
use crate::model::{AuditCategory, AuditKind, Build, BuildInformation};

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was written down.
    New(BuildInformation),
    /// It was written down in the place of what was said before.
    Replaced(BuildInformation),
    /// It was said before, and that was kept.
    Kept(BuildInformation),
    /// It was said before, and that was in the way.
    Refused,
}

fn state(information: &BuildInformation) -> Value {
    json!({
        "BuildNumber": information.build.build_number,
        "VcsCommitNumber": information.build.vcs_commit_number,
        "Commits": information.build.commits.len(),
    })
}

/// Writes down how a version of a package was built.
pub async fn build_information_add(
    app: &App,
    space: SpaceId,
    package: &PackageId,
    version: &Version,
    build: &Build,
    mode: OverwriteMode,
) -> Result<Told, DbError> {
    let mut tx = app.db.write().await?;
    let old = build_information_of(&mut tx, space, package, version).await?;
    match (&old, mode) {
        (Some(_), OverwriteMode::FailIfExists) => return Ok(Told::Refused),
        (Some(old), OverwriteMode::IgnoreIfExists) => return Ok(Told::Kept(old.clone())),
        (Some(_), OverwriteMode::OverwriteExisting) | (None, _) => {}
    }
    let made = build_information_put(&mut tx, space, package, version, build, app.now()).await?;
    let (category, what) = match old {
        Some(_) => (AuditCategory::Modified, "Replace"),
        None => (AuditCategory::Created, "Create"),
    };
    let line = format!("wrote down how {package} {version} was built");
    let before = old.as_ref().map(state).unwrap_or_default();
    let deed = Deed::new(AuditKind::Package, category, what, line).on(made.id).changed(before, state(&made));
    deed.write(&mut tx, space, app.now()).await?;
    tx.commit().await?;
    Ok(if old.is_some() { Told::Replaced(made) } else { Told::New(made) })
}

/// Forgets how versions were built: all of these or, where one is not there, none. That one is returned.
pub async fn build_information_remove(
    app: &App,
    space: SpaceId,
    ids: &[BuildInformationId],
) -> Result<Option<BuildInformationId>, DbError> {
    let mut tx = app.db.write().await?;
    for id in ids {
        let Some(old) = build_information_get(&mut tx, space, *id).await? else { return Ok(Some(*id)) };
        build_information_delete(&mut tx, space, *id).await?;
        let line = format!("deleted how {} {} was built", old.package_id, old.version);
        let deed = Deed::new(AuditKind::Package, AuditCategory::Deleted, "Delete", line).on(id);
        deed.changed(state(&old), Value::Null).write(&mut tx, space, app.now()).await?;
    }
    tx.commit().await?;
    Ok(None)
}
