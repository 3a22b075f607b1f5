//! The loop that tells machines which identities of this portal to trust. It takes no input: it is woken by a poke or a
//! tick, looks at the identities and at what each machine took, and tells those that are behind.

use std::time::Duration;

use futures_util::StreamExt as _;
use octopus_proto::TrustChange;
use tokio_util::sync::CancellationToken;

use super::{Stage, change, own};
use crate::app::App;
use crate::audit::{Deed, PORTAL};
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::trust::{MachineTrust, machine_trust_list, machine_trust_put};
use crate::ids::SpaceId;
use crate::live::Change;
use crate::model::{AuditCategory, AuditKind};

/// Machines that are told at once. The others wait.
const AT_ONCE: usize = 16;

/// How long a machine that did not take it is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How often the loop looks while a change is under way, and while none is: then only what was abandoned is left to say.
const TICK_BUSY: Duration = Duration::from_secs(2);
const TICK_IDLE: Duration = Duration::from_secs(60);

/// Tells machines until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let told = tokio::select! {
            () = stop.cancelled() => break,
            told = tell(&app) => told,
        };
        let tick = match told {
            Ok(Stage::Settled) => TICK_IDLE,
            Ok(Stage::Readied | Stage::Kept) => TICK_BUSY,
            Err(error) => {
                tracing::error!(error = crate::error::chain(&error), "machines could not be told of the identity");
                TICK_BUSY
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = app.live.rotation_poked() => {}
            () = tokio::time::sleep(tick) => {}
        }
    }
}

/// Tells every machine that is behind, once. Says how far the change is then.
pub async fn tell(app: &App) -> Result<Stage, DbError> {
    let set = app.identities.set();
    let all = machine_trust_list(&mut *app.db.read().await?).await?;
    let (mut behind, now) = (0, app.now());
    let mut due = Vec::new();
    for machine in all {
        let Some(change) = change(&set, &machine.trusted) else { continue };
        behind += 1;
        let rests =
            |(at, reason): &(Timestamp, String)| !reason.is_empty() && *at <= now && now.since(*at) < AGAIN_AFTER;
        if !machine.tried.as_ref().is_some_and(rests) {
            due.push((machine, change));
        }
    }
    let tell = |(machine, change): (MachineTrust, TrustChange)| {
        let own = own(&set);
        async move {
            let outcome = app.tentacles.trust(&machine.target, change).await;
            let is_taken = outcome.is_ok();
            let (trusted, reason) = match outcome {
                Ok(()) => (own, String::new()),
                Err(error) => (machine.trusted, error.to_string()),
            };
            let told = MachineTrust { trusted, tried: Some((app.now(), reason)), ..machine };
            // One by one: a kill forgets no more than what is under way, and the page shows each at once.
            let mut tx = app.db.write().await?;
            machine_trust_put(&mut tx, &told).await?;
            tx.commit().await?;
            app.live.tell(Change::Portal);
            Ok::<bool, DbError>(is_taken)
        }
    };
    let mut taken = 0;
    let mut telling = futures_util::stream::iter(due).map(tell).buffer_unordered(AT_ONCE);
    let mut failed = None;
    while let Some(told) = telling.next().await {
        match told {
            Ok(is_taken) => taken += usize::from(is_taken),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    drop(telling);
    if let Some(error) = failed {
        return Err(error);
    }
    let stage = Stage::of(&set);
    if stage == Stage::Kept && behind == taken {
        return forget(app).await;
    }
    Ok(stage)
}

/// Gives the former identity up, where nobody is behind any more.
async fn forget(app: &App) -> Result<Stage, DbError> {
    let mut tx = app.db.write().await?;
    let set = app.identities.set();
    let all = machine_trust_list(&mut tx).await?;
    if all.iter().any(|machine| change(&set, &machine.trusted).is_some()) {
        return Ok(Stage::of(&set));
    }
    match app.identities.forget() {
        Ok(former) => {
            let line = format!("gave the former identity {former} up: no machine trusts it any more");
            let deed =
                Deed::new(AuditKind::Setting, AuditCategory::Modified, "ForgetIdentity", line.clone()).by(PORTAL);
            deed.write(&mut tx, SpaceId::DEFAULT, app.now()).await?;
            tx.commit().await?;
            tracing::info!(line, "the portal's identity");
            app.live.tell(Change::Portal);
        }
        Err(error) => tracing::error!(error = crate::error::chain(&error), "the former identity is kept"),
    }
    Ok(Stage::of(&app.identities.set()))
}
