//! Rollouts, previews of them, and the hands that people lay on them.

use schemars::SchemaGenerator;
use serde_json::Value;

use super::operation::{Content, Operation, get, post};
use super::shapes::{flag, id, links, list, map, moment, number, object, or_null, real, said, shape, text, word};
use crate::api::rollouts::{FILTERS, HandBody, RolloutBody};
use crate::rollout::state::{PhaseKind, RolloutState};
use crate::rollout::strategy::Strategy;

/// Address and meaning of what is done with a rollout by hand.
const HANDS: [(&str, &str); 9] = [
    ("/rollouts/{id}/cancel", "Cancels a rollout: nothing more is begun, and what is in flight is brought to its end."),
    ("/rollouts/{id}/start", "Begins a rollout now, before its hour."),
    ("/rollouts/{id}/pause", "Pauses a rollout: nothing more is begun."),
    ("/rollouts/{id}/resume", "Lets a paused rollout go on."),
    ("/rollouts/{id}/retry", "Tries machines again that failed: those in MachineIds, or all."),
    ("/rollouts/{id}/skip", "Leaves out the machine in MachineId, which waits."),
    ("/rollouts/{id}/ignore-windows", "Begins machines at any hour from now on. A Reason is needed."),
    ("/rollouts/{id}/release-wave", "Lets the wave in Wave begin, counted from 1."),
    ("/rollouts/{id}/release-version", "Lets the version for the Runtime go on that was called off."),
];

pub(super) fn operations() -> Vec<Operation> {
    let mut all = vec![
        get("/rollouts", "The rollouts, newest first, each with its machines.").asks(&FILTERS).tells_page("Rollout"),
        post("/rollouts", "Makes a rollout. Without a selection it is for every machine that is not up to date.")
            .takes::<RolloutBody>()
            .makes(shape("Rollout")),
        post("/rollouts/preview", "Tells what the same rollout would do. Nothing is written.")
            .takes::<RolloutBody>()
            .tells(shape("Preview")),
        get("/rollouts/{id}", "One rollout, with why each machine waits, and what people did.").tells(shape("Rollout")),
        post("/rollouts/{id}/undo", "Brings back what a rollout changed, each machine to its own previous version.")
            .may_take::<HandBody>()
            .makes(shape("Rollout"))
            .or(200, "It was made before: this is the one.", Content::Json(shape("Rollout"))),
    ];
    all.extend(HANDS.map(|(path, does)| post(path, does).may_take::<HandBody>().tells(shape("Rollout"))));
    all
}

pub(super) fn shapes(generator: &mut SchemaGenerator) -> Vec<(&'static str, Value)> {
    let strategy = generator.subschema_for::<Strategy>().to_value();
    vec![
        ("Rollout", rollout(&strategy)),
        ("RolloutWave", wave()),
        ("RolloutMachine", machine()),
        ("Preview", preview(&strategy)),
    ]
}

fn rollout(strategy: &Value) -> Value {
    let event = object(&[
        ("Occurred", moment()),
        ("Username", text()),
        ("Action", text()),
        ("MachineId", or_null(id("Machines"))),
        ("Message", text()),
    ]);
    object(&[
        ("Id", id("Rollouts")),
        ("SpaceId", id("Spaces")),
        ("TaskId", id("ServerTasks")),
        ("TargetVersion", said(text(), "In an undo, the newest of the machines' own.")),
        ("UndoOf", or_null(id("Rollouts"))),
        ("UndoneBy?", or_null(id("Rollouts"))),
        ("Strategy", strategy.clone()),
        ("Waves", list(shape("RolloutWave"))),
        ("OpenWave", said(number(), "The last wave whose machines may begin, counted from 1.")),
        ("StartAt", or_null(moment())),
        ("MaxInFlight", number()),
        ("FailureBudget", number()),
        ("State", word(RolloutState::ALL.map(RolloutState::word))),
        ("StateReason", text()),
        ("Summary", text()),
        ("IsCompleted", flag()),
        ("CancelRequested", or_null(moment())),
        ("CreatedBy", text()),
        ("Created", moment()),
        ("Completed", or_null(moment())),
        ("Counts", said(map(number()), "How many machines are in which phase, and the Total.")),
        ("Machines", list(shape("RolloutMachine"))),
        ("Events?", said(list(event), "What people did.")),
        ("Links", links()),
    ])
}

fn wave() -> Value {
    object(&[
        ("Number", number()),
        ("Name", text()),
        ("IsOpen", flag()),
        ("SoakSeconds", real()),
        ("Approval", word(["None", "Person"])),
        ("FailureBudget", or_null(number())),
        ("Released", or_null(moment())),
        ("ReleasedBy", text()),
        ("Total", number()),
        ("Upgraded", number()),
        ("InFlight", number()),
        ("Failed", number()),
    ])
}

fn machine() -> Value {
    object(&[
        ("Wave", number()),
        ("MachineId", id("Machines")),
        ("Name", text()),
        ("Phase", word(PhaseKind::ALL.map(PhaseKind::word))),
        ("PhaseSince", moment()),
        ("DeadlineAt", or_null(moment())),
        ("Reason", text()),
        ("Later", said(or_null(text()), "What was heard of it since the rollout was done with it.")),
        ("FromVersion", or_null(text())),
        ("ToVersion", text()),
        ("PreviousVersion", said(or_null(text()), "What an undo brings it back to.")),
        ("Attempt", number()),
        ("Why?", said(or_null(text()), "What keeps it from beginning.")),
    ])
}

fn preview(strategy: &Value) -> Value {
    let stays = || {
        object(&[
            ("MachineId", id("Machines")),
            ("Name", text()),
            ("Wave", or_null(number())),
            ("Code", text()),
            ("Reason", text()),
        ])
    };
    let wave = object(&[
        ("Number", number()),
        ("Name", text()),
        ("Total", number()),
        ("MachineIds", list(id("Machines"))),
        ("SoakSeconds", real()),
        ("Approval", word(["None", "Person"])),
        ("FailureBudget", or_null(number())),
        ("ExpectedBegin", or_null(moment())),
        ("ExpectedEnd", or_null(moment())),
    ]);
    let role =
        object(&[("EnvironmentId", id("Environments")), ("Role", text()), ("AtOnce", number()), ("Total", number())]);
    let measured = object(&[("Machines", number()), ("SendingSeconds", real()), ("InstallingSeconds", real())]);
    object(&[
        ("TargetVersion", text()),
        ("Strategy", strategy.clone()),
        ("MaxInFlight", number()),
        ("FailureBudget", number()),
        ("Total", number()),
        ("Upgraded", number()),
        ("Waves", list(wave)),
        ("NotUpgraded", list(stays())),
        ("Busy", said(list(stays()), "Machines that do work now.")),
        ("Roles", said(list(role), "Roles of which many would go at once.")),
        ("Finish", word(["Expected", "Later", "Unknown", "Stops"])),
        ("ExpectedFinish", or_null(moment())),
        ("StopsBecause", or_null(text())),
        ("Measured", or_null(measured)),
    ])
}
