//! The table `version_samples`: what the machines ran, day by day.

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::SpaceId;

/// What machines ran on one day.
#[derive(Clone, Debug, PartialEq, Eq, Hash, sqlx::FromRow)]
pub struct Sample {
    /// The first moment of the day, in UTC.
    pub day: Timestamp,
    /// The version; empty for machines that never said.
    pub version: String,
    /// How many machines.
    pub machines: i64,
}

/// Counts what the machines of a space run now, in the place of what was counted that day before, and forgets the days before
/// `oldest`.
pub async fn sample_put(
    conn: &mut Connection,
    space: SpaceId,
    day: Timestamp,
    oldest: Timestamp,
) -> Result<(), DbError> {
    let sql = "DELETE FROM version_samples WHERE space_id = $1 AND (day = $2 OR day < $3)";
    sqlx::query(sql).bind(space).bind(day).bind(oldest).execute(&mut *conn).await?;
    sqlx::query(
        "INSERT INTO version_samples (space_id, day, version, machines)
         SELECT m.space_id, $2, COALESCE(f.version, ''), COUNT(*)
         FROM machines m LEFT JOIN machine_facts f ON f.machine_id = m.id
         WHERE m.space_id = $1 AND m.is_disabled = FALSE GROUP BY m.space_id, COALESCE(f.version, '')",
    )
    .bind(space)
    .bind(day)
    .execute(conn)
    .await?;
    Ok(())
}

/// What was counted from a day on, day by day.
pub async fn sample_list(conn: &mut Connection, space: SpaceId, from: Timestamp) -> Result<Vec<Sample>, DbError> {
    let sql = "SELECT day, version, machines FROM version_samples WHERE space_id = $1 AND day >= $2
               ORDER BY day, machines DESC, version";
    Ok(sqlx::query_as(sql).bind(space).bind(from).fetch_all(conn).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::facts::facts_put;
    use crate::db::machines::{machine_insert, machine_set_disabled};
    use crate::model::{Contact, Facts, Instances, NewEnvironment, NewMachine};
    use crate::testing::{TestDb, report};

    #[tokio::test]
    async fn a_day_keeps_its_last_sample_and_old_days_are_forgotten() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let (name, description) = ("A".parse().unwrap(), String::new());
        let new = NewEnvironment { name, description, sort_order: None, is_disabled: false };
        let place = crate::db::environments::environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            let new = NewMachine {
                name: name.into(),
                address: "h:1".parse().unwrap(),
                thumbprint: contract::Thumbprint([1; 32]),
                is_disabled: false,
                environments: vec![place],
                roles: Vec::new(),
            };
            ids.push(machine_insert(&mut tx, SpaceId::DEFAULT, &new, Timestamp(0)).await.unwrap().id);
        }
        let facts = |version: &str| Facts {
            tried_at: Timestamp(0),
            contact: Contact::Answered,
            contact_since: Timestamp(0),
            report: Some(report(version.parse().unwrap(), Timestamp(0))),
            instances: Instances::default(),
        };
        sample_put(&mut tx, SpaceId::DEFAULT, Timestamp(10), Timestamp(0)).await.unwrap();
        facts_put(&mut tx, ids[0], &facts("1.0.0")).await.unwrap();
        sample_put(&mut tx, SpaceId::DEFAULT, Timestamp(10), Timestamp(0)).await.unwrap();
        machine_set_disabled(&mut tx, ids[2], true).await.unwrap();
        sample_put(&mut tx, SpaceId::DEFAULT, Timestamp(20), Timestamp(0)).await.unwrap();
        let told = |samples: Vec<Sample>| -> Vec<_> {
            samples.into_iter().map(|sample| (sample.day.0, sample.version, sample.machines)).collect()
        };
        let all = told(sample_list(&mut tx, SpaceId::DEFAULT, Timestamp(0)).await.unwrap());
        let (none, one) = (String::new(), "1.0.0".to_owned());
        let second = [(20, none.clone(), 1), (20, one.clone(), 1)];
        assert_eq!(all, [[(10, none, 2), (10, one, 1)], second.clone()].concat());
        sample_put(&mut tx, SpaceId::DEFAULT, Timestamp(20), Timestamp(11)).await.unwrap();
        assert_eq!(told(sample_list(&mut tx, SpaceId::DEFAULT, Timestamp(0)).await.unwrap()), second);
    }
}
