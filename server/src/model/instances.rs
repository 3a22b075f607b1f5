//! Which processes answered for a machine, and whether two machines answer with one identity. Pure.
//!
//! An instance id is random at each start of a process, and on one machine no process begins before the former is gone. So
//! one that answers again after another one answered is alive beside it: two machines have the same identity, as after a
//! copy of a disk. A late answer is none of that: what counts is when the question was asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Former processes that are remembered. At the limit the one that was replaced first is forgotten.
const FORMER_MAX: usize = 8;

/// So many returns make a clone. One alone is also what a machine does that was set back to a snapshot of its memory.
const RETURNS_MIN: u32 = 2;

/// So long after its last return a clone counts as gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// Those that were replaced, the latest last.
    former: Vec<Former>,
    /// Those that came back.
    returns: Option<Returns>,
}

/// A process that another one replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    instance: String,
    hostname: String,
    /// When the answer of the one that replaced it was received.
    replaced_at: Timestamp,
}

/// Processes that answered again after another one had answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Returns {
    count: u32,
    last_at: Timestamp,
    /// What the machines call themselves: of the process that came back, and of the one before it.
    hostnames: (String, String),
}

/// An answer, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The process that answered.
    pub instance: &'a str,
    /// What its machine calls itself.
    pub hostname: &'a str,
    /// When the question was asked.
    pub asked_at: Timestamp,
}

impl Instances {
    /// True for an answer of a process that was replaced meanwhile: it says nothing of what is now.
    pub fn is_late(&self, answer: Answer<'_>) -> bool {
        self.former(answer.instance).is_some_and(|former| answer.asked_at < former.replaced_at)
    }

    /// What is known after an answer that was received at `now`. `before` is the process that answered last, with what its
    /// machine calls itself.
    pub fn after(&self, before: Option<(&str, &str)>, answer: Answer<'_>, now: Timestamp) -> Self {
        let mut next = self.at(now);
        let Some((instance, hostname)) = before.filter(|(instance, _)| *instance != answer.instance) else {
            return next;
        };
        if next.former(answer.instance).is_some() && !self.is_late(answer) {
            let count = next.returns.map_or(0, |returns| returns.count).saturating_add(1);
            let hostnames = (answer.hostname.to_owned(), hostname.to_owned());
            next.returns = Some(Returns { count, last_at: now, hostnames });
        }
        next.former.retain(|former| former.instance != answer.instance);
        let former = Former { instance: instance.to_owned(), hostname: hostname.to_owned(), replaced_at: now };
        next.former.push(former);
        let excess = next.former.len().saturating_sub(FORMER_MAX);
        next.former.drain(..excess);
        next
    }

    /// What is left at a moment: returns that are long over are forgotten. None of them lies in the future: the clock was
    /// set back since.
    pub fn at(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.returns = next.returns.map(|returns| Returns { last_at: returns.last_at.min(now), ..returns });
        next.returns = next.returns.filter(|returns| now.since(returns.last_at) < FORGOTTEN_AFTER);
        for former in &mut next.former {
            former.replaced_at = former.replaced_at.min(now);
        }
        next
    }

    /// That two machines answer with one identity, in a sentence; `None` where nothing says so.
    pub fn clone_sentence(&self) -> Option<String> {
        let returns = self.returns.as_ref().filter(|returns| returns.count >= RETURNS_MIN)?;
        let (one, other) = &returns.hostnames;
        let names = if one == other { format!("both {one}") } else { format!("{one} and {other}") };
        Some(format!(
            "two machines answer with its identity (they call themselves {names}): {} times a process answered that \
             another one had replaced, last at {}. Nothing is upgraded here until one of them has an identity of its own",
            returns.count,
            returns.last_at.minutes()
        ))
    }

    /// True where two machines answer with one identity.
    pub fn is_cloned(&self) -> bool {
        self.returns.as_ref().is_some_and(|returns| returns.count >= RETURNS_MIN)
    }

    fn former(&self, instance: &str) -> Option<&Former> {
        self.former.iter().find(|former| former.instance == instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    /// Who answered, when it was asked, and when the answer came.
    fn heard(answers: &[(&str, i64, i64)]) -> Instances {
        let (mut instances, mut last): (Instances, Option<String>) = (Instances::default(), None);
        for (instance, asked_at, now) in answers {
            let hostname = format!("host-{instance}");
            let answer = Answer { instance, hostname: &hostname, asked_at: Timestamp(*asked_at) };
            let before = last.as_ref().map(|last| (last.clone(), format!("host-{last}")));
            let before = before.as_ref().map(|(instance, hostname)| (instance.as_str(), hostname.as_str()));
            instances = instances.after(before, answer, Timestamp(*now));
            last = Some((*instance).to_owned());
        }
        instances
    }

    #[test]
    fn processes_that_follow_each_other_are_one_machine_however_often_it_restarts() {
        let many: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
        let answers: Vec<(&str, i64, i64)> =
            many.iter().zip(0..).map(|(p, n)| (p.as_str(), n * 10, n * 10 + 1)).collect();
        let instances = heard(&answers);
        assert!(!instances.is_cloned());
        assert_eq!(instances.former.len(), FORMER_MAX);
    }

    #[test]
    fn a_process_that_comes_back_twice_is_a_clone_and_both_names_are_told() {
        let once = [("a", 10, 11), ("b", 20, 21), ("a", 30, 31)];
        assert!(!heard(&once).is_cloned(), "a snapshot of its memory does that too");
        let twice = heard(&[once[0], once[1], once[2], ("b", 40, 41)]);
        assert!(twice.is_cloned());
        let sentence = twice.clone_sentence().unwrap();
        assert!(sentence.contains("host-b and host-a") && sentence.contains("2 times"), "{sentence}");
    }

    #[test]
    fn two_machines_that_restart_between_their_answers_are_found_as_soon_as_both_come_back() {
        let answers = [("a", 10, 11), ("b", 20, 21), ("a2", 30, 31), ("b", 40, 41), ("a2", 50, 51)];
        assert!(heard(&answers).is_cloned());
    }

    #[test]
    fn a_late_answer_of_the_old_process_after_a_restart_is_no_return() {
        // It was asked before its successor answered, and its answer came after.
        let mut answers =
            vec![("a", 10, 11), ("b", 20, 21), ("a", 15, 22), ("b", 30, 31), ("a", 16, 32), ("b", 40, 41)];
        assert!(!heard(&answers[..3]).is_cloned());
        let instances = heard(&answers[..2]);
        assert!(instances.is_late(Answer { instance: "a", hostname: "h", asked_at: Timestamp(15) }));
        assert!(!instances.is_late(Answer { instance: "a", hostname: "h", asked_at: Timestamp(21) }));
        assert!(!instances.is_late(Answer { instance: "c", hostname: "h", asked_at: Timestamp(15) }));
        // Where late answers are left out, as the inventory does, nothing is left of them.
        answers.retain(|(instance, asked_at, _)| !(*instance == "a" && *asked_at > 10));
        assert_eq!(heard(&answers).returns, None);
    }

    #[test]
    fn a_clone_that_is_not_seen_for_a_day_is_forgotten() {
        let cloned = heard(&[("a", 10, 11), ("b", 20, 21), ("a", 30, 31), ("b", 40, 41)]);
        assert!(cloned.at(Timestamp(23 * HOUR)).is_cloned());
        assert!(!cloned.at(Timestamp(25 * HOUR)).is_cloned());
        let slow = heard(&[("a", 10, 11), ("b", 20, 21), ("a", 30, 31), ("b", 30 * HOUR, 30 * HOUR)]);
        assert!(!slow.is_cloned(), "two returns within a day");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_clone_for_ever() {
        let cloned = heard(&[("a", 1000 * HOUR, 1000 * HOUR), ("b", 1000 * HOUR + 1, 1000 * HOUR + 2)]);
        let asked_at = Timestamp(5);
        let cloned = cloned.at(Timestamp(4)).after(
            Some(("b", "h")),
            Answer { instance: "a", hostname: "h", asked_at },
            Timestamp(6),
        );
        let cloned = cloned.after(
            Some(("a", "h")),
            Answer { instance: "b", hostname: "h", asked_at: Timestamp(7) },
            Timestamp(8),
        );
        assert!(cloned.is_cloned());
        assert!(!cloned.at(Timestamp(-1)).at(Timestamp(25 * HOUR)).is_cloned());
    }
}
