//! A preview of a rollout as it stands on the wire.

use serde_json::{Value, json};

use crate::error::sentence;
use crate::ids::MachineId;
use crate::rollout::course::{Finish, RoleLoss, Span, Stays};
use crate::rollout::preview::Preview;
use crate::rollout::state::RolloutWave;

/// A preview as it stands on the wire.
pub(super) fn foreseen(preview: &Preview) -> Value {
    let course = &preview.course;
    let wave = |(at, (wave, span)): (usize, (&RolloutWave, &Span))| {
        let ids = preview.machines.iter().filter(|machine| machine.0 == at).map(|machine| machine.1);
        let ids: Vec<MachineId> = ids.collect();
        json!({
            "Number": at + 1,
            "Name": wave.title,
            "Total": ids.len(),
            "MachineIds": ids,
            "SoakSeconds": wave.soak.as_secs_f64(),
            "Approval": wave.approval.word(),
            "FailureBudget": wave.failure_budget,
            "ExpectedBegin": span.begins.map(|at| at.rfc3339()),
            "ExpectedEnd": span.ends.map(|at| at.rfc3339()),
        })
    };
    let stays = |stays: &Stays| {
        json!({
            "MachineId": stays.machine,
            "Name": stays.name,
            "Wave": stays.wave.map(|wave| wave + 1),
            "Code": stays.code,
            "Reason": sentence(&stays.why),
        })
    };
    let role = |role: &RoleLoss| json!({ "EnvironmentId": role.environment, "Role": role.role, "AtOnce": role.most, "Total": role.all });
    let (finish, finish_is) = match &course.finish {
        Finish::Unknown => (None, "Unknown"),
        Finish::At(at) => (Some(at.rfc3339()), "Expected"),
        Finish::After(at) => (Some(at.rfc3339()), "Later"),
        Finish::Stops(_) => (None, "Stops"),
    };
    json!({
        "TargetVersion": preview.target.to_string(),
        "Strategy": preview.strategy,
        "MaxInFlight": preview.max_in_flight,
        "FailureBudget": preview.failure_budget,
        "Total": preview.machines.len(),
        "Upgraded": course.upgraded,
        "Waves": preview.waves.iter().zip(&course.waves).enumerate().map(wave).collect::<Vec<_>>(),
        "NotUpgraded": course.stays.iter().map(stays).collect::<Vec<_>>(),
        "Busy": preview.busy.iter().map(stays).collect::<Vec<_>>(),
        "Roles": preview.roles.iter().map(role).collect::<Vec<_>>(),
        "Finish": finish_is,
        "ExpectedFinish": finish,
        "StopsBecause": match &course.finish { Finish::Stops(why) => Some(why), _ => None },
        "Measured": preview.pace.map(|pace| json!({
            "Machines": pace.machines,
            "SendingSeconds": pace.sending.as_secs_f64(),
            "InstallingSeconds": pace.installing.as_secs_f64(),
        })),
    })
}
