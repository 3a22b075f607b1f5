//! The table `machine_trust`: which of this portal's identities a machine was told to trust, and when it was last told. What
//! was told to a machine with another certificate than it has now counts for nothing.

use std::collections::BTreeSet;

use contract::Thumbprint;

use super::{Connection, DbError};
use crate::clock::Timestamp;
use crate::ids::{MachineId, SpaceId};
use crate::model::Address;
use crate::tentacle::Target;

/// A machine, and what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineTrust {
    /// Where it is reached.
    pub target: Target,
    /// Its name.
    pub name: String,
    /// The space that it belongs to.
    pub space: SpaceId,
    /// The thumbprints of this portal that it said it trusts.
    pub trusted: BTreeSet<Thumbprint>,
    /// When it was last told, and why it did not take it; empty where it did.
    pub tried: Option<(Timestamp, String)>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: MachineId,
    name: String,
    space_id: SpaceId,
    host: String,
    port: i64,
    thumbprint: String,
    trusted: Option<String>,
    tried_at: Option<Timestamp>,
    reason: Option<String>,
}

impl Row {
    fn read(self) -> Result<MachineTrust, DbError> {
        let port = u16::try_from(self.port).map_err(|_| DbError::damaged("machines.port", self.port))?;
        let address = Address::new(&self.host, port).map_err(|_| DbError::damaged("machines.host", &self.host))?;
        let read = |text: &str| text.parse().map_err(|_| DbError::damaged("thumbprint", text));
        let target = Target { machine: self.id, address, thumbprint: read(&self.thumbprint)? };
        let trusted = self.trusted.unwrap_or_default();
        let trusted = trusted.split(',').filter(|text| !text.is_empty()).map(read).collect::<Result<_, _>>()?;
        let tried = self.tried_at.map(|at| (at, self.reason.unwrap_or_default()));
        Ok(MachineTrust { target, name: self.name, space: self.space_id, trusted, tried })
    }
}

/// Every machine of every space, by name.
pub async fn machine_trust_list(conn: &mut Connection) -> Result<Vec<MachineTrust>, DbError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT m.id, m.name, m.space_id, m.host, m.port, m.thumbprint, t.trusted, t.tried_at, t.reason
         FROM machines m LEFT JOIN machine_trust t ON t.machine_id = m.id AND t.pinned = m.thumbprint ORDER BY m.name_key, m.id",
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Writes down what a machine trusts now, or why it did not take it. Does nothing where it was deleted meanwhile.
pub async fn machine_trust_put(conn: &mut Connection, row: &MachineTrust) -> Result<(), DbError> {
    let trusted: Vec<String> = row.trusted.iter().map(Thumbprint::to_string).collect();
    let (at, reason) = row.tried.clone().unwrap_or((Timestamp(0), String::new()));
    sqlx::query(
        "INSERT INTO machine_trust (machine_id, pinned, trusted, tried_at, reason)
         SELECT id, $2, $3, $4, $5 FROM machines WHERE id = $1
         ON CONFLICT (machine_id) DO UPDATE SET pinned = excluded.pinned, trusted = excluded.trusted,
             tried_at = excluded.tried_at, reason = excluded.reason",
    )
    .bind(row.target.machine)
    .bind(row.target.thumbprint.to_string())
    .bind(trusted.join(","))
    .bind(at)
    .bind(reason)
    .execute(conn)
    .await?;
    Ok(())
}
