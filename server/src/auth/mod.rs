//! Who asks: passwords and sessions for people, API keys for scripts, and the extractors that handlers use.

mod api_key;
mod extract;
mod limit;
mod password;
mod random;
mod session;
mod setup;

pub use api_key::{ApiKeyError, api_key_create};
pub use extract::{ApiUser, PageUser, Peer, safe_next};
pub use limit::LoginLimiter;
pub use password::{PASSWORD_MIN, PasswordError, password_is, password_set};
pub use session::{LoginError, Sessions, login, logout, session_ended, session_layer};
pub use setup::{SETUP_LINK_LIFE, SetupError, setup_link_create, setup_link_redeem, setup_link_works};

use crate::ids::{ApiKeyId, UserId};
use crate::model::Scope;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user: UserId,
    /// Their name.
    pub username: String,
    /// How they proved it.
    pub via: Via,
}

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// They logged in.
    Session,
    /// They sent an API key.
    ApiKey {
        /// Which.
        id: ApiKeyId,
        /// What it may do.
        scope: Scope,
    },
}
