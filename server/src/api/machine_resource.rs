//! A machine as it stands on the wire.

use serde_json::{Value, json};

use super::fleet::Seen;
use crate::clock::Timestamp;
use crate::error::sentence;
use crate::ids::SpaceId;
use crate::model::Address;

/// The one way in which this portal speaks to machines: it calls them.
pub(super) const COMMUNICATION_STYLE: &str = "TentaclePassive";

/// The id of the one policy of a space.
pub(super) fn policy_id(space: SpaceId) -> String {
    format!("MachinePolicies-{}", space.0)
}

/// A machine and what is known of it at `now`.
pub(super) fn resource(seen: &Seen, now: Timestamp) -> Value {
    let machine = &seen.machine;
    let report = seen.facts.as_ref().and_then(|facts| facts.report.as_ref());
    let link = format!("{}/machines/{}", super::base(machine.space), machine.id);
    json!({
        "Id": machine.id,
        "SpaceId": machine.space,
        "Name": machine.name,
        "Slug": machine.slug,
        "Uri": machine.address.uri(),
        "Thumbprint": machine.thumbprint.to_string(),
        "IsDisabled": machine.is_disabled,
        "EnvironmentIds": machine.environments,
        "Roles": machine.roles,
        "TenantIds": [],
        "TenantTags": [],
        "TenantedDeploymentParticipation": "Untenanted",
        "MachinePolicyId": policy_id(machine.space),
        "Status": seen.status(),
        "HealthStatus": seen.health_status(),
        "HasLatestCalamari": true,
        "StatusSummary": seen.summary(now),
        "Cloned": seen.facts.as_ref().and_then(|facts| facts.instances.clone_sentence()).map(|how| sentence(&how)),
        "UpgradeState": { "Code": seen.why.code(), "Message": sentence(&seen.why.to_string()) },
        "IsInProcess": seen.rollout.is_some(),
        "Endpoint": endpoint(&machine.address, machine.thumbprint, Some(seen)),
        "OperatingSystem": report.map(|report| report.os.as_str()),
        "Architecture": report.and_then(|report| architecture(&report.runtime)),
        "SkipInitialHealthCheck": false,
        "Links": {
            "Self": link,
            "Connection": format!("{link}/connection"),
            "TasksTemplate": format!("{link}/tasks{{?skip,take}}"),
        },
    })
}

/// A machine that was found at an address and is not known yet.
pub(super) fn discovered(space: SpaceId, address: &Address, thumbprint: contract::Thumbprint) -> Value {
    json!({
        "Name": address.host,
        "Uri": address.uri(),
        "Thumbprint": thumbprint.to_string(),
        "IsDisabled": false,
        "EnvironmentIds": [],
        "Roles": [],
        "MachinePolicyId": policy_id(space),
        "Status": "Unknown",
        "HealthStatus": "Unknown",
        "StatusSummary": "It was found and is not known yet. Compare the thumbprint before you add it.",
        "IsInProcess": false,
        "Endpoint": endpoint(address, thumbprint, None),
        "Links": {},
    })
}

fn endpoint(address: &Address, thumbprint: contract::Thumbprint, seen: Option<&Seen>) -> Value {
    json!({
        "CommunicationStyle": COMMUNICATION_STYLE,
        "Uri": address.uri(),
        "Thumbprint": thumbprint.to_string(),
        "ProxyId": null,
        "TentacleVersionDetails": {
            "UpgradeLocked": seen.is_some_and(|seen| seen.hold.is_some()),
            "Version": seen.and_then(Seen::reported_version).map(ToString::to_string),
            "UpgradeSuggested": seen.is_some_and(Seen::upgrade_is_suggested),
            "UpgradeRequired": false,
            "UpgradeAvailable": seen.is_some_and(Seen::can_be_upgraded),
        },
        "Links": {},
    })
}

/// `x64` of `linux-x64`.
fn architecture(runtime: &str) -> Option<&str> {
    runtime.rsplit_once('-').map(|(_, architecture)| architecture)
}
