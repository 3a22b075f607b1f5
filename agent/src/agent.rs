//! What one running Tentacle consists of.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use contract::{Home, Version};
use octopus_proto::InstanceId;
use octopus_proto::tls::Identity;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Environment, SettingsError};
use crate::generations::Generations;
use crate::sys;
use crate::trust::TrustedPortals;
use crate::upload::Uploads;
use crate::work::Works;

/// A running Tentacle.
pub(crate) struct Agent {
    pub(crate) home: Home,
    pub(crate) environment: Environment,
    /// The version that runs.
    pub(crate) version: Version,
    /// Random at each start.
    pub(crate) instance_id: InstanceId,
    /// Microseconds since 1970 UTC.
    pub(crate) started_at: i64,
    pub(crate) os: String,
    pub(crate) trust: Arc<TrustedPortals>,
    pub(crate) generations: Generations,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) works: Arc<Works>,
    /// Held while an order for an upgrade is looked at, so that the same order twice at once is accepted once.
    pub(crate) upgrading: tokio::sync::Mutex<()>,
    /// Fires when the process is to end: a version is armed, or it was told to.
    pub(crate) ending: CancellationToken,
    /// Calls that are being answered.
    pub(crate) calls: Calls,
}

/// Why a Tentacle cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The instance id could not be made.
    #[error(transparent)]
    Instance(#[from] octopus_proto::DecodeError),
}

impl Agent {
    /// Reads what earlier processes left in `home`, which must be prepared. Must be called in a runtime.
    pub(crate) fn open(
        home: Home,
        environment: Environment,
        version: Version,
        identity: &Identity,
    ) -> Result<Arc<Self>, AgentError> {
        let uploads = Arc::new(Uploads::open(home.packages()));
        let works = Works::open(home.clone(), Arc::clone(&uploads));
        Ok(Arc::new(Self {
            trust: Arc::new(TrustedPortals::open(home.config(), identity.thumbprint())?),
            generations: Generations::open(&home.work()),
            home,
            environment,
            version,
            instance_id: uuid::Uuid::new_v4().to_string().parse()?,
            started_at: now_micros(),
            os: sys::os_name(),
            uploads,
            works,
            upgrading: tokio::sync::Mutex::default(),
            ending: CancellationToken::new(),
            calls: Calls(watch::Sender::new(0)),
        }))
    }
}

/// Now by this machine's clock: microseconds since 1970 UTC.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Counts the calls that are being answered.
pub(crate) struct Calls(watch::Sender<usize>);

/// A call that is being answered.
pub(crate) struct Call<'a>(&'a Calls);

impl Calls {
    /// Counts a call until the answer is dropped.
    pub(crate) fn enter(&self) -> Call<'_> {
        self.0.send_modify(|open| *open += 1);
        Call(self)
    }

    /// Waits until no call is being answered.
    pub(crate) async fn none_open(&self) {
        // The sender lives as long as this borrow.
        let _ = self.0.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}
