//! Machines as lists show them: the columns that a row needs, and no reports. Three statements for a whole space.

use std::collections::HashMap;

use sqlx::FromRow;

use super::facts::facts_of;
use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, SpaceId};
use crate::model::{Brief, Facts, Health};

#[derive(FromRow)]
struct Row {
    id: MachineId,
    name: String,
    is_disabled: bool,
    contact: Option<String>,
    contact_reason: Option<String>,
    reported_at: Option<Timestamp>,
    version: Option<String>,
    runtime: Option<String>,
    problems: Option<String>,
}

/// The machines of a space, by name.
pub async fn brief_list(conn: &mut Connection, space: SpaceId) -> Result<Vec<Brief>, DbError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT m.id, m.name, m.is_disabled, f.contact, f.contact_reason, f.reported_at, f.version, f.runtime, f.problems
         FROM machines m LEFT JOIN machine_facts f ON f.machine_id = m.id WHERE m.space_id = $1 ORDER BY m.name_key",
    )
    .bind(space)
    .fetch_all(&mut *conn)
    .await?;
    let environments: Vec<(MachineId, EnvironmentId)> = sqlx::query_as(
        "SELECT me.machine_id, e.id FROM environments e JOIN machine_environments me ON me.environment_id = e.id
         WHERE e.space_id = $1 ORDER BY e.sort_order, e.id",
    )
    .bind(space)
    .fetch_all(&mut *conn)
    .await?;
    let roles: Vec<(MachineId, String)> = sqlx::query_as(
        "SELECT r.machine_id, r.role FROM machines m JOIN machine_roles r ON r.machine_id = m.id
         WHERE m.space_id = $1 ORDER BY r.machine_id, r.role_key",
    )
    .bind(space)
    .fetch_all(&mut *conn)
    .await?;
    let (mut environments, mut roles) = (by_machine(environments), by_machine(roles));
    let is_from_before = |row: &&Row| row.contact.is_some() && row.problems.is_none();
    let before: Vec<MachineId> = rows.iter().filter(is_from_before).map(|row| row.id).collect();
    let before = facts_of(conn, &before).await?;
    let read = |row: Row| {
        let environments = environments.remove(&row.id).unwrap_or_default();
        let roles = roles.remove(&row.id).unwrap_or_default();
        row.read(environments, roles, &before)
    };
    rows.into_iter().map(read).collect()
}

fn by_machine<T>(pairs: Vec<(MachineId, T)>) -> HashMap<MachineId, Vec<T>> {
    let mut found: HashMap<MachineId, Vec<T>> = HashMap::new();
    for (machine, value) in pairs {
        found.entry(machine).or_default().push(value);
    }
    found
}

impl Row {
    fn read(
        self,
        environments: Vec<EnvironmentId>,
        roles: Vec<String>,
        before: &HashMap<MachineId, Facts>,
    ) -> Result<Brief, DbError> {
        let version = self.version.as_deref().map(str::parse).transpose();
        let (health, health_reason, runtime) = match before.get(&self.id) {
            Some(facts) => {
                let runtime = facts.report.as_ref().map(|report| report.runtime.clone());
                (Health::of(Some(facts)), facts.reason(), runtime)
            }
            None => {
                let problems = self.problems.unwrap_or_default();
                let reason = self.contact_reason.unwrap_or_default();
                let (health, reason) = match self.contact.as_deref() {
                    None => (Health::Unknown, String::new()),
                    Some("answered") if self.reported_at.is_some() && problems.is_empty() => {
                        (Health::Healthy, String::new())
                    }
                    Some("answered") => (Health::Unhealthy, problems),
                    Some("silent" | "refused") => (Health::Unavailable, reason),
                    Some(other) => return Err(DbError::damaged("machine_facts.contact", other)),
                };
                (health, reason, self.runtime)
            }
        };
        Ok(Brief {
            id: self.id,
            name: self.name,
            is_disabled: self.is_disabled,
            environments,
            roles,
            health,
            health_reason,
            version: version.map_err(|error| DbError::damaged("machine_facts.version", error))?,
            runtime,
            seen: self.reported_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::db::environments::environment_insert;
    use crate::db::facts::{facts_list, facts_put};
    use crate::db::machines::{machine_insert, machine_list};
    use crate::model::{Contact, Instances, NewEnvironment, NewMachine};
    use crate::testing::TestDb;

    const NOW: Timestamp = Timestamp(1_795_428_000_000_000);

    async fn environment(conn: &mut Connection, name: &str) -> EnvironmentId {
        let name = name.parse().unwrap();
        let new = NewEnvironment { name, description: String::new(), sort_order: None, is_disabled: false };
        environment_insert(conn, SpaceId::DEFAULT, &new).await.unwrap().id
    }

    async fn machine(conn: &mut Connection, name: &str, environments: &[EnvironmentId]) -> MachineId {
        let new = NewMachine {
            name: name.to_owned(),
            address: "server1:10933".parse().unwrap(),
            thumbprint: contract::Thumbprint([7; 32]),
            is_disabled: name == "d",
            environments: environments.to_vec(),
            roles: vec!["web".into(), "Cache".into()],
        };
        machine_insert(conn, SpaceId::DEFAULT, &new, NOW).await.unwrap().id
    }

    fn facts(contact: Contact, problems: &[&str]) -> Facts {
        let report = crate::testing::report("2026.4.0".parse().unwrap(), NOW);
        let problems = problems.iter().map(|problem| (*problem).to_owned()).collect();
        Facts {
            tried_at: NOW.after(Duration::from_secs(5)),
            contact,
            contact_since: NOW,
            report: Some(crate::model::Report { problems, ..report }),
            instances: Instances::default(),
        }
    }

    #[tokio::test]
    async fn a_list_says_of_each_machine_what_its_whole_facts_say() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let (a, b) = (environment(&mut tx, "A").await, environment(&mut tx, "B").await);
        let silent = || Contact::Silent { reason: "no route".into() };
        let known = [
            ("well", facts(Contact::Answered, &[])),
            ("d", facts(Contact::Answered, &["the disk is full", "the clock is wrong"])),
            ("silent", facts(silent(), &["the disk is full"])),
            ("mute", Facts { report: None, ..facts(silent(), &[]) }),
            ("odd", Facts { report: None, ..facts(Contact::Answered, &[]) }),
            ("refused", facts(Contact::Refused { reason: "another certificate".into() }, &[])),
        ];
        machine(&mut tx, "never", &[a]).await;
        for (name, facts) in &known {
            let id = machine(&mut tx, name, &[b, a]).await;
            facts_put(&mut tx, id, facts).await.unwrap();
        }
        let whole = facts_list(&mut tx, SpaceId::DEFAULT).await.unwrap();
        let machines = machine_list(&mut tx, SpaceId::DEFAULT).await.unwrap();
        let expected: Vec<Brief> = machines.iter().map(|m| Brief::of(m, whole.get(&m.id))).collect();
        assert_eq!(brief_list(&mut tx, SpaceId::DEFAULT).await.unwrap(), expected);
        assert_eq!(expected.len(), 7);
        // As rows are that were written before lists had columns of their own.
        sqlx::query("UPDATE machine_facts SET runtime = NULL, problems = NULL").execute(&mut *tx).await.unwrap();
        assert_eq!(brief_list(&mut tx, SpaceId::DEFAULT).await.unwrap(), expected);
    }
}
