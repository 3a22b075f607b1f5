//! The facts about a machine, as a Tentacle tells them and a portal records them.

use std::fmt;
use std::str::FromStr;

use contract::{Rejection, Verdicts, Version};

use crate::{DecodeError, Ticket, decode, wire};

/// Longest nonce in bytes; a longer one is refused, because it would be echoed.
pub const NONCE_MAX: usize = 128;

/// Longest instance id in bytes.
const INSTANCE_ID_MAX: usize = 64;

/// A text that is random at each start of a Tentacle process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(String);

impl InstanceId {
    /// As it travels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InstanceId {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > INSTANCE_ID_MAX {
            return Err(DecodeError::new("instance_id", "expected 1 to 64 bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The answer to `GetStatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The nonce of the question.
    pub nonce: String,
    /// The version that is running.
    pub version: Version,
    /// Random at each process start.
    pub instance_id: InstanceId,
    /// When the process started: microseconds since 1970 UTC by the machine's clock.
    pub started_at: i64,
    /// The runtime in .NET's words: `linux-x64`.
    pub runtime: String,
    /// The operating system for people: `Debian GNU/Linux 12`.
    pub os: String,
    /// The machine's own name.
    pub hostname: String,
    /// The revision of Suction Cup's contract; `None` when it was not started by Suction Cup.
    pub supervisor_contract: Option<u32>,
    /// The installed Tentacle versions, newest first.
    pub installed: Vec<InstalledVersion>,
    /// How the last Tentacle ended.
    pub last_words: Option<String>,
    /// Free bytes on the disk of the home folder.
    pub free_disk_bytes: u64,
    /// Work that has not ended yet.
    pub running_work: Vec<RunningWork>,
    /// The highest generation seen from the portal that asks; 0 when there was none.
    pub generation: u64,
    /// What is wrong, a sentence each. Empty: healthy.
    pub problems: Vec<String>,
}

/// An installed Tentacle version and the verdicts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledVersion {
    /// The version.
    pub version: Version,
    /// What the machine's disk says of it.
    pub verdicts: Verdicts,
}

/// Work that has not ended yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningWork {
    /// Its ticket.
    pub ticket: Ticket,
    /// What it is, for people.
    pub description: String,
    /// Since when: microseconds since 1970 UTC by the machine's clock.
    pub since: i64,
}

impl From<Status> for wire::Status {
    fn from(status: Status) -> Self {
        Self {
            nonce: status.nonce,
            version: status.version.to_string(),
            instance_id: status.instance_id.0,
            started_at: status.started_at,
            runtime: status.runtime,
            os: status.os,
            hostname: status.hostname,
            supervisor_contract: status.supervisor_contract,
            installed: status.installed.into_iter().map(Into::into).collect(),
            last_words: status.last_words,
            free_disk_bytes: status.free_disk_bytes,
            running_work: status.running_work.into_iter().map(Into::into).collect(),
            generation: status.generation,
            problems: status.problems,
        }
    }
}

impl TryFrom<wire::Status> for Status {
    type Error = DecodeError;

    fn try_from(status: wire::Status) -> Result<Self, Self::Error> {
        Ok(Self {
            version: decode::version("version", &status.version)?,
            instance_id: status.instance_id.parse()?,
            installed: status.installed.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            running_work: status.running_work.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            nonce: status.nonce,
            started_at: status.started_at,
            runtime: status.runtime,
            os: status.os,
            hostname: status.hostname,
            supervisor_contract: status.supervisor_contract,
            last_words: status.last_words,
            free_disk_bytes: status.free_disk_bytes,
            generation: status.generation,
            problems: status.problems,
        })
    }
}

impl From<InstalledVersion> for wire::InstalledVersion {
    fn from(installed: InstalledVersion) -> Self {
        let Verdicts { proven, rejected, withdrawn, launches } = installed.verdicts;
        let rejected = rejected.map_or(wire::Rejection::Unspecified, |kind| match kind {
            Rejection::Crashed => wire::Rejection::Crashed,
            Rejection::Unstartable => wire::Rejection::Unstartable,
            Rejection::Unconfirmed => wire::Rejection::Unconfirmed,
        });
        let version = installed.version.to_string();
        Self { version, proven, rejected: rejected.into(), withdrawn, launches }
    }
}

impl TryFrom<wire::InstalledVersion> for InstalledVersion {
    type Error = DecodeError;

    fn try_from(installed: wire::InstalledVersion) -> Result<Self, Self::Error> {
        let rejected = match installed.rejected {
            0 => None,
            number => Some(match wire::Rejection::try_from(number) {
                Ok(wire::Rejection::Unstartable) => Rejection::Unstartable,
                Ok(wire::Rejection::Unconfirmed) => Rejection::Unconfirmed,
                // A kind from the future is still a rejection, as a damaged file is.
                Ok(wire::Rejection::Crashed | wire::Rejection::Unspecified) | Err(_) => Rejection::Crashed,
            }),
        };
        let wire::InstalledVersion { proven, withdrawn, launches, .. } = installed;
        let version = decode::version("installed.version", &installed.version)?;
        Ok(Self { version, verdicts: Verdicts { proven, rejected, withdrawn, launches } })
    }
}

impl From<RunningWork> for wire::RunningWork {
    fn from(work: RunningWork) -> Self {
        Self { ticket: work.ticket.into(), description: work.description, since: work.since }
    }
}

impl TryFrom<wire::RunningWork> for RunningWork {
    type Error = DecodeError;

    fn try_from(work: wire::RunningWork) -> Result<Self, Self::Error> {
        Ok(Self { ticket: work.ticket.parse()?, description: work.description, since: work.since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let verdicts = Verdicts { proven: true, rejected: Some(Rejection::Unconfirmed), withdrawn: true, launches: 2 };
        Status {
            nonce: "n".to_owned(),
            version: "1.2.3-RC.1".parse().unwrap(),
            instance_id: "i".parse().unwrap(),
            started_at: -1,
            runtime: "linux-x64".to_owned(),
            os: "Debian".to_owned(),
            hostname: "web-1".to_owned(),
            supervisor_contract: Some(1),
            installed: vec![
                InstalledVersion { version: Version::release(2, 0, 0), verdicts },
                InstalledVersion { version: Version::release(1, 0, 0), verdicts: Verdicts::default() },
            ],
            last_words: Some("killed".to_owned()),
            free_disk_bytes: u64::MAX,
            running_work: vec![RunningWork { ticket: "t-1".parse().unwrap(), description: "d".to_owned(), since: 7 }],
            generation: 9,
            problems: vec!["the disk is full".to_owned()],
        }
    }

    #[test]
    fn a_status_survives_the_wire() {
        assert_eq!(Status::try_from(wire::Status::from(status())), Ok(status()));
    }

    #[test]
    fn a_rejection_from_the_future_is_still_a_rejection() {
        let wire = wire::InstalledVersion { version: "1.0.0".to_owned(), rejected: 99, ..Default::default() };
        assert_eq!(InstalledVersion::try_from(wire).unwrap().verdicts.rejected, Some(Rejection::Crashed));
    }

    #[test]
    fn a_status_without_a_version_is_refused_by_name() {
        let error = Status::try_from(wire::Status { version: "x".to_owned(), ..status().into() }).unwrap_err();
        assert!(error.to_string().contains("\"version\""), "{error}");
    }
}
