//! What every file must be like.

use crate::rule::Rule;
use crate::source::{SOURCES, Source, root};

/// Lines of a file before the tests that stand beside its code. A longer one is two things: make it two files.
const LINES_MAX: usize = 600;

/// Lines of a `main.rs`: signals and logging, config, `run()`, exit code. The rest belongs elsewhere.
const MAIN_LINES_MAX: usize = 60;

fn is_main(source: &Source) -> bool {
    source.path.ends_with("src/main.rs")
}

#[test]
fn every_file_says_what_it_is_for() {
    let rule = Rule {
        advice: "open the file with `//!`: what lives here, who may call it, what never happens here",
        broken: |source| if source.is_rust() && !source.text.starts_with("//! ") { vec![1] } else { Vec::new() },
    };
    rule.holds();
    rule.catches("server/src/run.rs", "use a::b;\n")
        .catches("server/build.rs", "")
        .allows("server/build.rs", "//! Builds.");
}

#[test]
fn files_stay_small() {
    let rule = Rule {
        advice: "a file has at most 600 lines before its tests, and a main.rs at most 60: it has become two things, so \
                 make it two files",
        broken: |source| {
            let max = if is_main(source) { MAIN_LINES_MAX } else { LINES_MAX };
            if source.is_rust() && source.lines_before_tests() > max { vec![max + 1] } else { Vec::new() }
        },
    };
    rule.holds();
    let lines = |number: usize| "// line\n".repeat(number);
    rule.catches("server/src/run.rs", &lines(601))
        .catches("server/src/main.rs", &lines(61))
        .allows("server/src/run.rs", &lines(600))
        .allows("server/src/run.rs", &format!("{}#[cfg(test)]\nmod tests {{\n{}}}", lines(600), lines(100)))
        .allows("server/tests/layers/main.rs", &lines(100));
}

#[test]
fn nothing_is_left_for_later() {
    let rule = Rule {
        advice: "finish it, or leave it out: no `todo!`, `unimplemented!` or `dbg!`, and no test that is ignored",
        broken: |source| {
            let unfinished = ["todo", "unimplemented", "dbg"];
            let macros = source.macros.iter().filter(|found| unfinished.contains(&found.what.as_str()));
            let ignored = source.attributes.iter().filter(|found| found.what.iter().any(|name| name == "ignore"));
            macros.map(|found| found.line).chain(ignored.map(|found| found.line)).collect()
        },
    };
    rule.holds();
    rule.catches("a/src/lib.rs", "fn f() { todo!() }")
        .catches("a/src/lib.rs", "fn f() { std::dbg!(1); }")
        .catches("a/src/lib.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}")
        .allows("a/src/lib.rs", "/// No `todo!` here\nfn ignore() {}");
}

#[test]
fn exceptions_to_lints_have_a_reason_and_an_end() {
    let rule = Rule {
        advice: "write `#[expect(…, reason = \"…\")]`: it says why, and goes when it is not needed any more",
        broken: |source| {
            let excuses = |names: &[String]| {
                names.iter().any(|name| name == "allow")
                    || names.iter().any(|name| name == "expect") && !names.iter().any(|name| name == "reason")
            };
            source.attributes.iter().filter(|found| excuses(&found.what)).map(|found| found.line).collect()
        },
    };
    rule.holds();
    rule.catches("a/src/lib.rs", "#[allow(dead_code)]\nfn f() {}")
        .catches("a/src/lib.rs", "#![allow(dead_code)]")
        .catches("a/src/lib.rs", "#[expect(dead_code)]\nfn f() {}")
        .catches("a/src/lib.rs", "#[cfg_attr(test, allow(dead_code))]\nfn f() {}")
        .allows("a/src/lib.rs", "#[expect(dead_code, reason = \"why\")]\nfn f() {}");
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let rule = Rule {
        advice: "a path of somebody's own computer means nothing to anybody else: say it without",
        broken: |source| {
            let foreign =
                [concat!("/wo", "rk/"), concat!("/tmp/", "tgt"), concat!("../", "shared"), concat!("/ro", "ot/")];
            let is_foreign = |line: &str| foreign.iter().any(|words| line.contains(words));
            let lines = source.text.lines().enumerate().filter(|(_, line)| is_foreign(line));
            lines.map(|(index, _)| index + 1).collect()
        },
    };
    rule.holds();
    rule.catches("README.md", concat!("See ../", "shared/x.md"))
        .catches("agent/src/lib.rs", concat!("//! As in /wo", "rk/main."))
        .allows("agent/src/lib.rs", "//! See docs/known-issues.md.");
}

#[test]
fn every_migration_has_a_way_down() {
    fn alone(names: &[String]) -> Vec<String> {
        let twin = |name: &str| {
            name.strip_suffix(".up.sql")
                .map(|stem| format!("{stem}.down.sql"))
                .or_else(|| name.strip_suffix(".down.sql").map(|stem| format!("{stem}.up.sql")))
        };
        names.iter().filter(|name| twin(name).is_none_or(|twin| !names.contains(&twin))).cloned().collect()
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(alone(&names(&["1_a.up.sql", "1_a.down.sql", "2_b.up.sql"])), ["2_b.up.sql"]);
    assert_eq!(alone(&names(&["1_a.down.sql", "2_b.sql"])), ["1_a.down.sql", "2_b.sql"]);

    let folder = std::fs::read_dir(root().join("migrations")).unwrap();
    let found: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!found.is_empty(), "there are no migrations");
    assert_eq!(alone(&found), [] as [&str; 0], "a migration is two files: NNNN_name.up.sql and NNNN_name.down.sql");
}

#[test]
fn templates_forget_no_state() {
    let rule = Rule {
        advice: "a template matches every state by name: with a catch-all arm, a state that the page forgets compiles",
        broken: |source| {
            let catches_all = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.windows(2).any(|pair| pair == ["when", "_"])
            };
            let template = source.path.starts_with("templates/");
            let lines = source.text.lines().enumerate().filter(|(_, line)| template && catches_all(line));
            lines.map(|(index, _)| index + 1).collect()
        },
    };
    rule.holds();
    rule.catches("templates/a.html", "{% match x %}{% when _ %}")
        .allows("templates/a.html", "{% match x %}{% when Phase::Waiting(_) %}");
}

#[test]
fn files_of_tests_are_files_too() {
    let all = &SOURCES;
    assert!(all.iter().any(|source| source.path == "crates/e2e/tests/tidy/files.rs"), "this very file was not found");
    assert!(all.iter().any(|source| source.path == ".ci/run"), "hidden folders are looked into");
}
