//! The table `packages`: what was uploaded. The bytes lie in the package store.

use std::collections::HashSet;

use contract::{PackageId, Sha256, Version};

use super::{Connection, DbError, Refusal};
use crate::clock::Timestamp;
use crate::ids::SpaceId;
use crate::model::{NewPackage, Package};

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    space_id: SpaceId,
    package_id: String,
    version: String,
    sha256: String,
    size: i64,
    title: String,
    summary: String,
    description: String,
    release_notes: String,
    uploaded_at: Timestamp,
}

impl TryFrom<Row> for Package {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let package = NewPackage {
            space: row.space_id,
            package_id: row.package_id.parse().map_err(|_| DbError::damaged("packages.package_id", &row.package_id))?,
            version: row.version.parse().map_err(|_| DbError::damaged("packages.version", &row.version))?,
            sha256: row.sha256.parse().map_err(|_| DbError::damaged("packages.sha256", &row.sha256))?,
            size: u64::try_from(row.size).map_err(|_| DbError::damaged("packages.size", row.size))?,
            title: row.title,
            summary: row.summary,
            description: row.description,
            release_notes: row.release_notes,
        };
        Ok(Self { id: row.id, package, uploaded_at: row.uploaded_at })
    }
}

/// The packages of a space: by id, and the newest version of each first.
pub async fn package_list(conn: &mut Connection, space: SpaceId) -> Result<Vec<Package>, DbError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM packages WHERE space_id = $1 ORDER BY package_key")
        .bind(space)
        .fetch_all(conn)
        .await?;
    let mut packages = rows.into_iter().map(Package::try_from).collect::<Result<Vec<_>, _>>()?;
    // Versions do not order as texts; the sort is stable, so each id stays together.
    packages.sort_by(|a, b| {
        let (a, b) = (&a.package, &b.package);
        a.package_id.key().cmp(&b.package_id.key()).then_with(|| b.version.cmp(&a.version))
    });
    Ok(packages)
}

/// One package.
pub async fn package_get(
    conn: &mut Connection,
    space: SpaceId,
    id: &PackageId,
    version: &Version,
) -> Result<Option<Package>, DbError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM packages WHERE space_id = $1 AND package_key = $2 AND version_key = $3")
            .bind(space)
            .bind(id.key())
            .bind(version.folder_name())
            .fetch_optional(conn)
            .await?;
    row.map(Package::try_from).transpose()
}

/// Adds a package; refused where its id and version exist.
pub async fn package_insert(conn: &mut Connection, new: &NewPackage, now: Timestamp) -> Result<Package, DbError> {
    let row = write(
        conn,
        "INSERT INTO packages (space_id, package_id, package_key, version, version_key, sha256, size, title, summary,
                               description, release_notes, uploaded_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING *",
        new,
        now,
    );
    let refusal = || Refusal::PackageExists { id: new.package_id.clone(), version: new.version.clone() };
    row.await.map_err(|error| DbError::or_taken(error, refusal))?.try_into()
}

/// Adds a package, or puts it in the place of the one with its id and version.
pub async fn package_replace(conn: &mut Connection, new: &NewPackage, now: Timestamp) -> Result<Package, DbError> {
    let row = write(
        conn,
        "INSERT INTO packages (space_id, package_id, package_key, version, version_key, sha256, size, title, summary,
                               description, release_notes, uploaded_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (space_id, package_key, version_key) DO UPDATE SET
            package_id = excluded.package_id, version = excluded.version, sha256 = excluded.sha256,
            size = excluded.size, title = excluded.title, summary = excluded.summary,
            description = excluded.description, release_notes = excluded.release_notes,
            uploaded_at = excluded.uploaded_at
         RETURNING *",
        new,
        now,
    );
    row.await?.try_into()
}

async fn write(
    conn: &mut Connection,
    statement: &'static str,
    new: &NewPackage,
    now: Timestamp,
) -> Result<Row, sqlx::Error> {
    sqlx::query_as(statement)
        .bind(new.space)
        .bind(new.package_id.as_str())
        .bind(new.package_id.key())
        .bind(new.version.to_string())
        .bind(new.version.folder_name())
        .bind(new.sha256.to_string())
        .bind(i64::try_from(new.size).unwrap_or(i64::MAX))
        .bind(&new.title)
        .bind(&new.summary)
        .bind(&new.description)
        .bind(&new.release_notes)
        .bind(now)
        .fetch_one(conn)
        .await
}

/// Deletes a package and returns what it was; `None` if there is no such package. Its file is the store's to remove.
pub async fn package_delete(
    conn: &mut Connection,
    space: SpaceId,
    id: &PackageId,
    version: &Version,
) -> Result<Option<Package>, DbError> {
    let row: Option<Row> = sqlx::query_as(
        "DELETE FROM packages WHERE space_id = $1 AND package_key = $2 AND version_key = $3 RETURNING *",
    )
    .bind(space)
    .bind(id.key())
    .bind(version.folder_name())
    .fetch_optional(conn)
    .await?;
    row.map(Package::try_from).transpose()
}

/// The digests of all files that a row refers to: of packages in every space, and of rollouts.
pub async fn package_digests(conn: &mut Connection) -> Result<HashSet<Sha256>, DbError> {
    let digests: Vec<String> =
        sqlx::query_scalar("SELECT sha256 FROM packages UNION SELECT sha256 FROM rollout_packages")
            .fetch_all(conn)
            .await?;
    digests.iter().map(|text| text.parse().map_err(|_| DbError::damaged("packages.sha256", text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDb;

    fn package(id: &str, version: &str, sha256: u8) -> NewPackage {
        NewPackage {
            space: SpaceId::DEFAULT,
            package_id: id.parse().unwrap(),
            version: version.parse().unwrap(),
            sha256: Sha256([sha256; 32]),
            size: 3,
            title: String::new(),
            summary: "s".into(),
            description: "d".into(),
            release_notes: String::new(),
        }
    }

    #[tokio::test]
    async fn packages_are_listed_newest_version_first() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        for (id, version) in [("b", "1.9.0"), ("B", "1.10.0"), ("a", "1.0.0-rc"), ("a", "1.0")] {
            package_insert(&mut tx, &package(id, version, 1), Timestamp(0)).await.unwrap();
        }
        let listed = package_list(&mut tx, SpaceId::DEFAULT).await.unwrap();
        let listed: Vec<String> = listed.iter().map(Package::wire_id).collect();
        assert_eq!(listed, ["packages-a.1.0.0", "packages-a.1.0.0-rc", "packages-B.1.10.0", "packages-b.1.9.0"]);
    }

    #[tokio::test]
    async fn a_version_exists_once_and_is_replaced_only_on_purpose() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let first = package_insert(&mut tx, &package("a", "1.0", 1), Timestamp(1)).await.unwrap();
        let error = package_insert(&mut tx, &package("A", "1.0.0", 2), Timestamp(2)).await.unwrap_err();
        assert!(error.to_string().contains("A package with the same name and version already exists"), "{error}");
        let second = package_replace(&mut tx, &package("A", "1.0.0", 2), Timestamp(2)).await.unwrap();
        assert_eq!((second.id, second.package.sha256), (first.id, Sha256([2; 32])));
        assert_eq!(package_digests(&mut tx).await.unwrap(), HashSet::from([Sha256([2; 32])]));
        let (id, version) = (second.package.package_id.clone(), second.package.version.clone());
        let deleted = package_delete(&mut tx, SpaceId::DEFAULT, &id, &version).await.unwrap();
        assert_eq!(deleted, Some(second));
        assert_eq!(package_get(&mut tx, SpaceId::DEFAULT, &id, &version).await.unwrap(), None);
    }
}
