//! The checklist of Suction Cup names only tests that there are.

use std::collections::BTreeSet;

use crate::source::SOURCES;

const CHECKLIST: &str = "docs/suction-cup-checklist.md";

/// Properties on the list.
const LINES: usize = 62;

/// Every name in code quotes that can only be a test's: words with underscores and small letters.
fn named(text: &str) -> BTreeSet<&str> {
    let is_test = |name: &&str| {
        name.matches('_').count() >= 2 && name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

#[test]
fn every_test_that_the_checklist_names_exists() {
    let list = SOURCES.iter().find(|source| source.path == CHECKLIST).expect("the checklist is there");
    let names = named(&list.text);
    assert!(names.len() > LINES, "only {} tests are named", names.len());
    let exists = |name: &str| {
        let head = format!("fn {name}(");
        let attribute = |line: &str| line.trim_start().starts_with("#[") && line.contains("test");
        SOURCES.iter().filter(|source| source.is_rust()).any(|source| {
            let lines: Vec<_> = source.text.lines().collect();
            lines.windows(2).any(|two| two[1].contains(&head) && attribute(two[0]))
        })
    };
    let missing: Vec<_> = names.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{CHECKLIST} names tests that are not there: {missing:#?}");
    for number in 1..=LINES {
        let row = format!("\n| {number} | ");
        assert_eq!(list.text.matches(&row).count(), 1, "{CHECKLIST}: line {number}");
    }
    assert_eq!(named("`a_b_c` and `A_B_C`, `x`, `cargo bench`, `y_z`"), BTreeSet::from(["a_b_c"]));
}
