//! Users: the people who log in, and the API keys of their scripts. Never a password, a key or a hash of one.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, EnvironmentId, UserId};

/// A person who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// The name they log in with, unique without regard to case.
    pub username: String,
    /// False until a password was chosen by the setup link.
    pub has_password: bool,
    /// What they may do.
    pub role: Role,
    /// They can neither log in nor use an API key.
    pub is_disabled: bool,
    /// When they were added.
    pub created_at: Timestamp,
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look at everything.
    Viewer,
    /// Look at everything, and work with the machines of some environments.
    Operator(Reach),
    /// Everything.
    Administrator,
}

/// Where an operator works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In every environment, those that come later too.
    Everywhere,
    /// In these alone.
    Only(BTreeSet<EnvironmentId>),
}

impl Role {
    /// The word of it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator(_) => "operator",
            Self::Administrator => "administrator",
        }
    }
}

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything its user may do.
    Full,
    /// Add machines, and read what that takes.
    Register,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::Full, Self::Register];

    /// The word on the command line and in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Register => "register",
        }
    }

    /// Reads [`Scope::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }
}

/// An API key, as its owner sees it in a list: the key itself was shown once and is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose key it is.
    pub user: UserId,
    /// What it is for, in its owner's words.
    pub purpose: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked; `None` where nobody did.
    pub revoked_at: Option<Timestamp>,
    /// From when on it works no more; `None` where it works until it is revoked.
    pub expires_at: Option<Timestamp>,
}

impl ApiKey {
    /// True while it opens anything.
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// What somebody wishes an API key to be.
#[derive(Clone, Copy, Debug)]
pub struct KeyWish<'a> {
    /// What it is for, in its owner's words.
    pub purpose: &'a str,
    /// What it may do.
    pub scope: Scope,
    /// From when on it works no more; `None` where it works until it is revoked.
    pub expires_at: Option<Timestamp>,
}
