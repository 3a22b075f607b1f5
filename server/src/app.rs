//! What all handlers and loops share. Made once by `run`, or by `testing`; never changed afterwards.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use contract::Version;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::attention::Attention;
use crate::auth::LoginLimiter;
use crate::bundle::Bundle;
use crate::clock::{Clock, Timestamp};
use crate::db::Db;
use crate::identities::Identities;
use crate::live::Live;
use crate::model::Space;
use crate::monitor::Metrics;
use crate::policy::MachinePolicies;
use crate::rollout::state::Deadlines;
use crate::store::PackageStore;
use crate::tentacle::Tentacles;

/// The running portal. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<AppInner>);

/// What [`App`] leads to.
pub struct AppInner {
    /// The database.
    pub db: Db,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where news is told.
    pub live: Live,
    /// The portal's keys and certificates: what Tentacles pin.
    pub identities: Arc<Identities>,
    /// The folder of everything that this portal is.
    pub data_dir: PathBuf,
    /// The bytes of packages.
    pub store: PackageStore,
    /// The Tentacle packages that this portal offers.
    pub bundle: Bundle,
    /// The machines' Tentacles. For the background loops and discovery only, never for a handler.
    pub tentacles: Arc<dyn Tentacles>,
    /// What anybody may know.
    pub public_info: PublicInfo,
    /// How people reach the portal.
    pub access: Access,
    /// How much needs a person.
    pub attention: Attention,
    /// What monitors ask.
    pub metrics: Metrics,
    /// How often somebody tried to log in.
    pub logins: LoginLimiter,
    /// The deadlines of a rollout's phases as they were configured. Ask [`App::deadlines`] which hold.
    pub rollout: Deadlines,
    /// How often each machine is asked how it is, as it was configured. Ask [`App::health_interval`] what holds.
    pub health_interval: Duration,
    /// What people set of these, by space.
    pub policy: RwLock<MachinePolicies>,
    /// The spaces, as every page names them.
    pub spaces: RwLock<Vec<Space>>,
    /// Cancelled when the portal ends: loops and open streams end then.
    pub shutdown: CancellationToken,
}

/// What anybody may know of the portal without logging in.
#[derive(Clone, Debug)]
pub struct PublicInfo {
    /// Made at the first start.
    pub installation_id: Uuid,
    /// The version of this program.
    pub version: Version,
}

/// How people reach the portal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    /// The portal speaks HTTPS itself.
    pub tls: bool,
    /// A proxy stands in front: it speaks HTTPS, and its `X-Forwarded-For` is believed.
    pub behind_proxy: bool,
}

impl Access {
    /// True where people's browsers use HTTPS.
    pub fn is_secure(self) -> bool {
        self.tls || self.behind_proxy
    }
}

impl App {
    /// Wraps the shared state.
    pub fn new(inner: AppInner) -> Self {
        Self(Arc::new(inner))
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Deref for App {
    type Target = AppInner;

    fn deref(&self) -> &AppInner {
        &self.0
    }
}
