//! The table `build_information`: how versions of packages were built.

use contract::{PackageId, Version};

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{BuildInformationId, SpaceId};
use crate::model::{Build, BuildInformation};

#[derive(sqlx::FromRow)]
struct Row {
    id: BuildInformationId,
    space_id: SpaceId,
    package_id: String,
    version: String,
    information: String,
    created_at: Timestamp,
}

impl TryFrom<Row> for BuildInformation {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let damaged = |column: &str, value: &str| DbError::damaged(&format!("build_information.{column}"), value);
        Ok(Self {
            id: row.id,
            space: row.space_id,
            package_id: row.package_id.parse().map_err(|_| damaged("package_id", &row.package_id))?,
            version: row.version.parse().map_err(|_| damaged("version", &row.version))?,
            build: serde_json::from_str(&row.information).map_err(|_| damaged("information", &row.information))?,
            created_at: row.created_at,
        })
    }
}

/// All of a space: by package, and the newest version of each first.
pub async fn build_information_list(conn: &mut Connection, space: SpaceId) -> Result<Vec<BuildInformation>, DbError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM build_information WHERE space_id = $1 ORDER BY package_key")
        .bind(space)
        .fetch_all(conn)
        .await?;
    let mut all = rows.into_iter().map(BuildInformation::try_from).collect::<Result<Vec<_>, _>>()?;
    // Versions do not order as texts.
    all.sort_by(|a, b| a.package_id.key().cmp(&b.package_id.key()).then_with(|| b.version.cmp(&a.version)));
    Ok(all)
}

/// That of one version of a package.
pub async fn build_information_of(
    conn: &mut Connection,
    space: SpaceId,
    package: &PackageId,
    version: &Version,
) -> Result<Option<BuildInformation>, DbError> {
    let sql = "SELECT * FROM build_information WHERE space_id = $1 AND package_key = $2 AND version_key = $3";
    let row: Option<Row> =
        sqlx::query_as(sql).bind(space).bind(package.key()).bind(version.folder_name()).fetch_optional(conn).await?;
    row.map(BuildInformation::try_from).transpose()
}

/// One by its id.
pub async fn build_information_get(
    conn: &mut Connection,
    space: SpaceId,
    id: BuildInformationId,
) -> Result<Option<BuildInformation>, DbError> {
    let sql = "SELECT * FROM build_information WHERE space_id = $1 AND id = $2";
    let row: Option<Row> = sqlx::query_as(sql).bind(space).bind(id).fetch_optional(conn).await?;
    row.map(BuildInformation::try_from).transpose()
}

/// Writes down how a version was built, in the place of what was said of it before.
pub async fn build_information_put(
    conn: &mut Connection,
    space: SpaceId,
    package: &PackageId,
    version: &Version,
    build: &Build,
    now: Timestamp,
) -> Result<BuildInformation, DbError> {
    let text =
        serde_json::to_string(build).map_err(|error| DbError::damaged("build_information.information", error))?;
    let sql = "INSERT INTO build_information (space_id, package_id, package_key, version, version_key, information, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (space_id, package_key, version_key) DO UPDATE SET
            package_id = excluded.package_id, version = excluded.version, information = excluded.information,
            created_at = excluded.created_at
         RETURNING *";
    let row: Row = sqlx::query_as(sql)
        .bind(space)
        .bind(package.as_str())
        .bind(package.key())
        .bind(version.to_string())
        .bind(version.folder_name())
        .bind(text)
        .bind(now)
        .fetch_one(conn)
        .await?;
    row.try_into()
}

/// Deletes one; false if there is none.
pub async fn build_information_delete(
    conn: &mut Connection,
    space: SpaceId,
    id: BuildInformationId,
) -> Result<bool, DbError> {
    let sql = "DELETE FROM build_information WHERE space_id = $1 AND id = $2";
    Ok(sqlx::query(sql).bind(space).bind(id).execute(conn).await?.rows_affected() > 0)
}
