//! Environments, machines, the machine policy and freezes.

use schemars::SchemaGenerator;
use serde_json::Value;

use super::operation::{Operation, delete, get, post, put};
use super::shapes::{any, flag, id, links, list, map, moment, null, number, object, or_null, said, shape, text, word};
use crate::api::bind::Reasoned;
use crate::api::environments::{EnvironmentBody, LIST as ENVIRONMENTS};
use crate::api::freezes::FreezeBody;
use crate::api::machine_policies::{LIST as POLICIES, PolicyBody};
use crate::api::machines::{Filter, MachineBody};
use crate::api::rollouts::HoldBody;
use crate::ids::EnvironmentId;
use crate::rollout::automatic::UpgradePolicy;
use crate::rollout::calendar::WindowSpec;

/// What a summary asks of environments and their machines.
const SUMMARY: [&str; 13] = [
    "ids",
    "name",
    "partialName",
    "machinePartialName",
    "roles",
    "isDisabled",
    "healthStatuses",
    "commStyles",
    "environmentIds",
    "thumbprint",
    "tenantIds",
    "tenantTags",
    "hideEmptyEnvironments",
];

pub(super) fn operations() -> Vec<Operation> {
    environments().into_iter().chain(machines()).chain(policies_and_freezes()).collect()
}

fn environments() -> Vec<Operation> {
    vec![
        get("/environments", "The environments, in their order.").asks(ENVIRONMENTS.filters).tells_page("Environment"),
        get("/environments/v2", "The same.").asks(ENVIRONMENTS.filters).tells_page("Environment"),
        get("/environments/all", "The environments, as a bare list.")
            .asks(ENVIRONMENTS.filters)
            .tells(list(shape("Environment"))),
        post("/environments", "Adds an environment.").takes::<EnvironmentBody>().makes(shape("Environment")),
        get("/environments/summary", "Counts the machines of each environment, and names those that can be upgraded.")
            .asks(&SUMMARY)
            .asks(&["deploymentId"])
            .tells(shape("Summary")),
        get("/environments/summary/v2", "The same without the list of all machines that can be upgraded.")
            .asks(&SUMMARY)
            .asks(&["deploymentId"])
            .tells(shape("Summary")),
        put("/environments/sortorder", "Puts the environments into this order. Those that are not named come after.")
            .takes::<Vec<EnvironmentId>>()
            .tells(list(shape("Environment"))),
        get("/environments/{id}", "One environment.").tells(shape("Environment")),
        put("/environments/{id}", "Changes an environment. What is left out stays.")
            .takes::<EnvironmentBody>()
            .tells(shape("Environment")),
        delete("/environments/{id}", "Deletes an environment that has no machines.").deletes(),
        get("/environments/{id}/machines", "The machines of an environment.")
            .asks(&Filter::NAMES)
            .tells_page("Machine"),
    ]
}

fn machines() -> Vec<Operation> {
    let counted = object(&[("DeploymentTargets", shape("MachinePage")), ("TargetCountPerHealthStatus", map(number()))]);
    let touched = object(&[("MachineId", id("Machines"))]);
    vec![
        get("/machines", "The machines, by name.").asks(&Filter::NAMES).tells_page("Machine"),
        get("/machines/all", "The machines, as a bare list.").asks(&Filter::NAMES).tells(list(shape("Machine"))),
        get("/machines/v2", "A page of machines, and how many of all are how.")
            .asks(&["skip", "take"])
            .asks(&Filter::NAMES)
            .tells(counted),
        post("/machines", "Adds a machine.").takes::<MachineBody>().makes(shape("Machine")),
        get(
            "/machines/discover",
            "Asks a machine for its thumbprint. A person compares it before the machine is added.",
        )
        .asks(&["host", "port", "type"])
        .tells(shape("DiscoveredMachine")),
        get("/machines/{id}", "One machine, and what is known of it.").tells(shape("Machine")),
        put("/machines/{id}", "Changes a machine. What is left out stays.")
            .takes::<MachineBody>()
            .tells(shape("Machine")),
        delete("/machines/{id}", "Forgets a machine. What is installed on it stays.").deletes(),
        get("/machines/{id}/connection", "What came of the last try to reach a machine.").tells(shape("Connection")),
        get("/machines/{id}/tasks", "The tasks that a machine had a part in.").tells_page("Task"),
        get("/machines/{id}/hold", "The hold of a machine; 404 where it is not held.").tells(shape("Hold")),
        put("/machines/{id}/hold", "Holds a machine: it is not upgraded, whoever asks, until it is let go.")
            .takes::<HoldBody>()
            .tells(shape("Hold")),
        delete("/machines/{id}/hold", "Lets a machine go.")
            .asks(&["reason"])
            .may_take::<Reasoned>()
            .tells(touched.clone()),
        delete("/machines/{id}/clone", "Says that one machine alone has the identity now that two answered with.")
            .asks(&["reason"])
            .may_take::<Reasoned>()
            .tells(touched),
        get("/machineroles/all", "Every role that a machine has.").tells(list(text())),
    ]
}

fn policies_and_freezes() -> Vec<Operation> {
    vec![
        get("/machinepolicies", "The one machine policy.").asks(POLICIES.filters).tells_page("MachinePolicy"),
        get("/machinepolicies/all", "The one machine policy.")
            .asks(POLICIES.filters)
            .tells(list(shape("MachinePolicy"))),
        get("/machinepolicies/{id}", "The one machine policy.").tells(shape("MachinePolicy")),
        put("/machinepolicies/{id}", "Changes how often machines are asked, and the deadlines of upgrades.")
            .takes::<PolicyBody>()
            .tells(shape("MachinePolicy"))
            .may(&[501]),
        get("/freezes", "Times in which nothing is begun.").tells_page("Freeze"),
        post("/freezes", "Adds a freeze. Without EnvironmentIds it is for all, and without From it begins now.")
            .takes::<FreezeBody>()
            .makes(shape("Freeze")),
        get("/freezes/{id}", "One freeze.").tells(shape("Freeze")),
        delete("/freezes/{id}", "Ends a freeze, or takes it away.").deletes(),
    ]
}

pub(super) fn shapes(generator: &mut SchemaGenerator) -> Vec<(&'static str, Value)> {
    let windows = generator.subschema_for::<WindowSpec>().to_value();
    let policy = generator.subschema_for::<UpgradePolicy>().to_value();
    let environment = object(&[
        ("Id", id("Environments")),
        ("SpaceId", id("Spaces")),
        ("Name", text()),
        ("Slug", text()),
        ("Type", word(["Static"])),
        ("Description", text()),
        ("SortOrder", number()),
        ("IsDisabled", flag()),
        ("UseGuidedFailure", flag()),
        ("AllowDynamicInfrastructure", flag()),
        ("EnvironmentTags", list(text())),
        ("MaintenanceWindows", said(list(windows), "When its machines may be begun; at any time where there is none.")),
        ("AutomaticUpgrade", policy),
        ("ExtensionSettings", list(any())),
        ("Links", links()),
    ]);
    vec![
        ("Environment", environment),
        ("EnvironmentSummary", summary(&[("Environment", shape("Environment"))])),
        ("Summary", summary(&[("EnvironmentSummaries", list(shape("EnvironmentSummary"))), ("Links", links())])),
        ("Machine", machine()),
        ("DiscoveredMachine", discovered()),
        ("Endpoint", endpoint()),
        ("Connection", connection()),
        (
            "Hold",
            object(&[
                ("MachineId", id("Machines")),
                ("Reason", text()),
                ("HeldBy", text()),
                ("HeldSince", moment()),
                ("Until", or_null(moment())),
            ]),
        ),
        ("MachinePolicy", machine_policy()),
        (
            "Freeze",
            object(&[
                ("Id", id("Freezes")),
                ("SpaceId", id("Spaces")),
                ("From", moment()),
                ("Until", moment()),
                ("Reason", text()),
                ("EnvironmentIds", said(or_null(list(id("Environments"))), "null for all.")),
                ("CreatedBy", text()),
                ("Created", moment()),
                ("Links", links()),
            ]),
        ),
    ]
}

fn summary(more: &[(&str, Value)]) -> Value {
    let mut fields = vec![
        ("TotalMachines", number()),
        ("TotalDisabledMachines", number()),
        ("MachineHealthStatusSummaries", map(number())),
        ("MachineEndpointSummaries", map(number())),
        ("DeploymentTargetSummaries", map(number())),
        ("MachineTenantSummaries", map(number())),
        ("MachineTenantTagSummaries", map(number())),
        ("TentacleUpgradesRequired", flag()),
        ("MachineIdsForTentacleUpgrade?", list(id("Machines"))),
        ("MachineIdsForCalamariUpgrade", list(id("Machines"))),
    ];
    fields.extend_from_slice(more);
    object(&fields)
}

fn statuses() -> [(&'static str, Value); 2] {
    [
        ("Status", word(["Online", "Offline", "Unknown", "NeedsUpgrade", "Disabled"])),
        ("HealthStatus", word(["Healthy", "Unhealthy", "Unavailable", "Unknown"])),
    ]
}

fn machine() -> Value {
    let [status, health] = statuses();
    object(&[
        ("Id", id("Machines")),
        ("SpaceId", id("Spaces")),
        ("Name", text()),
        ("Slug", text()),
        ("Uri", text()),
        ("Thumbprint", text()),
        ("IsDisabled", flag()),
        ("EnvironmentIds", list(id("Environments"))),
        ("Roles", list(text())),
        ("TenantIds", list(text())),
        ("TenantTags", list(text())),
        ("TenantedDeploymentParticipation", word(["Untenanted"])),
        ("MachinePolicyId", text()),
        status,
        health,
        ("HasLatestCalamari", flag()),
        ("StatusSummary", text()),
        ("Cloned", said(or_null(text()), "Where two machines answer with its identity: how that was seen.")),
        (
            "UpgradeState",
            said(object(&[("Code", text()), ("Message", text())]), "Why it is not upgraded, as a word and a sentence."),
        ),
        ("IsInProcess", said(flag(), "A rollout has it in flight.")),
        ("Endpoint", shape("Endpoint")),
        ("OperatingSystem", or_null(text())),
        ("Architecture", or_null(text())),
        ("SkipInitialHealthCheck", flag()),
        ("Links", links()),
    ])
}

fn discovered() -> Value {
    let [status, health] = statuses();
    object(&[
        ("Name", text()),
        ("Uri", text()),
        ("Thumbprint", text()),
        ("IsDisabled", flag()),
        ("EnvironmentIds", list(id("Environments"))),
        ("Roles", list(text())),
        ("MachinePolicyId", text()),
        status,
        health,
        ("StatusSummary", text()),
        ("IsInProcess", flag()),
        ("Endpoint", shape("Endpoint")),
        ("Links", links()),
    ])
}

fn endpoint() -> Value {
    let version = object(&[
        ("UpgradeLocked", said(flag(), "It is held.")),
        ("Version", said(or_null(text()), "What it last reported.")),
        ("UpgradeSuggested", said(flag(), "Nothing but its being asked for, or reached, is missing.")),
        ("UpgradeRequired", flag()),
        ("UpgradeAvailable", said(flag(), "A newer version is there for it.")),
    ]);
    object(&[
        ("CommunicationStyle", word(["TentaclePassive"])),
        ("Uri", text()),
        ("Thumbprint", text()),
        ("ProxyId", null()),
        ("TentacleVersionDetails", version),
        ("Links", links()),
    ])
}

fn connection() -> Value {
    let log = object(&[
        ("Category", word(["Info", "Error"])),
        ("Detail", text()),
        ("GapLastNumber", null()),
        ("MessageText", text()),
        ("Number", number()),
        ("OccurredAt", or_null(moment())),
    ]);
    object(&[
        ("Id", text()),
        ("MachineId", id("Machines")),
        ("CurrentTentacleVersion", or_null(text())),
        ("LastChecked", or_null(moment())),
        ("Status", statuses()[0].1.clone()),
        ("Logs", list(log)),
        ("Links", links()),
    ])
}

fn machine_policy() -> Value {
    let script = || object(&[("RunType", text()), ("ScriptBody", null())]);
    let health = object(&[
        ("HealthCheckType", text()),
        ("HealthCheckInterval", said(text(), "A time span: 00:01:30.")),
        ("HealthCheckCron", null()),
        ("HealthCheckCronTimezone", null()),
        ("PowerShellHealthCheckPolicy", script()),
        ("BashHealthCheckPolicy", script()),
    ]);
    let update = object(&[
        ("CalamariUpdateBehavior", text()),
        ("TentacleUpdateBehavior", text()),
        ("KubernetesAgentUpdateBehavior", text()),
        ("TentacleUpdateAccountId", null()),
    ]);
    object(&[
        ("Id", text()),
        ("SpaceId", id("Spaces")),
        ("Name", text()),
        ("Description", text()),
        ("IsDefault", flag()),
        ("MachineHealthCheckPolicy", health),
        ("MachineConnectivityPolicy", object(&[("MachineConnectivityBehavior", text())])),
        (
            "MachineCleanupPolicy",
            object(&[("DeleteMachinesBehavior", text()), ("DeleteMachinesElapsedTimeSpan", text())]),
        ),
        ("MachineUpdatePolicy", update),
        ("UpgradeDeadlines", said(map(text()), "A time span each: 00:01:30.")),
        ("Links", links()),
    ])
}
