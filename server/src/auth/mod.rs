//! Who asks: passwords and sessions for people, API keys for scripts, and the extractors that handlers use.

mod api_key;
mod extract;
mod guard;
mod limit;
pub mod may;
mod password;
mod random;
mod registration_key;
pub mod rules;
mod session;
mod setup;
mod trail;

pub use api_key::{ApiKeyError, api_key_create};
pub use extract::{ApiUser, PageUser, Peer, safe_next};
pub use guard::{guard, operates};
pub use limit::LoginLimiter;
pub use password::{PASSWORD_MIN, PasswordError, password_is, password_set};
pub use registration_key::{Bearer, Grant, KEY_LIFE_MAX, KEY_MACHINES_MAX, registration_key_create};
pub use session::{
    LoginError, Sessions, login, logout, password_change, session_ended, session_layer, sessions_end_all, space_choose,
};
pub use setup::{SETUP_LINK_LIFE, SetupError, setup_link_create, setup_link_redeem, setup_link_user};

use crate::ids::{ApiKeyId, SpaceId, UserId};
use crate::model::{Role, Scope, User};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user: UserId,
    /// Their name.
    pub username: String,
    /// What they may do.
    pub role: Role,
    /// How they proved it.
    pub via: Via,
    /// The space that pages show them. The REST API takes that of the address.
    pub space: SpaceId,
}

impl Principal {
    /// A user who logged in and looks at a space.
    pub fn logged_in(user: User, space: SpaceId) -> Self {
        let User { id, username, role, .. } = user;
        Self { user: id, username, role, via: Via::Session, space }
    }
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
