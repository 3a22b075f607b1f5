//! The checklist of Suction Cup and the list of faults name only tests that there are.

use std::collections::BTreeSet;

use crate::source::SOURCES;

/// Each list, and how many lines it has.
const LISTS: [(&str, usize); 2] = [("docs/suction-cup-checklist.md", 62), ("docs/faults.md", 25)];

/// Every name in code quotes that can only be a test's: words with underscores and small letters.
fn named(text: &str) -> BTreeSet<&str> {
    let is_test = |name: &&str| {
        name.matches('_').count() >= 2 && name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

fn exists(name: &str) -> bool {
    let head = format!("fn {name}(");
    let attribute = |line: &str| line.trim_start().starts_with("#[") && line.contains("test");
    SOURCES.iter().filter(|source| source.is_rust()).any(|source| {
        let lines: Vec<_> = source.text.lines().collect();
        lines.windows(2).any(|two| two[1].contains(&head) && attribute(two[0]))
    })
}

#[test]
fn every_test_that_a_list_names_exists() {
    for (path, lines) in LISTS {
        let list = SOURCES.iter().find(|source| source.path == path).expect("the list is there");
        let names = named(&list.text);
        assert!(names.len() > lines, "{path} names only {} tests", names.len());
        let missing: Vec<_> = names.into_iter().filter(|name| !exists(name)).collect();
        assert!(missing.is_empty(), "{path} names tests that are not there: {missing:#?}");
        for number in 1..=lines {
            let row = format!("\n| {number} | ");
            assert_eq!(list.text.matches(&row).count(), 1, "{path}: line {number}");
        }
    }
    assert_eq!(named("`a_b_c` and `A_B_C`, `x`, `cargo bench`, `y_z`"), BTreeSet::from(["a_b_c"]));
}
