//! Makes the running version proven: on the word of a portal that has seen this very process well, or on its own.

use std::io;
use std::sync::Arc;

use octopus_proto::{Confirm, Refusal, RefusalKind};

use crate::agent::Agent;
use crate::config::Prove;
use crate::status;

/// The portal's word. Refused unless it is about this very process. Blocks on the disk.
pub(crate) fn confirm(agent: &Agent, confirm: &Confirm) -> Result<(), Refusal> {
    if confirm.instance_id != agent.instance_id || confirm.version != agent.version {
        let sentence = format!(
            "this is {} of version {}, not {} of version {}",
            agent.instance_id, agent.version, confirm.instance_id, confirm.version
        );
        return Err(Refusal::new(RefusalKind::OtherInstance, sentence));
    }
    prove(agent).map_err(|error| {
        let sentence = format!("could not write that version {} is proven: {error}", agent.version);
        Refusal::new(RefusalKind::Internal, sentence)
    })
}

fn prove(agent: &Agent) -> io::Result<()> {
    package::set_mark(&agent.home.proven(&agent.version))?;
    tracing::info!(version = %agent.version, "this version is proven");
    // Now older versions may be of no more use.
    match package::retain_tentacles(&agent.home, &agent.version) {
        Ok(deleted) => deleted.iter().for_each(|version| tracing::info!(%version, "deleted an old version")),
        Err(error) => tracing::warn!(%error, "could not delete old versions"),
    }
    Ok(())
}

/// Proves this version after a while of good health, where the settings say so or no portal is there to do it.
pub(crate) async fn prove_self(agent: Arc<Agent>) {
    loop {
        // Not well at the end of the while, or a portal is in charge: look again after another while.
        tokio::time::sleep(agent.environment.self_prove).await;
        let agent = Arc::clone(&agent);
        let proven = tokio::task::spawn_blocking(move || {
            let settings = agent.trust.settings();
            let in_charge = settings.prove == Prove::Own || settings.trusted.is_empty();
            in_charge && status::problems(&agent).is_empty() && prove(&agent).is_ok()
        });
        if proven.await.unwrap_or(false) {
            return;
        }
    }
}
