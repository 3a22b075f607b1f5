//! The facts of machines: what the portal last saw. Written by the inventory alone.

use std::collections::HashMap;

use contract::{Rejection, Verdicts, Version};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow};

use super::{Connection, DbError, NAMED_MAX, places};
use crate::clock::Timestamp;
use crate::ids::{MachineId, SpaceId};
use crate::model::{Contact, Facts, InstalledVersion, Instances, Report, RunningWork};

#[derive(FromRow)]
struct Row {
    machine_id: MachineId,
    tried_at: Timestamp,
    contact: String,
    contact_since: Timestamp,
    contact_reason: String,
    reported_at: Option<Timestamp>,
    version: Option<String>,
    instance_id: Option<String>,
    instance_seen_at: Option<Timestamp>,
    report: Option<String>,
    instances: String,
}

/// What of a report is kept as JSON: everything that is only shown or looked at by the planner.
#[derive(Serialize, Deserialize)]
struct ReportJson {
    started_at: Timestamp,
    runtime: String,
    os: String,
    hostname: String,
    supervisor_contract: Option<u32>,
    installed: Vec<InstalledJson>,
    last_words: Option<String>,
    free_disk_bytes: u64,
    running_work: Vec<WorkJson>,
    generation: u64,
    problems: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct InstalledJson {
    version: String,
    proven: bool,
    rejected: Option<String>,
    withdrawn: bool,
    launches: u64,
}

#[derive(Serialize, Deserialize)]
struct WorkJson {
    ticket: String,
    description: String,
    since: Timestamp,
}

/// The facts of one machine; `None` if it was never tried.
pub async fn facts_get(conn: &mut Connection, machine: MachineId) -> Result<Option<Facts>, DbError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM machine_facts WHERE machine_id = $1").bind(machine).fetch_optional(conn).await?;
    row.map(|row| row.read().map(|(_, facts)| facts)).transpose()
}

/// The facts of some machines: of those that were ever tried. One statement for many machines.
pub async fn facts_of(conn: &mut Connection, machines: &[MachineId]) -> Result<HashMap<MachineId, Facts>, DbError> {
    let mut found = HashMap::new();
    for some in machines.chunks(NAMED_MAX) {
        let sql = format!("SELECT * FROM machine_facts WHERE machine_id IN ({})", places(some.len()));
        let query = some.iter().fold(sqlx::query_as(AssertSqlSafe(sql)), |query, id| query.bind(id));
        let rows: Vec<Row> = query.fetch_all(&mut *conn).await?;
        for row in rows {
            found.extend([row.read()?]);
        }
    }
    Ok(found)
}

/// The facts of every machine of a space that was ever tried.
pub async fn facts_list(conn: &mut Connection, space: SpaceId) -> Result<HashMap<MachineId, Facts>, DbError> {
    let sql = "SELECT f.* FROM machine_facts f JOIN machines m ON m.id = f.machine_id WHERE m.space_id = $1";
    let rows: Vec<Row> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    rows.into_iter().map(Row::read).collect()
}

/// The highest generation that any machine ever told of; 0 for none.
pub async fn generation_seen(conn: &mut Connection) -> Result<u64, DbError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM machine_facts WHERE report IS NOT NULL").fetch_all(conn).await?;
    let mut highest = 0;
    for row in rows {
        let (_, facts) = row.read()?;
        highest = highest.max(facts.report.map_or(0, |report| report.generation));
    }
    Ok(highest)
}

/// Enabled machines of a space that were not tried between `before` and `now`, those that were never tried first; at most `limit`.
/// One that was tried in the future was tried before the clock was set back.
pub async fn facts_due(
    conn: &mut Connection,
    space: SpaceId,
    before: Timestamp,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<MachineId>, DbError> {
    let machines = sqlx::query_scalar(
        "SELECT m.id FROM machines m LEFT JOIN machine_facts f ON f.machine_id = m.id
         WHERE m.space_id = $1 AND m.is_disabled = FALSE AND (COALESCE(f.tried_at, 0) <= $2 OR f.tried_at > $3)
         ORDER BY COALESCE(f.tried_at, 0) LIMIT $4",
    )
    .bind(space)
    .bind(before)
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(machines)
}

/// How many enabled machines there are by how the last attempt to reach them went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContactCount {
    /// They answered, so they trust this portal and it trusts them.
    pub answered: u32,
    /// Nobody answered.
    pub silent: u32,
    /// One side did not trust the other.
    pub refused: u32,
    /// They were never asked.
    pub never: u32,
}

/// Counts the enabled machines of a space.
pub async fn contact_counts(conn: &mut Connection, space: SpaceId) -> Result<ContactCount, DbError> {
    let sql = "SELECT COALESCE(f.contact, 'never'), COUNT(*) FROM machines m
               LEFT JOIN machine_facts f ON f.machine_id = m.id
               WHERE m.space_id = $1 AND m.is_disabled = FALSE GROUP BY COALESCE(f.contact, 'never')";
    let rows: Vec<(String, u32)> = sqlx::query_as(sql).bind(space).fetch_all(conn).await?;
    let of = |word: &str| rows.iter().find(|(contact, _)| contact == word).map_or(0, |(_, count)| *count);
    Ok(ContactCount { answered: of("answered"), silent: of("silent"), refused: of("refused"), never: of("never") })
}

/// Writes down what was seen. Does nothing where the machine was deleted meanwhile.
pub async fn facts_put(conn: &mut Connection, machine: MachineId, facts: &Facts) -> Result<(), DbError> {
    let (contact, reason) = match &facts.contact {
        Contact::Answered => ("answered", ""),
        Contact::Silent { reason } => ("silent", reason.as_str()),
        Contact::Refused { reason } => ("refused", reason.as_str()),
    };
    let report = facts.report.as_ref();
    let json = report.map(|report| serde_json::to_string(&ReportJson::from(report)));
    let json = json.transpose().map_err(|error| DbError::damaged("report", error))?;
    sqlx::query(
        "INSERT INTO machine_facts (machine_id, tried_at, contact, contact_since, contact_reason, reported_at, version,
                                    instance_id, instance_seen_at, report, instances, runtime, problems)
         SELECT id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 FROM machines WHERE id = $1
         ON CONFLICT (machine_id) DO UPDATE SET
             tried_at = excluded.tried_at, contact = excluded.contact, contact_since = excluded.contact_since,
             contact_reason = excluded.contact_reason, reported_at = excluded.reported_at,
             version = excluded.version, instance_id = excluded.instance_id,
             instance_seen_at = excluded.instance_seen_at, report = excluded.report,
             instances = excluded.instances, runtime = excluded.runtime, problems = excluded.problems",
    )
    .bind(machine)
    .bind(facts.tried_at)
    .bind(contact)
    .bind(facts.contact_since)
    .bind(reason)
    .bind(report.map(|report| report.at))
    .bind(report.map(|report| report.version.to_string()))
    .bind(report.map(|report| report.instance_id.as_str()))
    .bind(report.map(|report| report.instance_seen_at))
    .bind(json)
    .bind(write_instances(&facts.instances)?)
    .bind(report.map(|report| report.runtime.as_str()))
    .bind(facts.problem_line())
    .execute(conn)
    .await?;
    Ok(())
}

impl Row {
    fn read(self) -> Result<(MachineId, Facts), DbError> {
        let contact = match self.contact.as_str() {
            "answered" => Contact::Answered,
            "silent" => Contact::Silent { reason: self.contact_reason },
            "refused" => Contact::Refused { reason: self.contact_reason },
            other => return Err(DbError::damaged("machine_facts.contact", other)),
        };
        let report = match (self.reported_at, self.version, self.instance_id, self.instance_seen_at, self.report) {
            (Some(at), Some(version), Some(instance_id), Some(instance_seen_at), Some(json)) => {
                let json: ReportJson =
                    serde_json::from_str(&json).map_err(|error| DbError::damaged("machine_facts.report", error))?;
                Some(json.into_report(at, read_version(&version)?, instance_id, instance_seen_at)?)
            }
            _ => None,
        };
        let instances = match self.instances.as_str() {
            "" => Instances::default(),
            text => serde_json::from_str(text).map_err(|error| DbError::damaged("machine_facts.instances", error))?,
        };
        let facts = Facts { tried_at: self.tried_at, contact, contact_since: self.contact_since, report, instances };
        Ok((self.machine_id, facts))
    }
}

/// Empty where nothing is known, as for most machines most of the time.
fn write_instances(instances: &Instances) -> Result<String, DbError> {
    if *instances == Instances::default() {
        return Ok(String::new());
    }
    serde_json::to_string(instances).map_err(|error| DbError::damaged("instances", error))
}

fn read_version(text: &str) -> Result<Version, DbError> {
    text.parse().map_err(|error| DbError::damaged("machine_facts.version", error))
}

impl From<&Report> for ReportJson {
    fn from(report: &Report) -> Self {
        let installed = report.installed.iter().map(|installed| InstalledJson {
            version: installed.version.to_string(),
            proven: installed.verdicts.proven,
            rejected: installed.verdicts.rejected.map(|kind| kind.word().to_owned()),
            withdrawn: installed.verdicts.withdrawn,
            launches: installed.verdicts.launches,
        });
        let running_work = report.running_work.iter().map(|work| WorkJson {
            ticket: work.ticket.clone(),
            description: work.description.clone(),
            since: work.since,
        });
        Self {
            started_at: report.started_at,
            runtime: report.runtime.clone(),
            os: report.os.clone(),
            hostname: report.hostname.clone(),
            supervisor_contract: report.supervisor_contract,
            installed: installed.collect(),
            last_words: report.last_words.clone(),
            free_disk_bytes: report.free_disk_bytes,
            running_work: running_work.collect(),
            generation: report.generation,
            problems: report.problems.clone(),
        }
    }
}

impl ReportJson {
    fn into_report(
        self,
        at: Timestamp,
        version: Version,
        instance_id: String,
        instance_seen_at: Timestamp,
    ) -> Result<Report, DbError> {
        let installed = self.installed.into_iter().map(|installed| {
            let rejected = installed.rejected.as_deref().map(Rejection::from_text);
            let InstalledJson { proven, withdrawn, launches, .. } = installed;
            let verdicts = Verdicts { proven, rejected, withdrawn, launches };
            Ok(InstalledVersion { version: read_version(&installed.version)?, verdicts })
        });
        let running_work = self.running_work.into_iter().map(|work| RunningWork {
            ticket: work.ticket,
            description: work.description,
            since: work.since,
        });
        Ok(Report {
            at,
            instance_seen_at,
            version,
            instance_id,
            started_at: self.started_at,
            runtime: self.runtime,
            os: self.os,
            hostname: self.hostname,
            supervisor_contract: self.supervisor_contract,
            installed: installed.collect::<Result<_, DbError>>()?,
            last_words: self.last_words,
            free_disk_bytes: self.free_disk_bytes,
            running_work: running_work.collect(),
            generation: self.generation,
            problems: self.problems,
        })
    }
}
