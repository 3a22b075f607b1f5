//! Waiting for something to become true, with a limit. Used by the harness and by tests in place of sleeping for luck.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Calls `look` until it returns a value. After `limit` it is an error that names `what`, a thing to wait for, and the
/// last complaint of `look`.
pub async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begin = Instant::now();
    let mut complaint = String::new();
    loop {
        match look().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => {}
            Err(error) => complaint = format!("; the last look said: {error:#}"),
        }
        if begin.elapsed() >= limit {
            bail!("waited {limit:?} for {what} in vain{complaint}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
