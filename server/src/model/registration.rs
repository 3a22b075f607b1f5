//! Registration keys: what lets machines make themselves known to the portal. Never a key or a hash of one.

use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, RegistrationKeyId, SpaceId, UserId};

/// A registration key, as people see it in a list: the key itself was shown once and is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationKey {
    /// Its id.
    pub id: RegistrationKeyId,
    /// Where its machines live.
    pub space: SpaceId,
    /// Who made it.
    pub user: UserId,
    /// Their name.
    pub username: String,
    /// The environments that its machines come into, of those that are still there.
    pub environments: Vec<EnvironmentId>,
    /// The roles that its machines get.
    pub roles: Vec<String>,
    /// How many machines it may add.
    pub machines_max: u32,
    /// How many it added.
    pub machines_used: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// When somebody revoked it, and who.
    pub revoked: Option<(Timestamp, String)>,
}

/// Whether a registration key lets machines in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It does.
    Works,
    /// It added as many machines as it may.
    UsedUp,
    /// Its time is over.
    Expired,
    /// Somebody revoked it.
    Revoked,
}

impl RegistrationKey {
    /// Whether it lets machines in.
    pub fn state(&self, now: Timestamp) -> KeyState {
        match self {
            Self { revoked: Some(_), .. } => KeyState::Revoked,
            Self { expires_at, .. } if *expires_at <= now => KeyState::Expired,
            Self { machines_used, machines_max, .. } if machines_used >= machines_max => KeyState::UsedUp,
            _ => KeyState::Works,
        }
    }
}

/// What became of one use of a registration key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseOutcome {
    /// A machine was added.
    Registered,
    /// The machine was there already; nothing was changed.
    Known,
    /// Nothing was added.
    Refused,
}

impl UseOutcome {
    /// The word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Known => "known",
            Self::Refused => "refused",
        }
    }

    /// Reads [`UseOutcome::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Registered, Self::Known, Self::Refused].into_iter().find(|outcome| outcome.word() == word)
    }
}

/// One use of a registration key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub peer: String,
    /// What became of it.
    pub outcome: UseOutcome,
    /// The machine, which may have been deleted since.
    pub machine: Option<MachineId>,
    /// All of it in a sentence.
    pub line: String,
}
