//! Which certificate is shown at an address: asked when a person adds a machine and before anything is trusted.
//!
//! The one place where a handler may wait for a machine, because a person waits for the answer and nothing is changed.

use std::time::Duration;

use contract::Thumbprint;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::model::Address;

/// How long a discovery may take, its wait for a place included. Then it fails with a sentence that says so.
pub const DISCOVERY_MAX: Duration = Duration::from_secs(10);

/// Discoveries at once, so that nobody uses the portal to scan a network. More wait for a place.
const AT_ONCE_MAX: usize = 4;

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// What was met at the address.
    #[error("{0}")]
    Met(String),
    /// Nobody answered in time.
    #[error("{0} did not answer within {seconds} s", seconds = DISCOVERY_MAX.as_secs())]
    TimedOut(Address),
}

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

/// The thumbprint of the certificate that is shown at `address`. Nothing is trusted and nothing is changed.
pub async fn discover(app: &App, address: &Address) -> Result<Thumbprint, DiscoveryError> {
    let ask = async {
        // The semaphore is never closed; without a place, the question is asked all the same.
        let _place = PLACES.acquire().await.ok();
        app.tentacles.discover(address).await
    };
    match tokio::time::timeout(DISCOVERY_MAX, ask).await {
        Ok(found) => found.map_err(|error| DiscoveryError::Met(error.to_string())),
        Err(_) => Err(DiscoveryError::TimedOut(address.clone())),
    }
}
