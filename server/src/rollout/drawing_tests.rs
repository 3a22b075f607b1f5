//! The drawings in `docs/rollout.md` are the tables in the code: every pair of names is drawn if and only if it is legal.
//!
//! An arrow whose words begin with "by hand" is taken by a person alone, one whose words hold "by hand" by a person too, and
//! every other by the planner alone.

use std::collections::BTreeSet;

use super::phase::PhaseKind;
use super::state::RolloutState;

/// Steps from one name to another.
type Steps = BTreeSet<(String, String)>;

/// What a drawing says.
#[derive(Default)]
struct Drawing {
    begins: BTreeSet<String>,
    planned: Steps,
    by_hand: Steps,
}

/// The drawing under a heading.
fn drawing(text: &str, heading: &str) -> Drawing {
    let section = text.split_once(&format!("## {heading}\n")).expect("the heading").1;
    let drawn = section.split_once("```mermaid\nstateDiagram-v2\n").expect("a drawing").1;
    let mut drawing = Drawing::default();
    for line in drawn.lines().take_while(|line| *line != "```") {
        let (from, rest) = line.trim().split_once(" --> ").unwrap_or_else(|| panic!("no arrow: {line}"));
        let (to, words) = rest.split_once(": ").unwrap_or((rest, ""));
        let step = (from.to_owned(), to.to_owned());
        if from == "[*]" {
            drawing.begins.insert(to.to_owned());
            continue;
        }
        if words.contains("by hand") {
            drawing.by_hand.insert(step.clone());
        }
        if !words.starts_with("by hand") {
            drawing.planned.insert(step);
        }
    }
    drawing
}

/// Every pair of names for which a table says yes.
fn table<T: Copy>(all: &[T], word: fn(T) -> &'static str, legal: impl Fn(T, T) -> bool) -> Steps {
    let pairs = all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to)));
    pairs
        .filter(|(from, to)| legal(*from, *to))
        .map(|(from, to)| (word(from).to_owned(), word(to).to_owned()))
        .collect()
}

/// Each pair in which a drawing and a table differ, in words.
fn differences(drawn: &Steps, coded: &Steps, who: &str) -> Vec<String> {
    let only = |one: &Steps, other: &Steps, where_: &str| {
        let pairs = one.difference(other).map(|(from, to)| format!("{from} --> {to} {who} is only in the {where_}"));
        pairs.collect::<Vec<_>>()
    };
    [only(drawn, coded, "drawing"), only(coded, drawn, "code")].concat()
}

fn docs() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rollout.md")).unwrap()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_drawing_of_a_machine_is_the_table_of_its_phases() {
    let drawn = drawing(&docs(), "One machine");
    let of = |legal: fn(PhaseKind, PhaseKind) -> bool| table(&PhaseKind::ALL, PhaseKind::word, legal);
    let mut found = differences(&drawn.planned, &of(PhaseKind::may_become), "by the planner");
    found.extend(differences(&drawn.by_hand, &of(PhaseKind::may_become_by_hand), "by hand"));
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(drawn.begins, names(&["Waiting"]));
}

#[test]
fn the_drawing_of_a_rollout_is_the_table_of_its_states() {
    let drawn = drawing(&docs(), "The rollout");
    let of = |legal: fn(RolloutState, RolloutState) -> bool| table(&RolloutState::ALL, RolloutState::word, legal);
    let mut found = differences(&drawn.planned, &of(RolloutState::may_become), "by the planner");
    found.extend(differences(&drawn.by_hand, &of(RolloutState::may_become_by_hand), "by hand"));
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(drawn.begins, names(&["Running", "Scheduled"]));
}

#[test]
fn an_arrow_too_many_and_one_too_few_are_told_by_their_names() {
    let text = "## It\n\n```mermaid\nstateDiagram-v2\n    [*] --> A\n    A --> B: well\n    B --> A: by hand\n    A --> A: \
                in time, or by hand\n```\n";
    let drawn = drawing(text, "It");
    let step = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(drawn.planned, BTreeSet::from([step("A", "A"), step("A", "B")]));
    assert_eq!(drawn.by_hand, BTreeSet::from([step("A", "A"), step("B", "A")]));
    let coded = BTreeSet::from([step("A", "B"), step("B", "B")]);
    let found = differences(&drawn.planned, &coded, "by the planner");
    assert_eq!(
        found,
        ["A --> A by the planner is only in the drawing", "B --> B by the planner is only in the code"],
        "{found:?}"
    );
}
