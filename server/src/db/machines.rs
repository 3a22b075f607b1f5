//! The tables `machines`, `machine_environments` and `machine_roles`: what people said of machines.

use std::collections::{HashMap, HashSet};

use contract::Thumbprint;
use sqlx::AssertSqlSafe;

use super::{Connection, DbError, NAMED_MAX, Refusal, places, slug};
use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, SpaceId};
use crate::model::{Address, Machine, NewMachine};

/// Longest name of a machine or a role, in characters. A longer one is refused.
const NAME_MAX: usize = 200;

/// Most environments a machine may belong to. More are refused.
const ENVIRONMENTS_MAX: usize = 100;

/// Most roles a machine may have. More are refused.
const ROLES_MAX: usize = 100;

#[derive(sqlx::FromRow)]
struct Row {
    id: MachineId,
    space_id: SpaceId,
    name: String,
    slug: String,
    host: String,
    port: i64,
    thumbprint: String,
    is_disabled: bool,
    created_at: Timestamp,
}

/// Loads the machines that a condition on `m` selects: three statements, whatever their number.
macro_rules! load {
    ($conn:expr, $condition:literal, $($value:expr),+) => {{
        let rows: Vec<Row> =
            sqlx::query_as(concat!("SELECT m.* FROM machines m WHERE ", $condition, " ORDER BY m.name_key"))
                $(.bind($value))+.fetch_all(&mut *$conn).await?;
        let environments: Vec<(MachineId, EnvironmentId)> = sqlx::query_as(concat!(
            "SELECT m.id, e.id FROM machines m JOIN machine_environments me ON me.machine_id = m.id
             JOIN environments e ON e.id = me.environment_id WHERE ", $condition, " ORDER BY e.sort_order, e.id"
        ))
        $(.bind($value))+.fetch_all(&mut *$conn).await?;
        let roles: Vec<(MachineId, String)> = sqlx::query_as(concat!(
            "SELECT m.id, r.role FROM machines m JOIN machine_roles r ON r.machine_id = m.id WHERE ",
            $condition, " ORDER BY r.role_key"
        ))
        $(.bind($value))+.fetch_all(&mut *$conn).await?;
        assemble(rows, environments, roles)
    }};
}

/// The machines of a space, by name.
pub async fn machine_list(conn: &mut Connection, space: SpaceId) -> Result<Vec<Machine>, DbError> {
    load!(conn, "m.space_id = $1", space)
}

/// One machine.
pub async fn machine_get(conn: &mut Connection, space: SpaceId, id: MachineId) -> Result<Option<Machine>, DbError> {
    let machines = load!(conn, "m.space_id = $1 AND m.id = $2", space, id)?;
    Ok(machines.into_iter().next())
}

/// Some machines, in no order: of those ids that there are. A few statements for many machines.
pub async fn machine_some(conn: &mut Connection, ids: &[MachineId]) -> Result<Vec<Machine>, DbError> {
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(NAMED_MAX) {
        let places = places(some.len());
        let rows = format!("SELECT m.* FROM machines m WHERE m.id IN ({places})");
        let rows = some.iter().fold(sqlx::query_as(AssertSqlSafe(rows)), |query, id| query.bind(id));
        let rows: Vec<Row> = rows.fetch_all(&mut *conn).await?;
        let environments = format!(
            "SELECT me.machine_id, e.id FROM machine_environments me JOIN environments e ON e.id = me.environment_id
             WHERE me.machine_id IN ({places}) ORDER BY e.sort_order, e.id"
        );
        let environments = some.iter().fold(sqlx::query_as(AssertSqlSafe(environments)), |query, id| query.bind(id));
        let environments: Vec<(MachineId, EnvironmentId)> = environments.fetch_all(&mut *conn).await?;
        let roles =
            format!("SELECT machine_id, role FROM machine_roles WHERE machine_id IN ({places}) ORDER BY role_key");
        let roles = some.iter().fold(sqlx::query_as(AssertSqlSafe(roles)), |query, id| query.bind(id));
        let roles: Vec<(MachineId, String)> = roles.fetch_all(&mut *conn).await?;
        found.extend(assemble(rows, environments, roles)?);
    }
    Ok(found)
}

/// How many machines of a space there are of each role in each environment. Roles are in lower case.
pub async fn machine_role_sizes(
    conn: &mut Connection,
    space: SpaceId,
) -> Result<HashMap<(EnvironmentId, String), usize>, DbError> {
    let sql = "SELECT me.environment_id, r.role_key, COUNT(*) FROM machines m
               JOIN machine_environments me ON me.machine_id = m.id JOIN machine_roles r ON r.machine_id = m.id
               WHERE m.space_id = $1 GROUP BY me.environment_id, r.role_key";
    let rows: Vec<(EnvironmentId, String, i64)> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    let size = |count: i64| usize::try_from(count).unwrap_or(0);
    Ok(rows.into_iter().map(|(environment, role, count)| ((environment, role), size(count))).collect())
}

/// The machine of that name, without regard to case.
pub async fn machine_by_name(conn: &mut Connection, space: SpaceId, name: &str) -> Result<Option<Machine>, DbError> {
    let machines = load!(conn, "m.space_id = $1 AND m.name_key = $2", space, name.to_lowercase())?;
    Ok(machines.into_iter().next())
}

/// The machines that show this certificate. More than one means that a machine was cloned with its identity.
pub async fn machine_by_thumbprint(
    conn: &mut Connection,
    space: SpaceId,
    thumbprint: Thumbprint,
) -> Result<Vec<Machine>, DbError> {
    load!(conn, "m.space_id = $1 AND m.thumbprint = $2", space, thumbprint.to_string())
}

/// Adds a machine.
pub async fn machine_insert(
    conn: &mut Connection,
    space: SpaceId,
    new: &NewMachine,
    now: Timestamp,
) -> Result<Machine, DbError> {
    check(conn, space, new).await?;
    let taken: Vec<String> =
        sqlx::query_scalar("SELECT slug FROM machines WHERE space_id = $1").bind(space).fetch_all(&mut *conn).await?;
    let slug = slug::unique_slug(&new.name, "machine", &taken.into_iter().collect());
    let id: MachineId = sqlx::query_scalar(
        "INSERT INTO machines (space_id, name, name_key, slug, host, port, thumbprint, is_disabled, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
    )
    .bind(space)
    .bind(new.name.trim())
    .bind(new.name.trim().to_lowercase())
    .bind(slug)
    .bind(&new.address.host)
    .bind(i64::from(new.address.port))
    .bind(new.thumbprint.to_string())
    .bind(new.is_disabled)
    .bind(now)
    .fetch_one(&mut *conn)
    .await
    .map_err(|error| DbError::or_taken(error, || name_taken(new)))?;
    write_members(conn, id, new).await?;
    machine_get(conn, space, id).await?.ok_or_else(|| DbError::damaged("machines.id", id))
}

/// Changes a machine; its slug stays. `None` if there is no such machine.
pub async fn machine_update(
    conn: &mut Connection,
    space: SpaceId,
    id: MachineId,
    new: &NewMachine,
) -> Result<Option<Machine>, DbError> {
    check(conn, space, new).await?;
    let done = sqlx::query(
        "UPDATE machines SET name = $3, name_key = $4, host = $5, port = $6, thumbprint = $7, is_disabled = $8
         WHERE space_id = $1 AND id = $2",
    )
    .bind(space)
    .bind(id)
    .bind(new.name.trim())
    .bind(new.name.trim().to_lowercase())
    .bind(&new.address.host)
    .bind(i64::from(new.address.port))
    .bind(new.thumbprint.to_string())
    .bind(new.is_disabled)
    .execute(&mut *conn)
    .await
    .map_err(|error| DbError::or_taken(error, || name_taken(new)))?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    for statement in
        ["DELETE FROM machine_environments WHERE machine_id = $1", "DELETE FROM machine_roles WHERE machine_id = $1"]
    {
        sqlx::query(statement).bind(id).execute(&mut *conn).await?;
    }
    write_members(conn, id, new).await?;
    machine_get(conn, space, id).await
}

/// Enables or disables a machine. Where there is none, nothing happens.
pub async fn machine_set_disabled(conn: &mut Connection, id: MachineId, is_disabled: bool) -> Result<(), DbError> {
    let sql = "UPDATE machines SET is_disabled = $2 WHERE id = $1";
    sqlx::query(sql).bind(id).bind(is_disabled).execute(conn).await?;
    Ok(())
}

/// Deletes a machine and what is known of it; the history of its rollouts and tasks stays. False if there is none.
pub async fn machine_delete(conn: &mut Connection, space: SpaceId, id: MachineId) -> Result<bool, DbError> {
    let done =
        sqlx::query("DELETE FROM machines WHERE space_id = $1 AND id = $2").bind(space).bind(id).execute(conn).await?;
    Ok(done.rows_affected() > 0)
}

async fn check(conn: &mut Connection, space: SpaceId, new: &NewMachine) -> Result<(), DbError> {
    let unfit =
        |name: &str| name.trim().is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control);
    if unfit(&new.name) {
        return Err(Refusal::NameUnfit { what: "a machine", max: NAME_MAX }.into());
    }
    // A comma would make two roles of one where the REST API lists them.
    if new.roles.iter().any(|role| unfit(role) || role.contains(',')) {
        return Err(Refusal::NameUnfit { what: "a role", max: NAME_MAX }.into());
    }
    if new.roles.len() > ROLES_MAX {
        return Err(Refusal::TooMany { what: "roles", max: ROLES_MAX }.into());
    }
    if new.environments.is_empty() {
        return Err(Refusal::MachineWithoutEnvironment.into());
    }
    if new.environments.len() > ENVIRONMENTS_MAX {
        return Err(Refusal::TooMany { what: "environments", max: ENVIRONMENTS_MAX }.into());
    }
    let known: Vec<EnvironmentId> =
        sqlx::query_scalar("SELECT id FROM environments WHERE space_id = $1").bind(space).fetch_all(conn).await?;
    let known: HashSet<EnvironmentId> = known.into_iter().collect();
    match new.environments.iter().find(|id| !known.contains(id)) {
        Some(unknown) => Err(Refusal::UnknownEnvironment(*unknown).into()),
        None => Ok(()),
    }
}

async fn write_members(conn: &mut Connection, id: MachineId, new: &NewMachine) -> Result<(), DbError> {
    for environment in &new.environments {
        sqlx::query(
            "INSERT INTO machine_environments (machine_id, environment_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(environment)
        .execute(&mut *conn)
        .await?;
    }
    for role in &new.roles {
        sqlx::query(
            "INSERT INTO machine_roles (machine_id, role, role_key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(role.trim())
        .bind(role.trim().to_lowercase())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

fn assemble(
    rows: Vec<Row>,
    environments: Vec<(MachineId, EnvironmentId)>,
    roles: Vec<(MachineId, String)>,
) -> Result<Vec<Machine>, DbError> {
    let mut environments_of: HashMap<MachineId, Vec<EnvironmentId>> = HashMap::new();
    for (machine, environment) in environments {
        environments_of.entry(machine).or_default().push(environment);
    }
    let mut roles_of: HashMap<MachineId, Vec<String>> = HashMap::new();
    for (machine, role) in roles {
        roles_of.entry(machine).or_default().push(role);
    }
    let machine = |row: Row| {
        let port = u16::try_from(row.port).map_err(|_| DbError::damaged("machines.port", row.port))?;
        Ok(Machine {
            id: row.id,
            space: row.space_id,
            name: row.name,
            slug: row.slug,
            address: Address::new(&row.host, port).map_err(|_| DbError::damaged("machines.host", &row.host))?,
            thumbprint: row.thumbprint.parse().map_err(|_| DbError::damaged("machines.thumbprint", &row.thumbprint))?,
            is_disabled: row.is_disabled,
            environments: environments_of.remove(&row.id).unwrap_or_default(),
            roles: roles_of.remove(&row.id).unwrap_or_default(),
            created_at: row.created_at,
        })
    };
    rows.into_iter().map(machine).collect()
}

fn name_taken(new: &NewMachine) -> Refusal {
    Refusal::NameTaken { what: "a machine", name: new.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::environments::{environment_delete, environment_insert};
    use crate::model::NewEnvironment;
    use crate::testing::TestDb;

    fn named(name: &str, environments: &[EnvironmentId]) -> NewMachine {
        NewMachine {
            name: name.to_owned(),
            address: "server1:10933".parse().unwrap(),
            thumbprint: Thumbprint([7; 32]),
            is_disabled: false,
            environments: environments.to_vec(),
            roles: vec!["web".into(), "Cache".into(), "WEB".into()],
        }
    }

    async fn environment(conn: &mut Connection, name: &str) -> EnvironmentId {
        let new = NewEnvironment {
            name: name.parse().unwrap(),
            description: String::new(),
            sort_order: None,
            is_disabled: false,
        };
        environment_insert(conn, SpaceId::DEFAULT, &new).await.unwrap().id
    }

    #[tokio::test]
    async fn a_machine_is_read_as_it_was_written() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let (a, b) = (environment(&mut tx, "A").await, environment(&mut tx, "B").await);
        let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &named("Web 1", &[b, a]), Timestamp(5)).await.unwrap();
        assert_eq!((machine.slug.as_str(), &machine.environments), ("web-1", &vec![a, b]));
        assert_eq!(machine.roles, ["Cache", "web"], "in alphabetical order, each once");
        assert_eq!(machine_get(&mut tx, SpaceId::DEFAULT, machine.id).await.unwrap().as_ref(), Some(&machine));
        assert_eq!(machine_by_thumbprint(&mut tx, SpaceId::DEFAULT, machine.thumbprint).await.unwrap().len(), 1);
        let changed = NewMachine { roles: Vec::new(), is_disabled: true, ..named("web 2", &[a]) };
        let changed = machine_update(&mut tx, SpaceId::DEFAULT, machine.id, &changed).await.unwrap().unwrap();
        assert_eq!((changed.roles.len(), changed.environments, changed.is_disabled), (0, vec![a], true));
        assert!(machine_delete(&mut tx, SpaceId::DEFAULT, machine.id).await.unwrap());
        assert!(machine_list(&mut tx, SpaceId::DEFAULT).await.unwrap().is_empty());
        assert!(!machine_delete(&mut tx, SpaceId::DEFAULT, machine.id).await.unwrap());
    }

    #[tokio::test]
    async fn a_machine_belongs_to_environments_that_exist() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let none = machine_insert(&mut tx, SpaceId::DEFAULT, &named("a", &[]), Timestamp(0)).await.unwrap_err();
        assert!(matches!(none, DbError::Refused(Refusal::MachineWithoutEnvironment)), "{none}");
        let gone = named("a", &[EnvironmentId(99)]);
        let gone = machine_insert(&mut tx, SpaceId::DEFAULT, &gone, Timestamp(0)).await.unwrap_err();
        assert_eq!(gone.to_string(), "there is no environment Environments-99");
    }

    #[tokio::test]
    async fn an_environment_with_machines_is_not_deleted() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let a = environment(&mut tx, "A").await;
        let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &named("m", &[a]), Timestamp(0)).await.unwrap();
        let error = environment_delete(&mut tx, SpaceId::DEFAULT, a).await.unwrap_err();
        assert!(error.to_string().contains("still has 1 machine"), "{error}");
        machine_delete(&mut tx, SpaceId::DEFAULT, machine.id).await.unwrap();
        assert!(environment_delete(&mut tx, SpaceId::DEFAULT, a).await.unwrap());
    }

    #[tokio::test]
    async fn two_machines_cannot_share_a_name() {
        let db = TestDb::new().await;
        let mut tx = db.write().await.unwrap();
        let a = environment(&mut tx, "A").await;
        machine_insert(&mut tx, SpaceId::DEFAULT, &named("Web", &[a]), Timestamp(0)).await.unwrap();
        let error = machine_insert(&mut tx, SpaceId::DEFAULT, &named("web", &[a]), Timestamp(0)).await.unwrap_err();
        assert!(error.is_duplicate(), "{error}");
    }
}
