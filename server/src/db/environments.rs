//! The table `environments`.

use std::collections::HashSet;

use super::{Connection, DbError, Refusal, slug};
use crate::ids::{EnvironmentId, SpaceId};
use crate::model::{Environment, NewEnvironment};

#[derive(sqlx::FromRow)]
struct Row {
    id: EnvironmentId,
    space_id: SpaceId,
    name: String,
    slug: String,
    description: String,
    sort_order: i64,
    is_disabled: bool,
}

impl TryFrom<Row> for Environment {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            space: row.space_id,
            name: row.name.parse().map_err(|_| DbError::damaged("environments.name", &row.name))?,
            slug: row.slug,
            description: row.description,
            sort_order: row.sort_order,
            is_disabled: row.is_disabled,
        })
    }
}

/// The environments of a space, in their order.
pub async fn environment_list(conn: &mut Connection, space: SpaceId) -> Result<Vec<Environment>, DbError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM environments WHERE space_id = $1 ORDER BY sort_order, id")
        .bind(space)
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(Environment::try_from).collect()
}

/// An environment of any space, as it is called where that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentPlace {
    /// Its id.
    pub id: EnvironmentId,
    /// Its name, behind that of its space where there is more than one.
    pub label: String,
}

/// The environments of all spaces, in their order: where users may work.
pub async fn environment_places(conn: &mut Connection) -> Result<Vec<EnvironmentPlace>, DbError> {
    let sql = "SELECT e.id, e.name, s.name, (SELECT COUNT(*) FROM spaces) FROM environments e
               JOIN spaces s ON s.id = e.space_id
               ORDER BY CASE WHEN s.is_default = TRUE THEN 0 ELSE 1 END, s.name_key, e.sort_order, e.id";
    let rows: Vec<(EnvironmentId, String, String, i64)> = sqlx::query_as(sql).fetch_all(conn).await?;
    let place = |(id, name, space, spaces): (EnvironmentId, String, String, i64)| {
        let label = if spaces > 1 { format!("{space} / {name}") } else { name };
        EnvironmentPlace { id, label }
    };
    Ok(rows.into_iter().map(place).collect())
}

/// The ids of all environments of all spaces: users have no space.
pub async fn environment_ids_everywhere(conn: &mut Connection) -> Result<HashSet<EnvironmentId>, DbError> {
    let ids: Vec<EnvironmentId> = sqlx::query_scalar("SELECT id FROM environments").fetch_all(conn).await?;
    Ok(ids.into_iter().collect())
}

/// One environment.
pub async fn environment_get(
    conn: &mut Connection,
    space: SpaceId,
    id: EnvironmentId,
) -> Result<Option<Environment>, DbError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM environments WHERE space_id = $1 AND id = $2")
        .bind(space)
        .bind(id)
        .fetch_optional(conn)
        .await?;
    row.map(Environment::try_from).transpose()
}

/// The environment of that name, without regard to case.
pub async fn environment_by_name(
    conn: &mut Connection,
    space: SpaceId,
    name: &str,
) -> Result<Option<Environment>, DbError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM environments WHERE space_id = $1 AND name_key = $2")
        .bind(space)
        .bind(name.to_lowercase())
        .fetch_optional(conn)
        .await?;
    row.map(Environment::try_from).transpose()
}

/// Adds an environment. Without a place it comes last.
pub async fn environment_insert(
    conn: &mut Connection,
    space: SpaceId,
    new: &NewEnvironment,
) -> Result<Environment, DbError> {
    let taken: Vec<String> = sqlx::query_scalar("SELECT slug FROM environments WHERE space_id = $1")
        .bind(space)
        .fetch_all(&mut *conn)
        .await?;
    let slug = slug::unique_slug(new.name.as_str(), "environment", &taken.into_iter().collect());
    let sort_order = match new.sort_order {
        Some(order) => order,
        None => {
            let last: Option<i64> = sqlx::query_scalar("SELECT MAX(sort_order) FROM environments WHERE space_id = $1")
                .bind(space)
                .fetch_one(&mut *conn)
                .await?;
            // Nothing comes after the last number there is; those that share a place stand in the order of their ids.
            last.map_or(0, |last| last.saturating_add(1))
        }
    };
    let row: Row = sqlx::query_as(
        "INSERT INTO environments (space_id, name, name_key, slug, description, sort_order, is_disabled)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *",
    )
    .bind(space)
    .bind(new.name.as_str())
    .bind(new.name.as_str().to_lowercase())
    .bind(slug)
    .bind(&new.description)
    .bind(sort_order)
    .bind(new.is_disabled)
    .fetch_one(conn)
    .await
    .map_err(|error| DbError::or_taken(error, || name_taken(new)))?;
    row.try_into()
}

/// Gives an environment its place among the others.
pub async fn environment_set_place(
    conn: &mut Connection,
    space: SpaceId,
    id: EnvironmentId,
    place: i64,
) -> Result<(), DbError> {
    let sql = "UPDATE environments SET sort_order = $3 WHERE space_id = $1 AND id = $2";
    sqlx::query(sql).bind(space).bind(id).bind(place).execute(conn).await?;
    Ok(())
}

/// Changes an environment; its slug stays. `None` if there is no such environment.
pub async fn environment_update(
    conn: &mut Connection,
    space: SpaceId,
    id: EnvironmentId,
    new: &NewEnvironment,
) -> Result<Option<Environment>, DbError> {
    let row: Option<Row> = sqlx::query_as(
        "UPDATE environments SET name = $3, name_key = $4, description = $5, is_disabled = $6,
                sort_order = COALESCE($7, sort_order)
         WHERE space_id = $1 AND id = $2 RETURNING *",
    )
    .bind(space)
    .bind(id)
    .bind(new.name.as_str())
    .bind(new.name.as_str().to_lowercase())
    .bind(&new.description)
    .bind(new.is_disabled)
    .bind(new.sort_order)
    .fetch_optional(conn)
    .await
    .map_err(|error| DbError::or_taken(error, || name_taken(new)))?;
    row.map(Environment::try_from).transpose()
}

/// Deletes an environment. False if there is no such environment; refused while machines belong to it.
pub async fn environment_delete(conn: &mut Connection, space: SpaceId, id: EnvironmentId) -> Result<bool, DbError> {
    let Some(environment) = environment_get(conn, space, id).await? else { return Ok(false) };
    let machines: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM machine_environments WHERE environment_id = $1")
        .bind(id)
        .fetch_one(&mut *conn)
        .await?;
    if machines > 0 {
        return Err(Refusal::EnvironmentHasMachines { name: environment.name.to_string(), machines }.into());
    }
    sqlx::query("DELETE FROM environments WHERE space_id = $1 AND id = $2").bind(space).bind(id).execute(conn).await?;
    Ok(true)
}

fn name_taken(new: &NewEnvironment) -> Refusal {
    Refusal::NameTaken { what: "an environment", name: new.name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDb;

    fn named(name: &str) -> NewEnvironment {
        NewEnvironment { name: name.parse().unwrap(), description: String::new(), sort_order: None, is_disabled: false }
    }

    #[tokio::test]
    async fn environments_are_listed_in_their_order() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let first = environment_insert(&mut tx, SpaceId::DEFAULT, &named("Production")).await.unwrap();
        let second = environment_insert(&mut tx, SpaceId::DEFAULT, &named("Staging")).await.unwrap();
        let moved = NewEnvironment { sort_order: Some(9), ..named("Live") };
        let moved = environment_update(&mut tx, SpaceId::DEFAULT, first.id, &moved).await.unwrap().unwrap();
        assert_eq!((moved.slug.as_str(), moved.sort_order), ("production", 9), "an address outlives a new name");
        let listed = environment_list(&mut tx, SpaceId::DEFAULT).await.unwrap();
        assert_eq!(listed, [second, moved]);
    }

    #[tokio::test]
    async fn after_the_last_place_there_is_another_environment_still_comes_last() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let last = NewEnvironment { sort_order: Some(i64::MAX), ..named("Last") };
        let last = environment_insert(&mut tx, SpaceId::DEFAULT, &last).await.unwrap();
        let next = environment_insert(&mut tx, SpaceId::DEFAULT, &named("Next")).await.unwrap();
        assert_eq!(environment_list(&mut tx, SpaceId::DEFAULT).await.unwrap(), [last, next]);
    }

    #[tokio::test]
    async fn a_name_is_taken_without_regard_to_case() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        environment_insert(&mut tx, SpaceId::DEFAULT, &named("Production")).await.unwrap();
        let error = environment_insert(&mut tx, SpaceId::DEFAULT, &named("production")).await.unwrap_err();
        assert!(error.is_duplicate());
        assert!(error.to_string().contains("already an environment with the name \"production\""), "{error}");
        let found = environment_by_name(&mut tx, SpaceId::DEFAULT, "PRODUCTION").await.unwrap();
        assert_eq!(found.unwrap().name.as_str(), "Production");
    }
}
