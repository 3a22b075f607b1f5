//! Machine policies. There is one for all machines of a space: what people set under *Machine policy*. It is read and
//! written here in the shape of the reference; what that shape can say and this portal cannot do is refused.

use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bind::{Asked, Body, Id, Query, Space};
use super::machine_resource::policy_id;
use super::not_built;
use super::page::{List, Page};
use crate::app::App;
use crate::auth::ApiUser;
use crate::error::{ApiError, sentence};
use crate::ids::SpaceId;
use crate::policy::{Knob, MachinePolicy, machine_policy_save};

const NAME: &str = "Default Machine Policy";

pub(super) const LIST: List<'_> =
    List { has_all: true, ..List::of("MachinePolicy", "/machinepolicies", &["ids", "partialName"]) };

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/machinepolicies", get(list))
        .route("/machinepolicies/all", get(all))
        .route("/machinepolicies/{id}", get(one).put(update))
}

/// A length of time as .NET writes it: `[days.]hours:minutes:seconds`.
fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60);
    if days == 0 { clock } else { format!("{days}.{clock}") }
}

fn read_span(name: &str, text: &str) -> Result<Duration, ApiError> {
    let wrong = || super::bad(format!("{name} is no time span like 00:05:00 or 1.00:00:00: \"{text}\""));
    let (days, clock) = match text.trim().split_once('.') {
        Some((days, clock)) if !days.contains(':') => (days.parse::<u32>().map_err(|_| wrong())?, clock),
        _ => (0, text.trim()),
    };
    let parts = clock.split(':').map(|part| part.parse::<u32>().map_err(|_| wrong()));
    match parts.collect::<Result<Vec<_>, _>>()?[..] {
        [hours @ 0..24, minutes @ 0..60, seconds @ 0..60] => {
            let days = u64::from(days) * 86_400;
            Ok(Duration::from_secs(days + u64::from(hours * 3600 + minutes * 60 + seconds)))
        }
        _ => Err(wrong()),
    }
}

/// The name of a deadline on the wire.
fn name(knob: Knob) -> &'static str {
    match knob {
        Knob::HealthInterval => "HealthCheckInterval",
        Knob::Checking => "Checking",
        Knob::Uploading => "Uploading",
        Knob::Installing => "Installing",
        Knob::Restarting => "Restarting",
        Knob::Proving => "Proving",
        Knob::ProvingTime => "ProvingTime",
        Knob::Drain => "Drain",
        Knob::Soak => "Soak",
    }
}

/// What holds now in a space of one of the things that can be set.
fn holds(app: &App, space: SpaceId, knob: Knob) -> Duration {
    app.machine_policy(space).get(knob).unwrap_or_else(|| knob.configured(app))
}

fn resource(app: &App, space: SpaceId) -> Value {
    let script = json!({ "RunType": "InheritFromDefault", "ScriptBody": null });
    let others = Knob::ALL.into_iter().filter(|knob| *knob != Knob::HealthInterval);
    let deadlines: Map<String, Value> =
        others.map(|knob| (name(knob).to_owned(), json!(span(holds(app, space, knob))))).collect();
    json!({
        "Id": policy_id(space),
        "SpaceId": space,
        "Name": NAME,
        "Description": "What holds for every machine of this space.",
        "IsDefault": true,
        "MachineHealthCheckPolicy": {
            "HealthCheckType": "OnlyConnectivity",
            "HealthCheckInterval": span(holds(app, space, Knob::HealthInterval)),
            "HealthCheckCron": null,
            "HealthCheckCronTimezone": null,
            "PowerShellHealthCheckPolicy": script,
            "BashHealthCheckPolicy": script,
        },
        "MachineConnectivityPolicy": { "MachineConnectivityBehavior": "ExpectedToBeOnline" },
        "MachineCleanupPolicy": { "DeleteMachinesBehavior": "DoNotDelete", "DeleteMachinesElapsedTimeSpan": "00:00:00" },
        "MachineUpdatePolicy": {
            "CalamariUpdateBehavior": "UpdateOnDeployment",
            "TentacleUpdateBehavior": "NeverUpdate",
            "KubernetesAgentUpdateBehavior": "NeverUpdate",
            "TentacleUpdateAccountId": null,
        },
        "UpgradeDeadlines": deadlines,
        "Links": { "Self": format!("{}/machinepolicies/{}", super::base(space), policy_id(space)) },
    })
}

fn found(app: &App, space: SpaceId, query: &Query) -> Result<Vec<Value>, ApiError> {
    let ids: Vec<String> = query.list("ids")?;
    let is_named = ids.is_empty() || ids.iter().any(|id| id.eq_ignore_ascii_case(&policy_id(space)));
    let part = query.text("partialName").map(str::to_lowercase);
    let is_meant = part.is_none_or(|part| NAME.to_lowercase().contains(&part));
    Ok((is_named && is_meant).then(|| resource(app, space)).into_iter().collect())
}

async fn list(Asked { app, space, query }: Asked) -> Result<Json<Page<Value>>, ApiError> {
    Ok(Json(LIST.cut(&super::base(space), found(&app, space, &query)?, &query)?))
}

async fn all(Asked { app, space, query }: Asked) -> Result<Json<Vec<Value>>, ApiError> {
    found(&app, space, &query).map(Json)
}

/// Refuses every id but the one that a space has.
pub(super) fn is_known(space: SpaceId, id: &str) -> Result<(), ApiError> {
    let is_it = id.eq_ignore_ascii_case(&policy_id(space));
    is_it
        .then_some(())
        .ok_or_else(|| ApiError::not_found(format!("The machine policy {}", id.chars().take(50).collect::<String>())))
}

async fn one(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<String>,
) -> Result<Json<Value>, ApiError> {
    is_known(space, &id)?;
    Ok(Json(resource(&app, space)))
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthBody {
    /// A time span: `00:01:30`.
    health_check_interval: Option<String>,
    /// Cron lines are not built.
    health_check_cron: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConnectivityBody {
    machine_connectivity_behavior: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CleanupBody {
    delete_machines_behavior: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateBody {
    tentacle_update_behavior: Option<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeadlinesBody {
    checking: Option<String>,
    uploading: Option<String>,
    installing: Option<String>,
    restarting: Option<String>,
    proving: Option<String>,
    proving_time: Option<String>,
    drain: Option<String>,
    soak: Option<String>,
}

/// What a client says of the policy. What is left out stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyBody {
    /// It keeps its name.
    name: Option<String>,
    /// How often machines are asked.
    machine_health_check_policy: Option<HealthBody>,
    /// `ExpectedToBeOnline` is the one there is.
    machine_connectivity_policy: Option<ConnectivityBody>,
    /// `DoNotDelete` is the one there is.
    machine_cleanup_policy: Option<CleanupBody>,
    /// `NeverUpdate` is the one there is: see `AutomaticUpgrade` of an environment.
    machine_update_policy: Option<UpdateBody>,
    /// How long each step of an upgrade may take.
    upgrade_deadlines: Option<DeadlinesBody>,
}

impl PolicyBody {
    /// Refuses what this portal would not do.
    fn check(&self) -> Result<(), ApiError> {
        let other = |said: Option<&String>, done: &str| said.is_some_and(|said| !said.eq_ignore_ascii_case(done));
        if other(self.name.as_ref(), NAME) {
            return Err(ApiError::bad_request("The one machine policy keeps its name."));
        }
        let health = self.machine_health_check_policy.as_ref();
        if health.and_then(|health| health.health_check_cron.as_ref()).is_some_and(|cron| !cron.is_empty()) {
            return Err(not_built("Health checks by a cron line are not built. Set HealthCheckInterval."));
        }
        let connectivity = self.machine_connectivity_policy.as_ref();
        if other(connectivity.and_then(|body| body.machine_connectivity_behavior.as_ref()), "ExpectedToBeOnline") {
            return Err(not_built(
                "Machines that may be offline are not told apart. An upgrade waits for those that are.",
            ));
        }
        let cleanup = self.machine_cleanup_policy.as_ref();
        if other(cleanup.and_then(|body| body.delete_machines_behavior.as_ref()), "DoNotDelete") {
            return Err(not_built("Machines are never deleted by themselves."));
        }
        let update = self.machine_update_policy.as_ref();
        if other(update.and_then(|body| body.tentacle_update_behavior.as_ref()), "NeverUpdate") {
            let how = "Upgrades that nobody asks for are not a matter of the machine policy here: set AutomaticUpgrade of an \
                       environment.";
            return Err(not_built(how));
        }
        Ok(())
    }

    fn said(&self) -> Vec<(Knob, &str)> {
        let health = self.machine_health_check_policy.as_ref().and_then(|body| body.health_check_interval.as_deref());
        let mut said = vec![(Knob::HealthInterval, health)];
        if let Some(deadlines) = &self.upgrade_deadlines {
            said.extend([
                (Knob::Checking, deadlines.checking.as_deref()),
                (Knob::Uploading, deadlines.uploading.as_deref()),
                (Knob::Installing, deadlines.installing.as_deref()),
                (Knob::Restarting, deadlines.restarting.as_deref()),
                (Knob::Proving, deadlines.proving.as_deref()),
                (Knob::ProvingTime, deadlines.proving_time.as_deref()),
                (Knob::Drain, deadlines.drain.as_deref()),
                (Knob::Soak, deadlines.soak.as_deref()),
            ]);
        }
        said.into_iter().filter_map(|(knob, text)| Some((knob, text?))).collect()
    }
}

async fn update(
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<String>,
    Body(body): Body<PolicyBody>,
) -> Result<Json<Value>, ApiError> {
    is_known(space, &id)?;
    body.check()?;
    let before = app.machine_policy(space);
    let mut set: Vec<(Knob, Duration)> =
        Knob::ALL.into_iter().filter_map(|knob| Some((knob, before.get(knob)?))).collect();
    for (knob, text) in body.said() {
        let wish = read_span(name(knob), text)?;
        // Who sends back what they were sent does not take it out of the portal's configuration.
        if wish != holds(&app, space, knob) {
            set.retain(|(other, _)| *other != knob);
            set.push((knob, wish));
        }
    }
    let policy = MachinePolicy::new(set);
    if let Some(problem) = policy.problem(app.rollout) {
        return Err(ApiError::bad_request(sentence(&problem)));
    }
    machine_policy_save(&app, space, policy).await?;
    Ok(Json(resource(&app, space)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_what_they_write() {
        for (seconds, text) in [(0, "00:00:00"), (65, "00:01:05"), (86_399, "23:59:59"), (90_061, "1.01:01:01")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
            assert_eq!(read_span("x", text).ok(), Some(Duration::from_secs(seconds)));
        }
        for text in
            ["", "5", "00:05", "24:00:00", "00:60:00", "-1.00:00:00", "a:b:c", "00:00:00.5", "99999999999.00:00:00"]
        {
            assert!(read_span("x", text).is_err(), "{text}");
        }
    }
}
