//! The questions before the hands of a rollout: what will happen, and to how many machines. Pure but for reading the rollout.

use axum::extract::{Path, State};

use super::{find, read_hand};
use crate::app::App;
use crate::auth::PageUser;
use crate::ids::MachineId;
use crate::pages::form::{Address, Fields};
use crate::pages::shell::{Section, Shell};
use crate::pages::view as words;
use crate::pages::{ConfirmPage, PageError, Reason, Weight};
use crate::rollout::hands::Hand;
use crate::rollout::state::{PhaseKind, Rollout, RolloutMachine};

/// Names that a question says; of more it says how many there are.
const NAMES_MAX: usize = 5;

/// A question, and the button that says yes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    title: String,
    consequence: String,
    button: String,
}

/// Asks before a hand is laid on a rollout.
pub(super) async fn ask(
    user: PageUser,
    State(app): State<App>,
    Path((id, word)): Path<(String, String)>,
    Address(fields): Address,
) -> Result<ConfirmPage, PageError> {
    let (id, hand) = read_hand(&id, &word, &fields)?;
    let rollout = find(&mut *app.db.read().await?, user.0.space, id).await?;
    let Question { title, consequence, button } = question(&rollout, &hand);
    Ok(ConfirmPage {
        shell: Shell::new(&app, &user, Section::Rollouts, title),
        consequence,
        action: format!("/rollouts/{id}/{word}"),
        fields: sent(&fields),
        button,
        weight: Weight::Plain,
        back: format!("/rollouts/{id}"),
        reason: if hand == Hand::IgnoreWindows { Reason::Demanded } else { Reason::Asked },
    })
}

/// What the page that asked said of the hand, to be sent on.
fn sent(fields: &Fields) -> Vec<(&'static str, String)> {
    ["machine", "wave", "runtime"]
        .into_iter()
        .flat_map(|name| fields.all(name).map(move |value| (name, value.to_owned())))
        .collect()
}

fn machines(number: usize) -> String {
    words::count(number, "machine")
}

/// `1 machine waits`, `2 machines wait`.
fn wait(number: usize) -> String {
    format!("{} wait{}", machines(number), if number == 1 { "s" } else { "" })
}

fn question(rollout: &Rollout, hand: &Hand) -> Question {
    let waiting = rollout.count(|kind| kind == PhaseKind::Waiting);
    let cap = rollout.max_in_flight;
    let ask = |title: String, consequence: String, button: String| Question { title, consequence, button };
    match hand {
        Hand::StartNow => ask(
            "Start now?".to_owned(),
            format!(
                "It does not wait for its hour: {} can begin now, one first, and at most {cap} at once when that is proven.",
                machines(waiting)
            ),
            format!("Start on {}", machines(waiting)),
        ),
        Hand::Pause => pause(rollout, waiting),
        Hand::Resume => resume(rollout, waiting),
        Hand::Retry(named) => retry(rollout, named),
        Hand::Skip(machine) => {
            let name = name_of(rollout, *machine);
            ask(
                format!("Leave {name} out?"),
                format!(
                    "{name} keeps what it runs, and this rollout does nothing with it any more. It does not count as a \
                     failure. The other machines go on."
                ),
                format!("Leave out {name}"),
            )
        }
        Hand::ReleaseWave(number) => {
            let inside = rollout.machines.iter().filter(|machine| machine.wave + 1 == *number).count();
            ask(
                format!("Release wave {number}?"),
                format!(
                    "The {} of wave {number} begin as soon as the wave before is done, at most {cap} at once, without \
                     soaking and without waiting for anybody else.",
                    machines(inside)
                ),
                format!("Release {}", machines(inside)),
            )
        }
        Hand::IgnoreWindows => ask(
            "Begin outside maintenance windows?".to_owned(),
            format!(
                "Maintenance windows and freezes no longer hold this rollout: {} may begin at any hour, at most {cap} at \
                 once. This cannot be taken back; it can be paused and cancelled.",
                machines(waiting)
            ),
            format!("Begin {} at any hour", machines(waiting)),
        ),
        Hand::ReleaseVersion(runtime) => ask(
            format!("Release {} for {runtime}?", rollout.target),
            format!(
                "{} failed on several machines of {runtime} and is begun on no more of them. Released, it is tried there \
                 again, in this rollout and in others; {} in this one.",
                rollout.target,
                wait(waiting)
            ),
            format!("Release {} for {runtime}", rollout.target),
        ),
        // It has a question of its own, as undoing has.
        Hand::Cancel => ask("Cancel the rollout?".to_owned(), String::new(), "Cancel rollout".to_owned()),
    }
}

fn pause(rollout: &Rollout, waiting: usize) -> Question {
    let sent = rollout.count(|kind| matches!(kind, PhaseKind::Checking | PhaseKind::Uploading));
    let told = rollout.count(PhaseKind::is_in_flight) - sent;
    let mut parts = vec![format!("No further machine is begun: {}.", wait(waiting + sent))];
    match sent {
        0 => {}
        1 => parts.push("1 machine that is only looked at or sent the package goes back to waiting.".to_owned()),
        _ => parts.push(format!("{} that are only looked at or sent the package go back to waiting.", machines(sent))),
    }
    match told {
        0 => {}
        1 => parts.push("1 machine that was told to install goes on to its end.".to_owned()),
        _ => parts.push(format!("{} that were told to install go on to their end.", machines(told))),
    }
    parts.push("It can be resumed at any time.".to_owned());
    Question {
        title: "Pause the rollout?".to_owned(),
        consequence: parts.join(" "),
        button: "Pause rollout".to_owned(),
    }
}

fn resume(rollout: &Rollout, waiting: usize) -> Question {
    let failures = super::waves::counted(rollout, None);
    let mut consequence = format!("{}; at most {} are begun at once.", wait(waiting), rollout.max_in_flight);
    if failures > 0 {
        let of = match failures {
            1 => "The failure so far no longer counts".to_owned(),
            number => format!("The {number} failures so far no longer count"),
        };
        let budget = rollout.failure_budget;
        consequence += &format!(" {of}: it stops again after {budget} more. What failed stays as it is.");
    }
    Question { title: "Resume the rollout?".to_owned(), consequence, button: "Resume rollout".to_owned() }
}

fn retry(rollout: &Rollout, named: &[MachineId]) -> Question {
    let is_meant = |machine: &&RolloutMachine| match named {
        [] => machine.phase.kind().is_failure(),
        named => named.contains(&machine.machine),
    };
    let meant: Vec<&str> = rollout.machines.iter().filter(is_meant).map(|machine| machine.name.as_str()).collect();
    let what = match meant.as_slice() {
        [one] => (*one).to_owned(),
        several => machines(several.len()),
    };
    let mut names = meant.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    if meant.len() > NAMES_MAX {
        names += &format!(" and {} more", meant.len() - NAMES_MAX);
    }
    let consequence = format!(
        "{names}: begun again from the first look, and {} is given another chance there, though it failed. A rollout that \
         its failures stopped goes on; one that a person paused stays paused.",
        rollout.target
    );
    Question { title: format!("Retry {what}?"), consequence, button: format!("Retry {what}") }
}

fn name_of(rollout: &Rollout, id: MachineId) -> String {
    let found = rollout.machines.iter().find(|machine| machine.machine == id);
    found.map_or_else(|| id.to_string(), |machine| machine.name.clone())
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{rollout, waiting};
    use super::*;
    use crate::rollout::state::{Phase, RolloutState};

    fn asked(phases: Vec<Phase>, hand: &Hand) -> Question {
        question(&rollout(RolloutState::Running, phases).rollout, hand)
    }

    fn failed() -> Phase {
        Phase::Failed { reason: "disk full".into() }
    }

    #[test]
    fn a_pause_says_what_becomes_of_machines_that_are_under_way() {
        let phases = vec![Phase::Checking, waiting(), waiting(), Phase::Upgraded];
        let consequence = asked(phases, &Hand::Pause).consequence;
        assert!(
            consequence.starts_with("No further machine is begun: 3 machines wait. 1 machine that is"),
            "{consequence}"
        );
        assert!(!consequence.contains("to their end"), "{consequence}");
    }

    #[test]
    fn a_resume_says_what_is_forgiven_and_when_it_stops_again() {
        let consequence = asked(vec![failed(), waiting()], &Hand::Resume).consequence;
        assert!(
            consequence.contains("The failure so far no longer counts: it stops again after 2 more."),
            "{consequence}"
        );
        let consequence = asked(vec![waiting()], &Hand::Resume).consequence;
        assert_eq!(consequence, "1 machine waits; at most 10 are begun at once.");
    }

    #[test]
    fn a_retry_names_what_it_means() {
        let all = asked(vec![failed(), failed(), waiting()], &Hand::Retry(Vec::new()));
        assert_eq!(all.button, "Retry 2 machines");
        assert!(all.consequence.starts_with("web-1, web-2: begun again"), "{all:?}");
        let one = asked(vec![failed(), failed()], &Hand::Retry(vec![MachineId(2)]));
        assert_eq!((one.title.as_str(), one.button.as_str()), ("Retry web-2?", "Retry web-2"));
        let many = asked(vec![failed(); 7], &Hand::Retry(Vec::new()));
        assert!(many.consequence.starts_with("web-1, web-2, web-3, web-4, web-5 and 2 more: "), "{many:?}");
    }

    #[test]
    fn every_question_says_how_many_machines_it_is_about() {
        let phases = || vec![waiting(), waiting(), failed()];
        let hands = [
            (Hand::StartNow, "2 machines"),
            (Hand::Pause, "2 machines"),
            (Hand::Resume, "2 machines"),
            (Hand::Skip(MachineId(1)), "web-1"),
            (Hand::ReleaseWave(1), "3 machines"),
            (Hand::IgnoreWindows, "2 machines"),
            (Hand::ReleaseVersion("linux-x64".into()), "2 machines"),
        ];
        for (hand, words) in hands {
            let question = asked(phases(), &hand);
            assert!(question.consequence.contains(words), "{hand:?}: {question:?}");
        }
    }
}
