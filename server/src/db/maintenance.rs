//! When machines may be upgraded: the tables `maintenance_windows` and `freezes`.

use std::collections::HashMap;

use sqlx::FromRow;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, FreezeId, SpaceId};
use crate::rollout::calendar::{Calendar, FreezePeriod, FreezeScope, Window, WindowSpec};

/// Freezes that are listed at most, the newest. Those that are over do nothing any more.
const FREEZES_MAX: u32 = 200;

#[derive(FromRow)]
struct WindowRow {
    environment_id: EnvironmentId,
    cron: String,
    duration_minutes: i64,
    time_zone: String,
}

impl From<WindowRow> for WindowSpec {
    fn from(row: WindowRow) -> Self {
        let duration_minutes = u32::try_from(row.duration_minutes).unwrap_or(0);
        Self { cron: row.cron, duration_minutes, time_zone: row.time_zone }
    }
}

/// The maintenance windows of each environment of a space that has any.
pub async fn windows_list(
    conn: &mut Connection,
    space: SpaceId,
) -> Result<HashMap<EnvironmentId, Vec<WindowSpec>>, DbError> {
    let sql = "SELECT w.environment_id, w.cron, w.duration_minutes, w.time_zone FROM maintenance_windows w
               JOIN environments e ON e.id = w.environment_id WHERE e.space_id = $1 ORDER BY w.id";
    let rows: Vec<WindowRow> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    let mut windows: HashMap<EnvironmentId, Vec<WindowSpec>> = HashMap::new();
    for row in rows {
        windows.entry(row.environment_id).or_default().push(row.into());
    }
    Ok(windows)
}

/// Replaces the maintenance windows of an environment. Check them first.
pub async fn windows_put(conn: &mut Connection, environment: EnvironmentId, windows: &[Window]) -> Result<(), DbError> {
    let gone = "DELETE FROM maintenance_windows WHERE environment_id = $1";
    sqlx::query(gone).bind(environment).execute(&mut *conn).await?;
    for spec in windows.iter().map(Window::spec) {
        sqlx::query(
            "INSERT INTO maintenance_windows (environment_id, cron, duration_minutes, time_zone) VALUES ($1, $2, $3, $4)",
        )
        .bind(environment)
        .bind(&spec.cron)
        .bind(i64::from(spec.duration_minutes))
        .bind(&spec.time_zone)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A freeze as it was written down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Freeze {
    /// Its id.
    pub id: FreezeId,
    /// When, where and why.
    pub period: FreezePeriod,
    /// Who said so.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

#[derive(FromRow)]
struct FreezeRow {
    id: FreezeId,
    from_at: Timestamp,
    until_at: Timestamp,
    reason: String,
    is_for_all: bool,
    created_by: String,
    created_at: Timestamp,
}

/// Writes a freeze down.
pub async fn freeze_insert(
    conn: &mut Connection,
    space: SpaceId,
    period: &FreezePeriod,
    who: &str,
    now: Timestamp,
) -> Result<FreezeId, DbError> {
    let id: FreezeId = sqlx::query_scalar(
        "INSERT INTO freezes (space_id, from_at, until_at, reason, is_for_all, created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
    )
    .bind(space)
    .bind(period.from)
    .bind(period.until)
    .bind(&period.reason)
    .bind(period.scope == FreezeScope::All)
    .bind(who)
    .bind(now)
    .fetch_one(&mut *conn)
    .await?;
    if let FreezeScope::Environments(environments) = &period.scope {
        for environment in environments {
            sqlx::query("INSERT INTO freeze_environments (freeze_id, environment_id) VALUES ($1, $2)")
                .bind(id)
                .bind(environment)
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(id)
}

/// Deletes a freeze. False if there is none.
pub async fn freeze_delete(conn: &mut Connection, space: SpaceId, id: FreezeId) -> Result<bool, DbError> {
    let sql = "DELETE FROM freezes WHERE space_id = $1 AND id = $2";
    Ok(sqlx::query(sql).bind(space).bind(id).execute(conn).await?.rows_affected() > 0)
}

/// The freezes of a space, the one that begins last first.
pub async fn freeze_list(conn: &mut Connection, space: SpaceId) -> Result<Vec<Freeze>, DbError> {
    let sql = "SELECT * FROM freezes WHERE space_id = $1 ORDER BY from_at DESC, id DESC LIMIT $2";
    let rows: Vec<FreezeRow> = sqlx::query_as(sql).bind(space).bind(FREEZES_MAX).fetch_all(&mut *conn).await?;
    with_environments(conn, rows).await
}

async fn with_environments(conn: &mut Connection, rows: Vec<FreezeRow>) -> Result<Vec<Freeze>, DbError> {
    let mut freezes = Vec::with_capacity(rows.len());
    for row in rows {
        let scope = if row.is_for_all {
            FreezeScope::All
        } else {
            let sql = "SELECT environment_id FROM freeze_environments WHERE freeze_id = $1 ORDER BY environment_id";
            FreezeScope::Environments(sqlx::query_scalar(sql).bind(row.id).fetch_all(&mut *conn).await?)
        };
        let period = FreezePeriod { scope, from: row.from_at, until: row.until_at, reason: row.reason };
        freezes.push(Freeze { id: row.id, period, created_by: row.created_by, created_at: row.created_at });
    }
    Ok(freezes)
}

/// Everything that says when machines of a space may be upgraded. Freezes that are over at `now` are left out.
pub async fn calendar_load(conn: &mut Connection, space: SpaceId, now: Timestamp) -> Result<Calendar, DbError> {
    let sql = "SELECT * FROM freezes WHERE space_id = $1 AND until_at > $2 ORDER BY from_at, id";
    let rows: Vec<FreezeRow> = sqlx::query_as(sql).bind(space).bind(now).fetch_all(&mut *conn).await?;
    let freezes = with_environments(conn, rows).await?.into_iter().map(|freeze| freeze.period).collect();
    let mut windows = HashMap::new();
    let names = "SELECT id, name FROM environments WHERE space_id = $1";
    let names: Vec<(EnvironmentId, String)> = sqlx::query_as(names).bind(space).fetch_all(&mut *conn).await?;
    let mut specs = windows_list(conn, space).await?;
    for (id, name) in names {
        let Some(specs) = specs.remove(&id) else { continue };
        let read = |spec: &WindowSpec| {
            Window::read(spec).map_err(|error| DbError::damaged("maintenance_windows", format!("{spec:?}: {error}")))
        };
        windows.insert(id, (name, specs.iter().map(read).collect::<Result<_, _>>()?));
    }
    Ok(Calendar { windows, freezes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::environments::{environment_delete, environment_insert};
    use crate::model::NewEnvironment;
    use crate::testing::TestDb;

    async fn environment(conn: &mut Connection, name: &str) -> EnvironmentId {
        let new = NewEnvironment {
            name: name.parse().unwrap(),
            description: String::new(),
            sort_order: None,
            is_disabled: false,
        };
        environment_insert(conn, SpaceId::DEFAULT, &new).await.unwrap().id
    }

    fn period(scope: FreezeScope, from: i64, until: i64) -> FreezePeriod {
        FreezePeriod { scope, from: Timestamp(from), until: Timestamp(until), reason: "Month end".to_owned() }
    }

    #[tokio::test]
    async fn windows_are_replaced_as_a_whole_and_go_with_their_environment() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let id = environment(&mut tx, "Production").await;
        let spec = |cron: &str| WindowSpec {
            cron: cron.to_owned(),
            duration_minutes: 60,
            time_zone: "Europe/Berlin".to_owned(),
        };
        for crons in [vec!["0 22 * * *", "0 3 * * 6"], vec!["0 4 * * *"], vec![]] {
            let specs: Vec<WindowSpec> = crons.into_iter().map(spec).collect();
            let windows: Vec<Window> = specs.iter().map(|spec| Window::read(spec).unwrap()).collect();
            windows_put(&mut tx, id, &windows).await.unwrap();
            let found = windows_list(&mut tx, SpaceId::DEFAULT).await.unwrap().remove(&id).unwrap_or_default();
            assert_eq!(found, specs);
            let calendar = calendar_load(&mut tx, SpaceId::DEFAULT, Timestamp(0)).await.unwrap();
            assert_eq!(calendar.windows.get(&id).map_or(0, |(_, windows)| windows.len()), specs.len());
        }
        windows_put(&mut tx, id, &[Window::read(&spec("0 22 * * *")).unwrap()]).await.unwrap();
        assert!(environment_delete(&mut tx, SpaceId::DEFAULT, id).await.unwrap());
        assert!(windows_list(&mut tx, SpaceId::DEFAULT).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_freeze_for_an_environment_that_is_gone_is_for_none_and_not_for_all() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let id = environment(&mut tx, "Production").await;
        let here = period(FreezeScope::Environments(vec![id]), 10, 20);
        freeze_insert(&mut tx, SpaceId::DEFAULT, &here, "alice", Timestamp(1)).await.unwrap();
        let all = period(FreezeScope::All, 30, 40);
        let all_id = freeze_insert(&mut tx, SpaceId::DEFAULT, &all, "bob", Timestamp(2)).await.unwrap();
        let listed = freeze_list(&mut tx, SpaceId::DEFAULT).await.unwrap();
        assert_eq!(listed.iter().map(|freeze| &freeze.period).collect::<Vec<_>>(), [&all, &here]);
        assert_eq!((listed[0].created_by.as_str(), listed[0].created_at), ("bob", Timestamp(2)));
        let coming = calendar_load(&mut tx, SpaceId::DEFAULT, Timestamp(20)).await.unwrap();
        assert_eq!(coming.freezes, [all], "what is over is left out");
        assert!(environment_delete(&mut tx, SpaceId::DEFAULT, id).await.unwrap());
        let left = freeze_list(&mut tx, SpaceId::DEFAULT).await.unwrap();
        assert_eq!(left[1].period.scope, FreezeScope::Environments(vec![]));
        assert!(freeze_delete(&mut tx, SpaceId::DEFAULT, all_id).await.unwrap());
        assert!(!freeze_delete(&mut tx, SpaceId::DEFAULT, all_id).await.unwrap(), "once");
    }
}
