//! What to do next for one machine of a deployment, and what a task has come to. Pure: no database, no network, no clock.
//!
//! ```text
//! Pending ── begin ──► Running, no ticket ── upload, then a ticket is written down ──► Running under a ticket
//!    │                     │                                                                │ start, watch, cancel
//!    └─────────────────────┴──────────────► Success | Failed | Canceled | Unknown ◄─────────┘
//! ```
//!
//! Invariant: nothing is started under a ticket that is not written down, and what may have been started is never started
//! under another one. A new portal process therefore asks for news of a ticket before it does anything else with it.

use std::time::Duration;

use octopus_proto::WorkState;

use crate::clock::Timestamp;
use crate::counts;
use crate::ids::RolloutId;
use crate::model::{MachineTask, MachineTaskState, TaskState};

/// How long a machine may be silent before anything was started on it. Then its part fails.
pub const UNREACHED_MAX: Duration = Duration::from_secs(60);

/// How long a machine may be silent while it works. Then nobody knows the result. Longer than a restart of a machine.
pub const SILENCE_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a machine may be busy with its own upgrade. Then its part fails. Longer than all phases of a rollout together.
pub const HELD_MAX: Duration = Duration::from_secs(30 * 60);

/// How long a machine's part may take. Then it is cancelled, and fails.
pub const PART_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// How long a machine may take to end its work once it was told to. Then nobody knows the result.
pub const CANCEL_MAX: Duration = Duration::from_secs(2 * 60);

/// The last thing a machine answered to this portal process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    Nothing,
    /// It has the package.
    Uploaded,
    /// It knows the ticket, and the work stands so.
    Work(WorkState),
    /// It does not know the ticket.
    UnknownTicket,
    /// It refuses for good to take the package or to start.
    Refused(String),
    /// It is busy or about to end. It may be asked again.
    Held(String),
    /// It could not be reached. It may be asked again.
    Silent(String),
}

/// Why a machine may not be worked on any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// It was deleted, so that it cannot be spoken to.
    Deleted,
    /// It was disabled.
    Disabled,
}

/// What is known beside a machine's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The present moment.
    pub now: Timestamp,
    /// Somebody wants the task cancelled.
    pub cancel: bool,
    /// Set where the machine may not be worked on any more.
    pub withdrawn: Option<Withdrawn>,
    /// The rollout that has the machine in flight.
    pub rollout: Option<RolloutId>,
    /// The last answer.
    pub answer: Answer,
    /// Since when every answer has been [`Answer::Silent`].
    pub silent_since: Option<Timestamp>,
    /// Since when the machine has been held by its own upgrade.
    pub held_since: Option<Timestamp>,
    /// When it was told to end its work.
    pub cancel_sent_at: Option<Timestamp>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write down that the part begins.
    Begin,
    /// Send the package; nothing is sent that the machine has already.
    Upload,
    /// Write down a new ticket.
    Ticket,
    /// Start the work under the ticket.
    Start,
    /// Wait for news of the ticket.
    Watch,
    /// Tell the machine to end the work.
    Cancel,
    /// Look again after a while.
    Hold {
        /// Why, in a sentence.
        why: String,
    },
    /// The part is over.
    End(MachineTaskState, String),
    /// It was over before.
    Nothing,
}

/// Decides what to do next for one machine.
pub fn next(part: &MachineTask, known: &Known) -> Step {
    match part.state {
        MachineTaskState::Pending | MachineTaskState::Running if part.ticket.is_empty() => before_ticket(part, known),
        MachineTaskState::Pending | MachineTaskState::Running => under_ticket(part, known),
        MachineTaskState::Success
        | MachineTaskState::Failed
        | MachineTaskState::Canceled
        | MachineTaskState::Unknown => Step::Nothing,
    }
}

/// Nothing was started yet: every way out is a clean one.
fn before_ticket(part: &MachineTask, known: &Known) -> Step {
    use MachineTaskState::{Canceled, Failed};
    if known.cancel {
        return Step::End(Canceled, "It was cancelled before anything was started.".to_owned());
    }
    match known.withdrawn {
        Some(Withdrawn::Deleted) => return Step::End(Failed, "The machine was deleted.".to_owned()),
        Some(Withdrawn::Disabled) => return Step::End(Failed, "The machine was disabled.".to_owned()),
        None => {}
    }
    if overdue(part, known) {
        return Step::End(Failed, format!("Nothing could be started within {}.", words(PART_MAX)));
    }
    if let Some(rollout) = known.rollout {
        return hold(known, format!("Its Tentacle is being upgraded by {rollout}; the deployment goes on after that."));
    }
    match &known.answer {
        _ if part.state == MachineTaskState::Pending => Step::Begin,
        Answer::Uploaded => Step::Ticket,
        Answer::Refused(why) => Step::End(Failed, why.clone()),
        Answer::Held(why) if held_too_long(known) => Step::End(Failed, held_for_too_long(why)),
        Answer::Silent(why) if silent_for(known, UNREACHED_MAX) => {
            Step::End(Failed, format!("It could not be reached for {}: {why}", words(UNREACHED_MAX)))
        }
        Answer::Nothing | Answer::Held(_) | Answer::Silent(_) | Answer::UnknownTicket | Answer::Work(_) => Step::Upload,
    }
}

/// The work may have been started: only the machine knows, and where it cannot be asked, nobody does.
fn under_ticket(part: &MachineTask, known: &Known) -> Step {
    use MachineTaskState::{Canceled, Failed, Unknown};
    if known.withdrawn == Some(Withdrawn::Deleted) {
        let why = "The machine was deleted while it worked; nobody knows how it ended.";
        return Step::End(Unknown, why.to_owned());
    }
    let must_end = known.cancel || overdue(part, known);
    match &known.answer {
        Answer::Work(state) if state.is_final() => ended(state, known),
        Answer::Refused(why) => Step::End(Failed, why.clone()),
        Answer::UnknownTicket if part.log_seq > 0 => {
            let why = "It forgot the work that it had begun; nobody knows how it ended.";
            Step::End(Unknown, why.to_owned())
        }
        Answer::UnknownTicket if known.cancel => {
            Step::End(Canceled, "It was cancelled before anything was started.".to_owned())
        }
        Answer::UnknownTicket if must_end => {
            Step::End(Failed, format!("Nothing could be started within {}.", words(PART_MAX)))
        }
        Answer::Silent(why) if silent_for(known, SILENCE_MAX) => {
            let silence = words(SILENCE_MAX);
            Step::End(Unknown, format!("It has been silent for {silence}, nobody knows how it ended: {why}"))
        }
        Answer::Held(why) if held_too_long(known) => {
            Step::End(if part.log_seq > 0 { Unknown } else { Failed }, held_for_too_long(why))
        }
        _ if must_end => match known.cancel_sent_at {
            None => Step::Cancel,
            Some(sent) if known.now.since(sent) > CANCEL_MAX => {
                let limit = words(CANCEL_MAX);
                Step::End(Unknown, format!("It did not end its work within {limit} after it was told to."))
            }
            Some(_) => Step::Watch,
        },
        Answer::UnknownTicket => match known.rollout {
            Some(rollout) => hold(known, format!("Its Tentacle is being upgraded by {rollout}.")),
            // It is asked for the package again, because it may have cleaned it up; that costs one question.
            None => Step::Upload,
        },
        Answer::Uploaded => Step::Start,
        Answer::Nothing | Answer::Work(_) | Answer::Held(_) | Answer::Silent(_) => Step::Watch,
    }
}

fn ended(state: &WorkState, known: &Known) -> Step {
    use MachineTaskState::{Canceled, Failed, Success, Unknown};
    match state {
        WorkState::Succeeded => Step::End(Success, String::new()),
        WorkState::Failed { reason } | WorkState::Busy { reason } => Step::End(Failed, reason.clone()),
        WorkState::Cancelled if known.cancel => Step::End(Canceled, String::new()),
        WorkState::Cancelled if known.cancel_sent_at.is_some() => {
            Step::End(Failed, format!("It took longer than {} and was ended.", words(PART_MAX)))
        }
        WorkState::Cancelled => Step::End(Failed, "The work was ended by somebody else.".to_owned()),
        WorkState::UnknownResult { reason } => Step::End(Unknown, reason.clone()),
        WorkState::Running => Step::Watch,
    }
}

fn overdue(part: &MachineTask, known: &Known) -> bool {
    part.started_at.is_some_and(|started| known.now.since(started) > PART_MAX)
}

fn silent_for(known: &Known, limit: Duration) -> bool {
    known.silent_since.is_some_and(|since| known.now.since(since) > limit)
}

fn held_too_long(known: &Known) -> bool {
    known.held_since.is_some_and(|since| known.now.since(since) > HELD_MAX)
}

fn held_for_too_long(why: &str) -> String {
    format!("It was not ready for {}: {why}", words(HELD_MAX))
}

fn hold(known: &Known, why: String) -> Step {
    match held_too_long(known) {
        true => Step::End(MachineTaskState::Failed, held_for_too_long(&why)),
        false => Step::Hold { why },
    }
}

fn words(limit: Duration) -> String {
    match limit.as_secs() {
        seconds if seconds >= 2 * 3600 => format!("{} hours", seconds / 3600),
        seconds if seconds >= 2 * 60 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

/// What a task has come to; `None` while a machine's part is not over. The sentence is empty for a success.
///
/// It is a success only if every part is one. A result that nobody knows makes it fail even where it was cancelled.
pub fn outcome(parts: &[MachineTask]) -> Option<(TaskState, String)> {
    use MachineTaskState as M;
    let of = |state: M| parts.iter().filter(move |part| part.state == state);
    if of(M::Pending).chain(of(M::Running)).next().is_some() {
        return None;
    }
    let mut sentences = Vec::new();
    for (state, verb) in [(M::Failed, "failed"), (M::Unknown, "ended in a way that nobody knows")] {
        if let Some(first) = of(state).next() {
            let count = of(state).count();
            let reason = first.reason.trim_end_matches('.');
            sentences.push(format!(
                "{count} of {} {verb}, {} first: {reason}.",
                counts::count(parts.len(), "machine"),
                first.machine_name
            ));
        }
    }
    let canceled = of(M::Canceled).count();
    if canceled > 0 {
        sentences.push(format!("{canceled} of {} cancelled.", counts::count(parts.len(), "machine")));
    }
    let state = if of(M::Unknown).next().is_some() {
        TaskState::Failed
    } else if canceled > 0 {
        TaskState::Canceled
    } else if of(M::Failed).next().is_some() {
        TaskState::Failed
    } else {
        TaskState::Success
    };
    Some((state, sentences.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MachineId;
    use MachineTaskState::{Canceled, Failed, Pending, Running, Success, Unknown};

    fn part(state: MachineTaskState, ticket: &str) -> MachineTask {
        MachineTask {
            machine: MachineId(1),
            machine_name: "web1".to_owned(),
            state,
            reason: String::new(),
            ticket: ticket.to_owned(),
            log_seq: 0,
            started_at: (state != Pending).then_some(Timestamp(0)),
            completed_at: None,
        }
    }

    fn known(answer: Answer) -> Known {
        Known {
            now: Timestamp(0),
            cancel: false,
            withdrawn: None,
            rollout: None,
            answer,
            silent_since: None,
            held_since: None,
            cancel_sent_at: None,
        }
    }

    fn at(after: Duration) -> Timestamp {
        Timestamp(0).after(after + Duration::from_secs(1))
    }

    fn silent() -> Answer {
        Answer::Silent("no route".to_owned())
    }

    fn end(step: &Step) -> Option<MachineTaskState> {
        if let Step::End(state, _) = step { Some(*state) } else { None }
    }

    #[test]
    fn a_part_goes_its_way_step_by_step() {
        use Answer as A;
        for (state, ticket, answer, step) in [
            (Pending, "", A::Nothing, Step::Begin),
            (Running, "", A::Nothing, Step::Upload),
            (Running, "", A::Uploaded, Step::Ticket),
            (Running, "t", A::Uploaded, Step::Start),
            (Running, "t", A::Work(WorkState::Running), Step::Watch),
            (Running, "t", A::Work(WorkState::Succeeded), Step::End(Success, String::new())),
            (Success, "t", A::Nothing, Step::Nothing),
            (Unknown, "t", A::UnknownTicket, Step::Nothing),
        ] {
            assert_eq!(next(&part(state, ticket), &known(answer.clone())), step, "{state:?} {ticket} {answer:?}");
        }
    }

    #[test]
    fn a_ticket_of_a_former_process_is_asked_for_before_anything_is_started() {
        let row = part(Running, "t");
        assert_eq!(next(&row, &known(Answer::Nothing)), Step::Watch);
        assert_eq!(next(&row, &known(Answer::UnknownTicket)), Step::Upload);
        assert_eq!(next(&row, &known(Answer::Uploaded)), Step::Start);
    }

    #[test]
    fn work_that_was_begun_and_forgotten_is_never_started_again() {
        let row = MachineTask { log_seq: 3, ..part(Running, "t") };
        assert_eq!(end(&next(&row, &known(Answer::UnknownTicket))), Some(Unknown));
    }

    #[test]
    fn an_end_at_the_machine_is_told_as_it_is() {
        let row = part(Running, "t");
        let failed = WorkState::Failed { reason: "exit code 1".to_owned() };
        assert_eq!(next(&row, &known(Answer::Work(failed))), Step::End(Failed, "exit code 1".to_owned()));
        let unknown = WorkState::UnknownResult { reason: "it died".to_owned() };
        assert_eq!(next(&row, &known(Answer::Work(unknown))), Step::End(Unknown, "it died".to_owned()));
        assert_eq!(end(&next(&row, &known(Answer::Work(WorkState::Cancelled)))), Some(Failed), "nobody here asked");
    }

    #[test]
    fn silence_fails_what_was_not_started_and_leaves_the_rest_unknown() {
        let fresh = part(Running, "");
        assert_eq!(next(&fresh, &Known { silent_since: Some(Timestamp(0)), ..known(silent()) }), Step::Upload);
        let later = Known { now: at(UNREACHED_MAX), silent_since: Some(Timestamp(0)), ..known(silent()) };
        assert_eq!(end(&next(&fresh, &later)), Some(Failed));
        let begun = part(Running, "t");
        assert_eq!(next(&begun, &later), Step::Watch);
        let much_later = Known { now: at(SILENCE_MAX), ..later };
        assert_eq!(end(&next(&begun, &much_later)), Some(Unknown));
    }

    #[test]
    fn a_machine_in_a_rollout_is_left_alone_for_a_bounded_time() {
        let held = Known { rollout: Some(RolloutId(4)), held_since: Some(Timestamp(0)), ..known(Answer::Nothing) };
        for row in [part(Pending, ""), part(Running, "")] {
            assert!(matches!(next(&row, &held), Step::Hold { why } if why.contains("Rollouts-4")));
            assert_eq!(end(&next(&row, &Known { now: at(HELD_MAX), ..held.clone() })), Some(Failed));
        }
        assert_eq!(next(&part(Running, "t"), &held), Step::Watch, "what may run is watched, upgrade or not");
        let unstarted = Known { answer: Answer::UnknownTicket, ..held };
        assert!(matches!(next(&part(Running, "t"), &unstarted), Step::Hold { .. }));
    }

    #[test]
    fn a_machine_that_says_it_is_busy_is_asked_again_for_a_bounded_time() {
        let busy = Known { held_since: Some(Timestamp(0)), ..known(Answer::Held("it is about to end".to_owned())) };
        assert_eq!(next(&part(Running, ""), &busy), Step::Upload);
        assert_eq!(next(&part(Running, "t"), &busy), Step::Watch);
        let later = Known { now: at(HELD_MAX), ..busy };
        assert_eq!(end(&next(&part(Running, ""), &later)), Some(Failed));
        assert_eq!(end(&next(&part(Running, "t"), &later)), Some(Failed));
    }

    #[test]
    fn a_cancelled_part_ends_when_the_machine_says_so() {
        let cancel = |answer| Known { cancel: true, ..known(answer) };
        assert_eq!(end(&next(&part(Pending, ""), &cancel(Answer::Nothing))), Some(Canceled));
        assert_eq!(end(&next(&part(Running, ""), &cancel(silent()))), Some(Canceled));
        let row = part(Running, "t");
        assert_eq!(next(&row, &cancel(Answer::Nothing)), Step::Cancel);
        assert_eq!(next(&row, &cancel(Answer::Uploaded)), Step::Cancel, "a start may be under way");
        assert_eq!(end(&next(&row, &cancel(Answer::UnknownTicket))), Some(Canceled));
        let told = Known { cancel_sent_at: Some(Timestamp(0)), ..cancel(Answer::Work(WorkState::Running)) };
        assert_eq!(next(&row, &told), Step::Watch);
        assert_eq!(end(&next(&row, &Known { now: at(CANCEL_MAX), ..told.clone() })), Some(Unknown));
        let ended = |state| Known { answer: Answer::Work(state), ..told.clone() };
        assert_eq!(end(&next(&row, &ended(WorkState::Cancelled))), Some(Canceled));
        assert_eq!(end(&next(&row, &ended(WorkState::Succeeded))), Some(Success), "it was too late");
    }

    #[test]
    fn work_without_an_end_is_ended_and_fails() {
        let row = part(Running, "t");
        let late = Known { now: at(PART_MAX), ..known(Answer::Work(WorkState::Running)) };
        assert_eq!(next(&row, &late), Step::Cancel);
        let told = Known { cancel_sent_at: Some(late.now), ..late };
        assert_eq!(next(&row, &told), Step::Watch);
        let ended = Known { answer: Answer::Work(WorkState::Cancelled), ..told };
        assert_eq!(end(&next(&row, &ended)), Some(Failed));
        assert_eq!(end(&next(&part(Running, ""), &Known { now: at(PART_MAX), ..known(silent()) })), Some(Failed));
    }

    #[test]
    fn a_machine_that_is_taken_away_fails_unless_it_works() {
        for (withdrawn, fresh, begun) in
            [(Withdrawn::Deleted, Some(Failed), Some(Unknown)), (Withdrawn::Disabled, Some(Failed), None)]
        {
            let known = Known { withdrawn: Some(withdrawn), ..known(Answer::Nothing) };
            assert_eq!(end(&next(&part(Pending, ""), &known)), fresh);
            assert_eq!(end(&next(&part(Running, "t"), &known)), begun);
        }
    }

    #[test]
    fn a_task_is_a_success_only_if_every_part_is() {
        let of = |states: &[MachineTaskState]| outcome(&states.iter().map(|s| part(*s, "")).collect::<Vec<_>>());
        let state = |states: &[MachineTaskState]| of(states).map(|(state, _)| state);
        assert_eq!(state(&[Success, Running]), None);
        assert_eq!(state(&[Success, Pending]), None);
        assert_eq!(of(&[Success, Success]), Some((TaskState::Success, String::new())));
        assert_eq!(state(&[Success, Failed]), Some(TaskState::Failed));
        assert_eq!(state(&[Success, Unknown]), Some(TaskState::Failed));
        assert_eq!(state(&[Success, Canceled]), Some(TaskState::Canceled));
        assert_eq!(state(&[Failed, Canceled]), Some(TaskState::Canceled));
        assert_eq!(state(&[Unknown, Canceled]), Some(TaskState::Failed), "nobody knows is never a clean end");
        let failed = MachineTask { reason: "no route.".to_owned(), ..part(Failed, "") };
        let (_, sentence) = outcome(&[failed, part(Success, "")]).unwrap();
        assert_eq!(sentence, "1 of 2 machines failed, web1 first: no route.");
    }
}
