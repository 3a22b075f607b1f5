//! The waves of rollouts: written when a rollout is made; only their release changes.

use std::time::Duration;

use sqlx::FromRow;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::RolloutId;
use crate::rollout::state::RolloutWave;
use crate::rollout::strategy::{Approval, CutWave};

#[derive(FromRow)]
struct Row {
    title: String,
    soak_us: i64,
    approval: String,
    failure_budget: Option<i64>,
    released_at: Option<Timestamp>,
    released_by: String,
}

/// Writes the waves of a new rollout.
pub(super) async fn waves_insert(conn: &mut Connection, rollout: RolloutId, waves: &[CutWave]) -> Result<(), DbError> {
    for (number, wave) in (0_i64..).zip(waves) {
        sqlx::query(
            "INSERT INTO rollout_waves (rollout_id, number, title, soak_us, approval, failure_budget)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(rollout)
        .bind(number)
        .bind(&wave.title)
        .bind(i64::try_from(wave.soak.as_micros()).unwrap_or(i64::MAX))
        .bind(wave.approval.word())
        .bind(wave.failure_budget.map(i64::from))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The waves of a rollout in their order.
pub(super) async fn waves_list(conn: &mut Connection, rollout: RolloutId) -> Result<Vec<RolloutWave>, DbError> {
    let sql = "SELECT title, soak_us, approval, failure_budget, released_at, released_by FROM rollout_waves
               WHERE rollout_id = $1 ORDER BY number";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(rollout).fetch_all(conn).await?;
    let read = |row: Row| {
        let approval = Approval::from_word(&row.approval);
        Ok(RolloutWave {
            approval: approval.ok_or_else(|| DbError::damaged("rollout_waves.approval", &row.approval))?,
            title: row.title,
            soak: Duration::from_micros(u64::try_from(row.soak_us).unwrap_or(0)),
            failure_budget: row.failure_budget.map(|budget| u32::try_from(budget).unwrap_or(1)),
            released_at: row.released_at,
            released_by: row.released_by,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Writes down that a person released a wave, unless somebody did before.
pub async fn wave_release(
    conn: &mut Connection,
    rollout: RolloutId,
    wave: usize,
    who: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE rollout_waves SET released_at = $3, released_by = $4
               WHERE rollout_id = $1 AND number = $2 AND released_at IS NULL";
    let number = i64::try_from(wave).unwrap_or(i64::MAX);
    sqlx::query(sql).bind(rollout).bind(number).bind(now).bind(who).execute(conn).await?;
    Ok(())
}
