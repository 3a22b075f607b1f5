//! The table `spaces`, and what is done with everything of a space at once.

use std::collections::HashSet;

use contract::Sha256;

use super::{Connection, DbError, Refusal, slug};
use crate::ids::{RolloutId, SpaceId};
use crate::model::{NewSpace, Space, SpaceActivity, SpaceContents, TaskQueue};

/// Longest name, in characters. A longer one is refused.
pub const NAME_MAX: usize = 100;

/// What stands after `/api/spaces/` and names no space.
const RESERVED: &str = "all";

#[derive(sqlx::FromRow)]
struct Row {
    id: SpaceId,
    name: String,
    slug: String,
    description: String,
    is_default: bool,
    is_queue_stopped: bool,
}

impl From<Row> for Space {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            slug: row.slug,
            description: row.description,
            is_default: row.is_default,
            queue: TaskQueue::of(row.is_queue_stopped),
        }
    }
}

/// All spaces: the default one, then the others by name.
pub async fn space_list(conn: &mut Connection) -> Result<Vec<Space>, DbError> {
    let sql = "SELECT * FROM spaces ORDER BY CASE WHEN is_default = TRUE THEN 0 ELSE 1 END, name_key";
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(conn).await?;
    Ok(rows.into_iter().map(Space::from).collect())
}

/// The ids of all spaces, for the loops that go through them.
pub async fn space_ids(conn: &mut Connection) -> Result<Vec<SpaceId>, DbError> {
    Ok(sqlx::query_scalar("SELECT id FROM spaces ORDER BY id").fetch_all(conn).await?)
}

/// One space.
pub async fn space_get(conn: &mut Connection, id: SpaceId) -> Result<Option<Space>, DbError> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM spaces WHERE id = $1").bind(id).fetch_optional(conn).await?;
    Ok(row.map(Space::from))
}

/// The space that an address names, by its id or its slug without regard to case.
pub async fn space_named(conn: &mut Connection, text: &str) -> Result<Option<SpaceId>, DbError> {
    match text.parse::<SpaceId>() {
        // There is always this one, and most requests are about it.
        Ok(SpaceId::DEFAULT) => Ok(Some(SpaceId::DEFAULT)),
        Ok(id) => Ok(sqlx::query_scalar("SELECT id FROM spaces WHERE id = $1").bind(id).fetch_optional(conn).await?),
        Err(_) => {
            let sql = "SELECT id FROM spaces WHERE slug = $1";
            Ok(sqlx::query_scalar(sql).bind(text.to_lowercase()).fetch_optional(conn).await?)
        }
    }
}

/// Whether the tasks of a space begin. Those of one that is gone do not.
pub async fn space_queue(conn: &mut Connection, id: SpaceId) -> Result<TaskQueue, DbError> {
    Ok(space_get(conn, id).await?.map_or(TaskQueue::Stopped, |space| space.queue))
}

/// The spaces whose tasks do not begin.
pub async fn space_list_stopped(conn: &mut Connection) -> Result<HashSet<SpaceId>, DbError> {
    let sql = "SELECT id FROM spaces WHERE is_queue_stopped = TRUE";
    let ids: Vec<SpaceId> = sqlx::query_scalar(sql).fetch_all(conn).await?;
    Ok(ids.into_iter().collect())
}

/// How many spaces there are.
pub async fn space_count(conn: &mut Connection) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar("SELECT COUNT(*) FROM spaces").fetch_one(conn).await?)
}

/// Adds a space.
pub async fn space_insert(conn: &mut Connection, new: &NewSpace) -> Result<Space, DbError> {
    let name = name_of(new)?;
    let slug = match &new.slug {
        Some(slug) => chosen(slug)?,
        None => {
            let taken: Vec<String> = sqlx::query_scalar("SELECT slug FROM spaces").fetch_all(&mut *conn).await?;
            let made = slug::slug_of(name, "space");
            let made = if fits(&made) { made } else { format!("space-{made}") };
            slug::unique_slug(&made, "space", &taken.into_iter().collect())
        }
    };
    free(conn, None, name, &slug).await?;
    let row: Row = sqlx::query_as(
        "INSERT INTO spaces (name, name_key, slug, description, is_default, is_queue_stopped)
         VALUES ($1, $2, $3, $4, FALSE, $5) RETURNING *",
    )
    .bind(name)
    .bind(name.to_lowercase())
    .bind(slug)
    .bind(&new.description)
    .bind(new.queue.is_stopped())
    .fetch_one(conn)
    .await?;
    Ok(row.into())
}

/// Changes a space. `None` if there is none.
pub async fn space_update(conn: &mut Connection, id: SpaceId, new: &NewSpace) -> Result<Option<Space>, DbError> {
    let name = name_of(new)?;
    let Some(old) = space_get(conn, id).await? else { return Ok(None) };
    let slug = match &new.slug {
        Some(slug) if *slug != old.slug => chosen(slug)?,
        Some(_) | None => old.slug,
    };
    free(conn, Some(id), name, &slug).await?;
    let row: Option<Row> = sqlx::query_as(
        "UPDATE spaces SET name = $2, name_key = $3, slug = $4, description = $5, is_queue_stopped = $6
         WHERE id = $1 RETURNING *",
    )
    .bind(id)
    .bind(name)
    .bind(name.to_lowercase())
    .bind(slug)
    .bind(&new.description)
    .bind(new.queue.is_stopped())
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Space::from))
}

/// How much there is in a space.
pub async fn space_contents(conn: &mut Connection, id: SpaceId) -> Result<SpaceContents, DbError> {
    let sql = "SELECT (SELECT COUNT(*) FROM environments WHERE space_id = $1) AS environments,
                      (SELECT COUNT(*) FROM machines WHERE space_id = $1) AS machines,
                      (SELECT COUNT(*) FROM packages WHERE space_id = $1) AS packages,
                      (SELECT COUNT(*) FROM rollouts WHERE space_id = $1) AS rollouts,
                      (SELECT COUNT(*) FROM tasks WHERE space_id = $1) AS tasks";
    Ok(sqlx::query_as(sql).bind(id).fetch_one(conn).await?)
}

/// What goes on in a space. The task of a rollout goes on as long as that, and counts by its machines.
pub async fn space_activity(conn: &mut Connection, id: SpaceId) -> Result<SpaceActivity, DbError> {
    let sql = "SELECT (SELECT COUNT(*) FROM tasks t WHERE t.space_id = $1 AND t.started_at IS NOT NULL
                       AND t.completed_at IS NULL AND NOT EXISTS (SELECT 1 FROM rollouts r WHERE r.task_id = t.id)) AS tasks,
                      (SELECT COUNT(*) FROM rollouts r JOIN rollout_machines m ON m.rollout_id = r.id WHERE r.space_id = $1
                       AND m.phase IN ('Checking', 'Uploading', 'Installing', 'Restarting', 'Proving')) AS machines";
    Ok(sqlx::query_as(sql).bind(id).fetch_one(conn).await?)
}

/// Makes every plan worthless that was made before for a rollout of a space that may still begin a machine. Returns those.
pub async fn space_rollouts_revise(conn: &mut Connection, id: SpaceId) -> Result<Vec<RolloutId>, DbError> {
    let sql = "UPDATE rollouts SET revision = revision + 1 WHERE space_id = $1 AND EXISTS
               (SELECT 1 FROM rollout_machines m WHERE m.rollout_id = rollouts.id
                AND m.phase IN ('Waiting', 'Checking', 'Uploading', 'Installing', 'Restarting', 'Proving')) RETURNING id";
    Ok(sqlx::query_scalar(sql).bind(id).fetch_all(conn).await?)
}

/// The files of the packages of a space.
pub async fn space_digests(conn: &mut Connection, id: SpaceId) -> Result<Vec<Sha256>, DbError> {
    let sql = "SELECT sha256 FROM packages WHERE space_id = $1
               UNION SELECT p.sha256 FROM rollout_packages p JOIN rollouts r ON r.id = p.rollout_id WHERE r.space_id = $1";
    let texts: Vec<String> = sqlx::query_scalar(sql).bind(id).fetch_all(conn).await?;
    let read = |text: String| text.parse().map_err(|_| DbError::damaged("packages.sha256", text));
    texts.into_iter().map(read).collect()
}

/// Takes away some lines of the logs of a space. Returns how many there were to take.
pub async fn space_lines_delete(conn: &mut Connection, id: SpaceId, most: u32) -> Result<u64, DbError> {
    let sql = "DELETE FROM task_log WHERE id IN (SELECT l.id FROM tasks t JOIN task_log l ON l.task_id = t.id
               WHERE t.space_id = $1 LIMIT $2)";
    Ok(sqlx::query(sql).bind(id).bind(most).execute(conn).await?.rows_affected())
}

/// Deletes a space with everything in it. Its trail stays, and is told in the default space from now on.
pub async fn space_delete(conn: &mut Connection, id: SpaceId) -> Result<(), DbError> {
    let trail = "UPDATE audit SET space_id = $2 WHERE space_id = $1";
    sqlx::query(trail).bind(id).bind(SpaceId::DEFAULT).execute(&mut *conn).await?;
    // What refers to others goes before them; what belongs to one of these goes with it.
    for statement in [
        "DELETE FROM machines WHERE space_id = $1",
        "DELETE FROM rollouts WHERE space_id = $1",
        "DELETE FROM tasks WHERE space_id = $1",
        "DELETE FROM registration_keys WHERE space_id = $1",
        "DELETE FROM packages WHERE space_id = $1",
        "DELETE FROM freezes WHERE space_id = $1",
        "DELETE FROM environments WHERE space_id = $1",
        "DELETE FROM bundles_seen WHERE space_id = $1",
        "DELETE FROM version_samples WHERE space_id = $1",
        "DELETE FROM space_settings WHERE space_id = $1",
        "DELETE FROM spaces WHERE id = $1",
    ] {
        sqlx::query(statement).bind(id).execute(&mut *conn).await?;
    }
    Ok(())
}

fn name_of(new: &NewSpace) -> Result<&str, Refusal> {
    let name = new.name.trim();
    let is_unfit = name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control);
    if is_unfit { Err(Refusal::NameUnfit { what: "a space", max: NAME_MAX }) } else { Ok(name) }
}

/// True for a slug that can mean nothing but a space.
fn fits(text: &str) -> bool {
    text != RESERVED && text.parse::<SpaceId>().is_err()
}

/// The slug that somebody chose.
fn chosen(text: &str) -> Result<String, Refusal> {
    let is_slug = slug::slug_of(text, "") == text && !text.is_empty();
    if is_slug && fits(text) { Ok(text.to_owned()) } else { Err(Refusal::SlugUnfit { slug: text.to_owned() }) }
}

/// Refuses a name or a slug that another space has.
async fn free(conn: &mut Connection, own: Option<SpaceId>, name: &str, slug: &str) -> Result<(), DbError> {
    let is_other = |id: &SpaceId| Some(*id) != own;
    let by_name: Option<SpaceId> = sqlx::query_scalar("SELECT id FROM spaces WHERE name_key = $1")
        .bind(name.to_lowercase())
        .fetch_optional(&mut *conn)
        .await?;
    if by_name.filter(is_other).is_some() {
        return Err(Refusal::NameTaken { what: "a space", name: name.to_owned() }.into());
    }
    let by_slug: Option<SpaceId> =
        sqlx::query_scalar("SELECT id FROM spaces WHERE slug = $1").bind(slug).fetch_optional(conn).await?;
    match by_slug.filter(is_other) {
        Some(_) => Err(Refusal::SlugTaken { slug: slug.to_owned() }.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDb;

    fn named(name: &str) -> NewSpace {
        NewSpace { name: name.to_owned(), slug: None, description: String::new(), queue: TaskQueue::Runs }
    }

    #[tokio::test]
    async fn a_space_is_found_by_its_id_and_its_slug_and_the_default_one_comes_first() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let made = space_insert(&mut tx, &named(" Blue Team ")).await.unwrap();
        assert_eq!((made.name.as_str(), made.slug.as_str(), made.is_default), ("Blue Team", "blue-team", false));
        for text in ["Spaces-2", "spaces-2", "blue-team", "Blue-Team"] {
            assert_eq!(space_named(&mut tx, text).await.unwrap(), Some(made.id), "{text}");
        }
        for text in ["Spaces-3", "Blue Team", "", "all"] {
            assert_eq!(space_named(&mut tx, text).await.unwrap(), None, "{text}");
        }
        let names: Vec<String> = space_list(&mut tx).await.unwrap().into_iter().map(|space| space.slug).collect();
        assert_eq!(names, ["default", "blue-team"]);
    }

    #[tokio::test]
    async fn names_are_taken_without_regard_to_case_and_slugs_mean_one_space() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        for (name, slug) in [("All", "space-all"), ("Spaces-7", "space-spaces-7"), ("???", "space"), ("Ä", "space-2")]
        {
            assert_eq!(space_insert(&mut tx, &named(name)).await.unwrap().slug, slug);
        }
        for name in ["ALL", "default", "ä"] {
            let error = space_insert(&mut tx, &named(name)).await.unwrap_err();
            assert!(error.is_duplicate() && error.to_string().contains("already a space"), "{error}");
        }
        for (slug, said) in
            [("all", "is not"), ("Spaces-9", "is not"), ("a b", "is not"), ("", "is not"), ("default", "already")]
        {
            let new = NewSpace { slug: Some(slug.to_owned()), ..named("Another") };
            let error = space_insert(&mut tx, &new).await.unwrap_err();
            assert!(error.to_string().contains(said), "{slug}: {error}");
        }
    }

    #[tokio::test]
    async fn a_slug_outlives_a_new_name_unless_it_is_changed_too() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let id = space_insert(&mut tx, &named("Blue")).await.unwrap().id;
        let renamed = space_update(&mut tx, id, &named("BLUE")).await.unwrap().unwrap();
        assert_eq!((renamed.name.as_str(), renamed.slug.as_str()), ("BLUE", "blue"));
        let moved = NewSpace { slug: Some("navy".to_owned()), queue: TaskQueue::Stopped, ..named("Navy") };
        let moved = space_update(&mut tx, id, &moved).await.unwrap().unwrap();
        assert_eq!((moved.slug.as_str(), moved.queue), ("navy", TaskQueue::Stopped));
        assert_eq!(space_list_stopped(&mut tx).await.unwrap(), [id].into());
        assert_eq!(space_queue(&mut tx, SpaceId(9)).await.unwrap(), TaskQueue::Stopped, "there is none");
        assert!(space_update(&mut tx, SpaceId(9), &named("x")).await.unwrap().is_none());
    }
}
