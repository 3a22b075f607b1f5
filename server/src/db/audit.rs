//! The tables `audit` and `audit_documents`: the trail. Rows are added by [`crate::audit`] and by nobody else, and never
//! changed.

use serde_json::{Map, Value};
use sqlx::{QueryBuilder, Sqlite};

use super::tasks::containing;
use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, RolloutId, SpaceId};
use crate::model::{Audit, AuditCategory, AuditEntry, AuditKind, AuditVia, Changes, Whence};

/// Rows that one question is answered with at most.
pub const AUDIT_PAGE_MAX: u32 = 200;

/// Ids that a row is found by at most. A deed about more things says in its line how many they were.
const DOCUMENTS_MAX: usize = 100;

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    occurred_at: Timestamp,
    kind: String,
    category: String,
    username: String,
    via: String,
    peer: String,
    api_key: String,
    what: String,
    line: String,
    old_values: String,
    new_values: String,
}

fn values(column: &str, text: &str) -> Result<Map<String, Value>, DbError> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|_| DbError::damaged(column, text))
}

impl Row {
    fn read(self, documents: Vec<String>) -> Result<Audit, DbError> {
        let kind = AuditKind::from_word(&self.kind).ok_or_else(|| DbError::damaged("audit.kind", &self.kind))?;
        let category = AuditCategory::from_word(&self.category);
        let category = category.ok_or_else(|| DbError::damaged("audit.category", &self.category))?;
        let via = AuditVia::from_word(&self.via).ok_or_else(|| DbError::damaged("audit.via", &self.via))?;
        let changes = Changes {
            before: values("audit.old_values", &self.old_values)?,
            after: values("audit.new_values", &self.new_values)?,
        };
        let whence = Whence { via, peer: self.peer, api_key: self.api_key };
        let entry = AuditEntry {
            at: self.occurred_at,
            who: self.username,
            whence,
            kind,
            category,
            what: self.what,
            line: self.line,
            documents,
            changes,
        };
        Ok(Audit { id: self.id, entry })
    }
}

/// Which rows somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this person, without regard to case.
    pub who: Option<String>,
    /// Of this kind.
    pub kind: Option<AuditKind>,
    /// Of this category.
    pub category: Option<AuditCategory>,
    /// About the thing of this id.
    pub document: Option<String>,
    /// Whose sentence holds this, without regard to case.
    pub text: Option<String>,
    /// Not earlier.
    pub from: Option<Timestamp>,
    /// Not later.
    pub until: Option<Timestamp>,
    /// With a lower number.
    pub before: Option<i64>,
    /// With this number or a higher one.
    pub from_id: Option<i64>,
    /// Of one of these people, by their names as they stand there; `None` for anybody.
    pub people: Option<Vec<String>>,
    /// Of one of these kinds; `None` for any.
    pub kinds: Option<Vec<AuditKind>>,
    /// Of one of these categories; `None` for any.
    pub categories: Option<Vec<AuditCategory>>,
    /// Asked for in one of these ways; `None` for any.
    pub ways: Option<Vec<AuditVia>>,
    /// About a thing of each of these lists of ids: about one of the first, and one of the second.
    pub about: Vec<Vec<String>>,
    /// How many of the newest to leave out.
    pub skip: u32,
    /// At most so many.
    pub take: u32,
}

/// Writes a row down.
pub async fn audit_insert(conn: &mut Connection, space: SpaceId, entry: &AuditEntry) -> Result<i64, DbError> {
    let text = |fields: &Map<String, Value>| {
        if fields.is_empty() { String::new() } else { Value::Object(fields.clone()).to_string() }
    };
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO audit (space_id, occurred_at, kind, category, username, via, peer, api_key, what, line, old_values,
                            new_values)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
    )
    .bind(space)
    .bind(entry.at)
    .bind(entry.kind.word())
    .bind(entry.category.word())
    .bind(&entry.who)
    .bind(entry.whence.via.word())
    .bind(&entry.whence.peer)
    .bind(&entry.whence.api_key)
    .bind(&entry.what)
    .bind(&entry.line)
    .bind(text(&entry.changes.before))
    .bind(text(&entry.changes.after))
    .fetch_one(&mut *conn)
    .await?;
    for document in entry.documents.iter().take(DOCUMENTS_MAX) {
        sqlx::query("INSERT INTO audit_documents (audit_id, document) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(id)
            .bind(document)
            .execute(&mut *conn)
            .await?;
    }
    Ok(id)
}

/// What an API key is for; empty where there is no such key.
pub async fn api_key_purpose(conn: &mut Connection, id: ApiKeyId) -> Result<String, DbError> {
    let sql = "SELECT purpose FROM api_keys WHERE id = $1";
    let purpose: Option<String> = sqlx::query_scalar(sql).bind(id).fetch_optional(conn).await?;
    Ok(purpose.unwrap_or_default())
}

/// How many rows of a category there are since a moment.
pub async fn audit_count(conn: &mut Connection, category: AuditCategory, since: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT COUNT(*) FROM audit WHERE category = $1 AND occurred_at >= $2";
    Ok(sqlx::query_scalar(sql).bind(category.word()).bind(since).fetch_one(conn).await?)
}

/// The rows that `filter` lets pass, newest first.
pub async fn audit_list(conn: &mut Connection, space: SpaceId, filter: &AuditFilter) -> Result<Vec<Audit>, DbError> {
    let mut query = QueryBuilder::new("SELECT audit.* FROM audit WHERE space_id = ");
    query.push_bind(space);
    push_filter(&mut query, filter);
    query.push(" ORDER BY id DESC LIMIT ").push_bind(filter.take.min(AUDIT_PAGE_MAX));
    query.push(" OFFSET ").push_bind(filter.skip);
    let rows: Vec<Row> = query.build_query_as().fetch_all(&mut *conn).await?;
    with_documents(conn, rows).await
}

/// How many rows `filter` lets pass, on all pages.
pub async fn audit_total(conn: &mut Connection, space: SpaceId, filter: &AuditFilter) -> Result<u64, DbError> {
    let mut query = QueryBuilder::new("SELECT COUNT(*) FROM audit WHERE space_id = ");
    query.push_bind(space);
    push_filter(&mut query, filter);
    let total: i64 = query.build_query_scalar().fetch_one(conn).await?;
    Ok(u64::try_from(total).unwrap_or(0))
}

/// One row.
pub async fn audit_get(conn: &mut Connection, space: SpaceId, id: i64) -> Result<Option<Audit>, DbError> {
    let sql = "SELECT audit.* FROM audit WHERE space_id = $1 AND id = $2";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(space).bind(id).fetch_all(&mut *conn).await?;
    Ok(with_documents(conn, rows).await?.pop())
}

fn push_any_of<T: ToString>(query: &mut QueryBuilder<Sqlite>, column: &str, values: impl IntoIterator<Item = T>) {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        query.push(" AND FALSE");
        return;
    }
    query.push(format!(" AND {column} IN ("));
    let mut places = query.separated(", ");
    for value in values {
        places.push_bind(value.to_string());
    }
    query.push(")");
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &AuditFilter) {
    if let Some(people) = &filter.people {
        push_any_of(query, "username", people);
    }
    if let Some(kinds) = &filter.kinds {
        push_any_of(query, "kind", kinds.iter().map(|kind| kind.word()));
    }
    if let Some(categories) = &filter.categories {
        push_any_of(query, "category", categories.iter().map(|category| category.word()));
    }
    if let Some(ways) = &filter.ways {
        push_any_of(query, "via", ways.iter().map(|way| way.word()));
    }
    for documents in &filter.about {
        query.push(" AND id IN (SELECT audit_id FROM audit_documents WHERE TRUE");
        push_any_of(query, "document", documents);
        query.push(")");
    }
    if let Some(from) = filter.from_id {
        query.push(" AND id >= ").push_bind(from);
    }
    push_basic(query, filter);
}

fn push_basic(query: &mut QueryBuilder<Sqlite>, filter: &AuditFilter) {
    if let Some(who) = &filter.who {
        query.push(" AND LOWER(username) = ").push_bind(who.to_lowercase());
    }
    if let Some(kind) = filter.kind {
        query.push(" AND kind = ").push_bind(kind.word());
    }
    if let Some(category) = filter.category {
        query.push(" AND category = ").push_bind(category.word());
    }
    if let Some(document) = &filter.document {
        query.push(" AND id IN (SELECT audit_id FROM audit_documents WHERE document = ").push_bind(document.clone());
        query.push(")");
    }
    if let Some(text) = &filter.text {
        query.push(" AND LOWER(username || ' ' || line) LIKE ").push_bind(containing(&text.to_lowercase()));
        query.push(" ESCAPE '!'");
    }
    if let Some(from) = filter.from {
        query.push(" AND occurred_at >= ").push_bind(from);
    }
    if let Some(until) = filter.until {
        query.push(" AND occurred_at <= ").push_bind(until);
    }
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before);
    }
}

async fn with_documents(conn: &mut Connection, rows: Vec<Row>) -> Result<Vec<Audit>, DbError> {
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let sql = "SELECT document FROM audit_documents WHERE audit_id = $1 ORDER BY document";
        let documents = sqlx::query_scalar(sql).bind(row.id).fetch_all(&mut *conn).await?;
        read.push(row.read(documents)?);
    }
    Ok(read)
}

/// The last time that a person stopped or undid a rollout of those, in a sentence.
pub async fn audit_last_stop(conn: &mut Connection, rollouts: &[RolloutId]) -> Result<Option<String>, DbError> {
    let mut last: Option<(i64, String)> = None;
    for rollout in rollouts {
        let sql = "SELECT a.id, a.username || ' ' || a.line FROM audit_documents d JOIN audit a ON a.id = d.audit_id
                   WHERE d.document = $1 AND a.kind = 'Rollout' AND a.what IN ('Cancel', 'Undo')
                   ORDER BY d.audit_id DESC LIMIT 1";
        let found: Option<(i64, String)> =
            sqlx::query_as(sql).bind(rollout.to_string()).fetch_optional(&mut *conn).await?;
        last = last.max(found);
    }
    Ok(last.map(|(_, line)| line))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::db::MIGRATIONS;
    use crate::testing::TestDb;

    fn entry(who: &str, kind: AuditKind, line: &str, at: i64, documents: &[&str]) -> AuditEntry {
        AuditEntry {
            at: Timestamp(at),
            who: who.to_owned(),
            whence: Whence { via: AuditVia::Key, peer: "10.0.0.9".into(), api_key: "nightly".into() },
            kind,
            category: AuditCategory::Modified,
            what: "Edit".to_owned(),
            line: line.to_owned(),
            documents: documents.iter().map(|id| (*id).to_owned()).collect(),
            changes: Changes::between(json!({"Name": "a"}), json!({"Name": "b"})),
        }
    }

    #[tokio::test]
    async fn rows_are_found_by_who_kind_thing_text_and_time_newest_first() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let first = entry("Anna", AuditKind::Machine, "disabled machine web-7", 10, &["Machines-7"]);
        let second =
            entry("bob", AuditKind::Rollout, "paused Rollouts-1: 100% sure", 20, &["Machines-8", "Rollouts-1"]);
        let third = entry("bob", AuditKind::Machine, "deleted machine web-70", 30, &["Machines-70"]);
        for entry in [&first, &second, &third] {
            audit_insert(&mut tx, SpaceId::DEFAULT, entry).await.unwrap();
        }
        let all = AuditFilter { take: 10, ..AuditFilter::default() };
        let listed = audit_list(&mut tx, SpaceId::DEFAULT, &all).await.unwrap();
        let entries: Vec<_> = listed.iter().map(|audit| &audit.entry).collect();
        assert_eq!(entries, [&third, &second, &first], "as they were written");
        let text = |text: &str| Some(text.to_owned());
        let filters = [
            (AuditFilter { who: text("ANNA"), ..all.clone() }, vec![1]),
            (AuditFilter { kind: Some(AuditKind::Machine), ..all.clone() }, vec![3, 1]),
            (AuditFilter { category: Some(AuditCategory::Deleted), ..all.clone() }, vec![]),
            (AuditFilter { document: text("Machines-7"), ..all.clone() }, vec![1]),
            (AuditFilter { document: text("Rollouts-1"), ..all.clone() }, vec![2]),
            (AuditFilter { text: text("bob PAUSED"), ..all.clone() }, vec![2]),
            (AuditFilter { text: text("0% s"), ..all.clone() }, vec![2]),
            (AuditFilter { text: text("w_b"), ..all.clone() }, vec![]),
            (AuditFilter { from: Some(Timestamp(20)), until: Some(Timestamp(29)), ..all.clone() }, vec![2]),
            (AuditFilter { before: Some(3), take: 1, ..all.clone() }, vec![2]),
            (AuditFilter { from_id: Some(2), skip: 1, ..all.clone() }, vec![2]),
            (AuditFilter { people: Some(vec!["Anna".into()]), ..all.clone() }, vec![1]),
            (AuditFilter { people: Some(Vec::new()), ..all.clone() }, vec![]),
            (AuditFilter { kinds: Some(vec![AuditKind::Machine, AuditKind::User]), ..all.clone() }, vec![3, 1]),
            (AuditFilter { categories: Some(vec![AuditCategory::Modified]), ..all.clone() }, vec![3, 2, 1]),
            (AuditFilter { ways: Some(vec![AuditVia::Page]), ..all.clone() }, vec![]),
            (AuditFilter { about: vec![vec!["Machines-7".into(), "Machines-8".into()]], ..all.clone() }, vec![2, 1]),
            (AuditFilter { about: vec![vec!["Machines-8".into()], vec!["Rollouts-1".into()]], ..all.clone() }, vec![2]),
        ];
        for (filter, expected) in filters {
            let found = audit_list(&mut tx, SpaceId::DEFAULT, &filter).await.unwrap();
            assert_eq!(found.iter().map(|audit| audit.id).collect::<Vec<_>>(), expected, "{filter:?}");
        }
        assert_eq!(audit_list(&mut tx, SpaceId(2), &all).await.unwrap(), []);
        assert_eq!(audit_total(&mut tx, SpaceId::DEFAULT, &AuditFilter { skip: 2, ..all.clone() }).await.unwrap(), 3);
        assert_eq!(audit_get(&mut tx, SpaceId::DEFAULT, 2).await.unwrap().unwrap().entry, second);
        assert_eq!(audit_get(&mut tx, SpaceId(2), 2).await.unwrap(), None);
        assert_eq!(audit_count(&mut tx, AuditCategory::Modified, Timestamp(20)).await.unwrap(), 2);
    }

    /// What was in the tables of before, as their readers had it.
    async fn events_of(conn: &mut Connection) -> Vec<(Option<i64>, Option<i64>, i64, String, String, String)> {
        let sql = "SELECT rollout_id, machine_id, occurred_at, username, what, line FROM rollout_events
                   UNION ALL SELECT NULL, machine_id, occurred_at, username, what, line FROM machine_events
                   ORDER BY occurred_at";
        sqlx::query_as(sql).fetch_all(conn).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_written_before_moves_into_the_trail_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new();
        let options = options.filename(folder.path().join("octopus.db")).create_if_missing(true).foreign_keys(true);
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        MIGRATIONS.run(&pool).await.unwrap();
        MIGRATIONS.undo(&pool, 10).await.unwrap();
        for sql in [
            "INSERT INTO tasks (space_id, name, description, arguments, state, created_by, queued_at, updated_at)
             VALUES (1, 'Upgrade', '', '', 'Success', 'ann', 1, 1)",
            "INSERT INTO rollouts (space_id, task_id, target_version, selection, max_in_flight, failure_budget, created_by,
                                   created_at, state, state_since) VALUES (1, 1, '2', '', 1, 1, 'ann', 1, 'Completed', 1)",
            "INSERT INTO rollout_events (rollout_id, machine_id, occurred_at, username, what, line)
             VALUES (1, NULL, 40, 'ann', 'Cancel', 'ann cancels the rollout'), (1, 7, 20, 'bob', 'Skip', 'bob leaves web-7')",
            "INSERT INTO machine_events (machine_id, occurred_at, username, what, line)
             VALUES (7, 30, 'ann', 'Hold', 'ann holds it: x'), (9, 10, 'bob', 'Delete', 'bob deletes web-9')",
        ] {
            sqlx::query(sql).execute(&pool).await.unwrap();
        }
        let mut conn = pool.acquire().await.unwrap();
        let before = events_of(&mut conn).await;
        drop(conn);
        MIGRATIONS.run(&pool).await.unwrap();
        let mut conn = pool.acquire().await.unwrap();
        let filter = AuditFilter { take: 10, ..AuditFilter::default() };
        let moved = audit_list(&mut conn, SpaceId::DEFAULT, &filter).await.unwrap();
        let told: Vec<_> = moved.iter().map(|Audit { entry, .. }| (entry.who.as_str(), entry.line.as_str())).collect();
        assert_eq!(
            told,
            [("ann", "cancels the rollout"), ("ann", "holds it: x"), ("bob", "leaves web-7"), ("bob", "deletes web-9")]
        );
        assert_eq!(moved[2].entry.documents, ["Machines-7", "Rollouts-1"]);
        assert_eq!(
            (moved[0].entry.category, moved[3].entry.category),
            (AuditCategory::Canceled, AuditCategory::Deleted)
        );
        assert!(moved.iter().all(|audit| audit.entry.whence.via == AuditVia::Unknown));
        let own = entry("ann", AuditKind::User, "added user bob", 50, &["Users-2"]);
        audit_insert(&mut conn, SpaceId::DEFAULT, &own).await.unwrap();
        drop(conn);
        MIGRATIONS.undo(&pool, 10).await.unwrap();
        assert_eq!(events_of(&mut pool.acquire().await.unwrap()).await, before);
        pool.close().await;
    }
}
