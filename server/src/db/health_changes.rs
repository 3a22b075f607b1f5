//! The table `machine_health_changes`: how the health of a machine changed. Written by the inventory alone.

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::MachineId;
use crate::model::Health;

/// Changes of one machine that are kept. At the limit the oldest is forgotten: a machine that comes and goes for ever fills
/// nothing.
pub const CHANGES_KEPT: u32 = 100;

/// Longest reason that is kept, in characters. The rest is cut off.
const REASON_MAX: usize = 300;

/// From this moment on it was so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthChange {
    /// When.
    pub at: Timestamp,
    /// How it was from then on.
    pub health: Health,
    /// Why; empty where the word says it all.
    pub reason: String,
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
        Health::Unavailable => "unavailable",
        Health::Unknown => "unknown",
    }
}

fn from_word(text: &str) -> Option<Health> {
    [Health::Healthy, Health::Unhealthy, Health::Unavailable, Health::Unknown].into_iter().find(|h| word(*h) == text)
}

/// Writes a change down, and forgets the oldest beyond [`CHANGES_KEPT`].
pub async fn health_change_insert(
    conn: &mut Connection,
    machine: MachineId,
    change: &HealthChange,
) -> Result<(), DbError> {
    let reason: String = change.reason.chars().take(REASON_MAX).collect();
    // A machine that was deleted meanwhile has no changes.
    let sql = "INSERT INTO machine_health_changes (machine_id, occurred_at, health, reason)
               SELECT id, $2, $3, $4 FROM machines WHERE id = $1";
    let insert = sqlx::query(sql).bind(machine).bind(change.at).bind(word(change.health)).bind(reason);
    insert.execute(&mut *conn).await?;
    let sql = "DELETE FROM machine_health_changes WHERE machine_id = $1 AND id NOT IN
               (SELECT id FROM machine_health_changes WHERE machine_id = $1 ORDER BY id DESC LIMIT $2)";
    sqlx::query(sql).bind(machine).bind(CHANGES_KEPT).execute(conn).await?;
    Ok(())
}

/// The newest changes of a machine, newest first.
pub async fn health_change_list(
    conn: &mut Connection,
    machine: MachineId,
    most: u32,
) -> Result<Vec<HealthChange>, DbError> {
    let sql = "SELECT occurred_at, health, reason FROM machine_health_changes WHERE machine_id = $1
               ORDER BY id DESC LIMIT $2";
    let rows: Vec<(Timestamp, String, String)> = sqlx::query_as(sql).bind(machine).bind(most).fetch_all(conn).await?;
    let read = |(at, text, reason): (Timestamp, String, String)| {
        let health = from_word(&text).ok_or_else(|| DbError::damaged("machine_health_changes.health", &text))?;
        Ok(HealthChange { at, health, reason })
    };
    rows.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::environments::environment_insert;
    use crate::db::machines::machine_insert;
    use crate::ids::SpaceId;
    use crate::model::{NewEnvironment, NewMachine};
    use crate::testing::TestDb;

    #[tokio::test]
    async fn a_machine_that_comes_and_goes_keeps_a_bounded_past() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let (name, description) = ("A".parse().unwrap(), String::new());
        let new = NewEnvironment { name, description, sort_order: None, is_disabled: false };
        let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
        let new = NewMachine {
            name: "m".into(),
            address: "server1:10933".parse().unwrap(),
            thumbprint: contract::Thumbprint([7; 32]),
            is_disabled: false,
            environments: vec![environment],
            roles: Vec::new(),
        };
        let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &new, Timestamp(0)).await.unwrap().id;
        let kept = i64::from(CHANGES_KEPT);
        for at in 0..kept + 20 {
            let health = if at % 2 == 0 { Health::Healthy } else { Health::Unavailable };
            let change = HealthChange { at: Timestamp(at), health, reason: "é".repeat(REASON_MAX + 1) };
            health_change_insert(&mut tx, machine, &change).await.unwrap();
        }
        let all = health_change_list(&mut tx, machine, u32::MAX).await.unwrap();
        assert_eq!(all.len(), usize::try_from(kept).unwrap());
        assert_eq!((all[0].at, all[0].health), (Timestamp(kept + 19), Health::Unavailable));
        assert_eq!(all[0].reason.chars().count(), REASON_MAX);
        let gone = HealthChange { at: Timestamp(0), health: Health::Healthy, reason: String::new() };
        health_change_insert(&mut tx, MachineId(99), &gone).await.expect("a machine that was deleted is no error");
    }
}
