//! Every page that the portal has is one of those that `cargo xtask screenshots` and the browser tests look at.

use std::collections::BTreeSet;

use xtask::Showroom;

use crate::source::SOURCES;

/// What is no page, is looked at by name, or is there only after a form was sent.
const ELSEWHERE: [&str; 5] = ["/", "/assets/{hash}/{*path}", "/login", "/events", "/registration-keys/{id}"];

/// The GET routes of pages in the table of rules, whatever their ids are called.
fn routes(rules: &str) -> BTreeSet<String> {
    let pages = rules.split("const PAGES").nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default();
    let gets = pages.lines().filter_map(|line| line.trim().strip_prefix("(\"GET\", \"")?.split('"').next());
    gets.filter(|route| !ELSEWHERE.contains(route)).map(nameless).collect()
}

fn nameless(route: &str) -> String {
    route.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

#[test]
fn every_page_is_looked_at() {
    let rules = SOURCES.iter().find(|source| source.path == "server/src/auth/rules.rs").expect("the rules are there");
    let (all, looked): (_, BTreeSet<String>) = (routes(&rules.text), Showroom::routes().map(nameless).collect());
    assert!(all.len() > 20, "{all:?}");
    let missing: Vec<_> = all.difference(&looked).collect();
    assert!(missing.is_empty(), "add these to PAGES in crates/xtask/src/showroom.rs: {missing:?}");
    let one = "const PAGES: … = &[\n    (\"GET\", \"/a/{id}\", User),\n    (\"POST\", \"/b\", User),\n];";
    assert_eq!(routes(one), BTreeSet::from(["/a/{}".to_owned()]));
}
