//! The trail of what changed: who did it, when, from where, and what it was before and after.

use serde_json::{Map, Value};

use crate::clock::Timestamp;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$of])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the database and in addresses.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads the word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.word() == word)
            }
        }
    };
}

words! {
    /// What a row of the trail is about.
    AuditKind {
        /// An environment, with its windows and whether it is upgraded by itself.
        Environment = "Environment",
        /// A machine.
        Machine = "Machine",
        /// A rollout.
        Rollout = "Rollout",
        /// A task.
        Task = "Task",
        /// A package.
        Package = "Package",
        /// A freeze.
        Freeze = "Freeze",
        /// A user, with what they may do.
        User = "User",
        /// An API key.
        ApiKey = "ApiKey",
        /// A key by which machines register themselves.
        RegistrationKey = "RegistrationKey",
        /// A space.
        Space = "Space",
        /// What holds for the whole portal: deadlines, and what is kept.
        Setting = "Setting",
        /// Logging in and out.
        Session = "Session",
    }
}

impl AuditKind {
    /// The word for people.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Machine => "machine",
            Self::Rollout => "rollout",
            Self::Task => "task",
            Self::Package => "package",
            Self::Freeze => "freeze",
            Self::User => "user",
            Self::ApiKey => "API key",
            Self::RegistrationKey => "registration key",
            Self::Space => "space",
            Self::Setting => "setting",
            Self::Session => "session",
        }
    }
}

words! {
    /// What became of it, in the words of the REST API's events.
    AuditCategory {
        /// It is there now.
        Created = "Created",
        /// It is otherwise now.
        Modified = "Modified",
        /// It is gone.
        Deleted = "Deleted",
        /// It is to be done.
        Queued = "Queued",
        /// It is not to be done any more.
        Canceled = "Canceled",
        /// Somebody logged in.
        LoginSucceeded = "LoginSucceeded",
        /// Somebody could not log in.
        LoginFailed = "LoginFailed",
        /// Somebody ended a session.
        LoggedOut = "LoggedOut",
    }
}

words! {
    /// How somebody asked for it.
    AuditVia {
        /// By a page.
        Page = "page",
        /// With an API key.
        Key = "key",
        /// With the program on the portal's own machine.
        Console = "console",
        /// Nobody asked: the portal did it by itself.
        Portal = "portal",
        /// It was written before this was kept.
        Unknown = "unknown",
    }
}

/// From where something was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Whence {
    /// How.
    pub via: AuditVia,
    /// The address that asked; empty where none did.
    pub peer: String,
    /// What the API key is for; empty without one.
    pub api_key: String,
}

/// The fields that differ, before and after. What was made has no before, and what is gone no after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What they were.
    pub before: Map<String, Value>,
    /// What they are.
    pub after: Map<String, Value>,
}

impl Changes {
    /// What differs between two states of a thing, each an object or nothing.
    pub fn between(before: Value, after: Value) -> Self {
        let fields = |value| if let Value::Object(fields) = value { fields } else { Map::new() };
        let (mut before, mut after) = (fields(before), fields(after));
        let same: Vec<String> =
            before.iter().filter(|(name, old)| after.get(*name) == Some(*old)).map(|(name, _)| name.clone()).collect();
        for name in same {
            before.remove(&name);
            after.remove(&name);
        }
        Self { before, after }
    }

    /// True where nothing differs.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

/// What a row of the trail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// From where.
    pub whence: Whence,
    /// About what.
    pub kind: AuditKind,
    /// What became of it.
    pub category: AuditCategory,
    /// The word of the deed.
    pub what: String,
    /// The rest of a sentence that begins with who.
    pub line: String,
    /// The ids of what it is about.
    pub documents: Vec<String>,
    /// Before and after.
    pub changes: Changes,
}

/// A row of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Its number; later ones are higher.
    pub id: i64,
    /// What it says.
    pub entry: AuditEntry,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_kept() {
        let changes = Changes::between(json!({"A": 1, "B": [1], "C": null}), json!({"A": 1, "B": [2], "D": "x"}));
        assert_eq!(Value::from(changes.before.clone()), json!({"B": [1], "C": null}));
        assert_eq!(Value::from(changes.after.clone()), json!({"B": [2], "D": "x"}));
        assert!(Changes::between(json!({"A": 1}), json!({"A": 1})).is_empty());
        let made = Changes::between(Value::Null, json!({"A": 1}));
        assert_eq!((made.before.len(), made.after.len()), (0, 1));
    }

    #[test]
    fn every_word_is_read_again() {
        assert!(AuditKind::ALL.iter().all(|kind| AuditKind::from_word(kind.word()) == Some(*kind)));
        assert!(AuditCategory::ALL.iter().all(|category| AuditCategory::from_word(category.word()) == Some(*category)));
        assert!(AuditVia::ALL.iter().all(|via| AuditVia::from_word(via.word()) == Some(*via)));
        assert_eq!(AuditKind::from_word("nonsense"), None);
    }
}
