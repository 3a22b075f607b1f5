//! The trail: every change of state is a row that says who, what, when, from where, before and after. This is the one place
//! that writes it, called where the change is made and in the same transaction, so that there is neither without the other.
//!
//! Who asks and from where is known of every request: `auth::guard` runs its handler within an [`Origin`]. What is
//! written outside of any request is what the portal does by itself. Never a password, a key, a token or a hash of one.

mod snapshot;

use std::net::IpAddr;

use serde_json::Value;

pub use self::snapshot::{
    environment_state, freeze_state, hold_state, machine_state, package_state, rollout_state, space_state, user_state,
};
use crate::clock::Timestamp;
use crate::db::audit::{api_key_purpose, audit_insert};
use crate::db::{Connection, DbError};
use crate::ids::{ApiKeyId, RegistrationKeyId, SpaceId};
use crate::model::{AuditCategory, AuditEntry, AuditKind, AuditVia, Changes, Whence};

/// Who does what nobody asks for.
pub const PORTAL: &str = "the portal";

/// Who uses the program on the portal's own machine.
pub const CONSOLE: &str = "somebody at the console";

/// Longest sentence that is kept, in characters. The rest is cut off.
const LINE_MAX: usize = 2_000;

/// From where something is asked for.
#[derive(Clone, Debug)]
enum Place {
    Request(Origin),
    Console,
}

/// From where a request came, and who made it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The name of who asks; `None` for who has not said.
    pub who: Option<String>,
    /// Their address.
    pub peer: IpAddr,
    /// The key they used; `None` for a session.
    pub key: Option<UsedKey>,
}

/// The key with which something was asked for.
#[derive(Clone, Copy, Debug)]
pub enum UsedKey {
    /// An API key.
    Api(ApiKeyId),
    /// A registration key.
    Registration(RegistrationKeyId),
}

tokio::task_local! {
    static PLACE: Place;
}

/// Runs `work` as what somebody asked for. What it spawns is not within.
pub async fn within<F: Future>(origin: Origin, work: F) -> F::Output {
    PLACE.scope(Place::Request(origin), work).await
}

/// Runs `work` as what somebody asked for with the program on the portal's own machine.
pub async fn at_console<F: Future>(work: F) -> F::Output {
    PLACE.scope(Place::Console, work).await
}

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Deed {
    entry: AuditEntry,
}

impl Deed {
    /// Something that was done: `what` is the word of it, `line` the rest of a sentence that begins with who did it.
    pub fn new(kind: AuditKind, category: AuditCategory, what: impl Into<String>, line: impl Into<String>) -> Self {
        let entry = AuditEntry {
            at: Timestamp(0),
            who: String::new(),
            whence: Whence { via: AuditVia::Portal, peer: String::new(), api_key: String::new() },
            kind,
            category,
            what: what.into(),
            line: line.into().chars().take(LINE_MAX).collect(),
            documents: Vec::new(),
            changes: Changes::default(),
        };
        Self { entry }
    }

    /// By somebody whose name is known here. Otherwise it was who made the request, or the portal.
    pub fn by(mut self, who: &str) -> Self {
        who.clone_into(&mut self.entry.who);
        self
    }

    /// About the thing of an id.
    pub fn on(mut self, id: impl ToString) -> Self {
        self.entry.documents.push(id.to_string());
        self
    }

    /// About several.
    pub fn on_all<I: ToString>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.entry.documents.extend(ids.into_iter().map(|id| id.to_string()));
        self
    }

    /// With what it was before and after, each an object of fields or nothing.
    pub fn changed(mut self, before: Value, after: Value) -> Self {
        self.entry.changes = Changes::between(before, after);
        self
    }

    /// True where nothing differs between before and after.
    pub fn changes_nothing(&self) -> bool {
        self.entry.changes.is_empty()
    }

    /// Writes it down, in the transaction of the change.
    pub async fn write(mut self, conn: &mut Connection, space: SpaceId, at: Timestamp) -> Result<(), DbError> {
        let place = PLACE.try_with(Place::clone).ok();
        self.entry.at = at;
        if self.entry.who.is_empty() {
            self.entry.who = match &place {
                Some(Place::Request(Origin { who: Some(who), .. })) => who.clone(),
                Some(Place::Console) => CONSOLE.to_owned(),
                Some(Place::Request(_)) | None => PORTAL.to_owned(),
            };
        }
        self.entry.whence = match place {
            Some(Place::Request(Origin { peer, key, .. })) => {
                let (via, api_key) = match key {
                    Some(UsedKey::Api(id)) => (AuditVia::Key, api_key_purpose(conn, id).await?),
                    Some(UsedKey::Registration(id)) => (AuditVia::Key, id.to_string()),
                    None => (AuditVia::Page, String::new()),
                };
                Whence { via, peer: peer.to_canonical().to_string(), api_key }
            }
            Some(Place::Console) => Whence { via: AuditVia::Console, ..self.entry.whence },
            None => self.entry.whence,
        };
        audit_insert(conn, space, &self.entry).await?;
        Ok(())
    }
}

/// The end of a sentence that says why; nothing where nobody said.
pub fn because(why: &str) -> String {
    let why = why.trim();
    if why.is_empty() { String::new() } else { format!(": {why}") }
}
