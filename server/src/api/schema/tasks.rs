//! Tasks and their logs.

use serde_json::Value;

use super::operation::{Content, Operation, get, post};
use super::shapes::{any, flag, id, links, list, map, moment, null, number, object, or_null, said, shape, text, word};
use crate::api::bind::Reasoned;
use crate::api::tasks::{FILTERS, TaskBody};
use crate::model::TaskState;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        get("/tasks", "The tasks, newest first, and how many are in which state.")
            .asks(&["skip", "take"])
            .asks(&FILTERS)
            .tells(shape("TaskList")),
        post("/tasks", "Makes a task: Upgrade, Health or Deploy.").takes::<TaskBody>().makes(shape("Task")),
        get("/tasks/taskTypes", "The kinds of tasks that can be made.").tells(list(shape("Choice"))),
        get("/tasks/{id}", "One task.").tells(shape("Task")),
        get("/tasks/{id}/details", "A task with its log as a tree: one part for each machine.")
            .asks(&["tail"])
            .tells(shape("TaskDetails")),
        get("/tasks/{id}/raw", "The whole log as text.").or(200, "The log.", Content::Of("text/plain; charset=utf-8")),
        get("/tasks/{id}/queued-behind", "The tasks that a queued one waits for.").tells_page("Task"),
        post("/tasks/rerun/{id}", "Does the same once more, as a new task.").makes(shape("Task")),
        post("/tasks/{id}/cancel", "Cancels a task.").asks(&["reason"]).may_take::<Reasoned>().tells(shape("Task")),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let mut list_of = super::page_of("Task");
    list_of["properties"]["TotalCounts"] = map(number());
    let log = object(&[
        ("Category", word(["Info", "Warning", "Error"])),
        ("OccurredAt", moment()),
        ("MessageText", text()),
        ("Detail", null()),
    ]);
    let status = ["Pending", "Running", "Success", "SuccessWithWarning", "Failed", "Skipped", "Canceled"];
    let part = object(&[
        ("Id", text()),
        ("Name", text()),
        ("Status", word(status)),
        ("Started", or_null(moment())),
        ("Ended", or_null(moment())),
        ("Children", list(shape("TaskPart"))),
        ("ShowAtSummaryLevel", flag()),
        ("LogElements", list(log)),
        ("ProgressPercentage", number()),
        ("ProgressMessage", text()),
    ]);
    let details = object(&[
        ("Id", id("ServerTasks")),
        ("Task", shape("Task")),
        ("ActivityLogs", list(shape("TaskPart"))),
        ("Progress", object(&[("ProgressPercentage", number()), ("EstimatedTimeRemaining", text())])),
        ("PhysicalLogSize", said(number(), "Bytes of all messages.")),
        ("Links", links()),
    ]);
    vec![("Task", task()), ("TaskList", list_of), ("TaskPart", part), ("TaskDetails", details)]
}

fn task() -> Value {
    let succeeded = "It did what it could. False while it is not over.";
    object(&[
        ("Id", id("ServerTasks")),
        ("SpaceId", id("Spaces")),
        ("Name", text()),
        ("Description", text()),
        ("Arguments", any()),
        ("State", word(TaskState::ALL.map(TaskState::word))),
        ("Completed", said(text(), "When it was over, or the word of its state.")),
        ("QueueTime", moment()),
        ("QueueTimeExpiry", null()),
        ("StartTime", or_null(moment())),
        ("LastUpdatedTime", moment()),
        ("CompletedTime", or_null(moment())),
        ("ServerNode", text()),
        ("Duration", text()),
        ("ErrorMessage", text()),
        ("HasBeenPickedUpByProcessor", flag()),
        ("IsCompleted", flag()),
        ("FinishedSuccessfully", said(flag(), succeeded)),
        ("HasPendingInterruptions", flag()),
        ("HasWarningsOrErrors", flag()),
        ("CanRerun", flag()),
        ("EstimatedRemainingQueueDurationSeconds", number()),
        ("ProjectId", null()),
        ("CreatedBy", text()),
        ("Links", links()),
    ])
}
