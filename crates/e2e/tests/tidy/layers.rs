//! Who may know whom within a crate.

use crate::rule::Rule;
use crate::source::Source;

/// What decides takes values and `now`: no database, no network, no runtime.
const IMPURE: [&str; 6] = ["sqlx", "axum", "tonic", "tokio", "hyper_util", "reqwest"];

/// Ways to read a clock.
const CLOCKS: [&[&str]; 5] =
    [&["SystemTime"], &["Instant", "now"], &["Utc", "now"], &["OffsetDateTime", "now_utc"], &["SystemClock"]];

/// The two files that know the messages on the wire.
const EDGES: [&str; 2] = ["server/src/tentacle/grpc.rs", "agent/src/service.rs"];

/// Literals that begin like this are SQL.
const SQL: [&str; 7] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE FROM ", "PRAGMA ", "WITH ", "CREATE TABLE "];

fn is_pure(source: &Source) -> bool {
    const PURE: [&str; 13] = [
        "phase",
        "strategy",
        "absent",
        "calendar",
        "hindrance",
        "state",
        "plan",
        "ahead",
        "advance",
        "gate",
        "settle",
        "course",
        "why",
    ];
    PURE.iter().any(|name| source.path == format!("server/src/rollout/{name}.rs"))
}

/// What the portal shows and answers: a handler writes a wish and pokes a loop.
fn is_handler(source: &Source) -> bool {
    source.path.starts_with("server/src/pages/") || source.path.starts_with("server/src/api/")
}

#[test]
fn what_decides_does_no_input_or_output() {
    let rule = Rule {
        advice: "what decides in rollout/ is pure: move the input or output to the orchestrator, and hand \
                 its result in as a value",
        broken: |source| {
            let all = IMPURE.iter().flat_map(|name| source.lines_with_path(&[name]));
            if is_pure(source) { all.collect() } else { Vec::new() }
        },
    };
    rule.holds();
    rule.catches("server/src/rollout/plan.rs", "use tokio::time::{self, sleep};")
        .catches("server/src/rollout/state.rs", "fn f(c: &mut sqlx::SqliteConnection) {}")
        .allows("server/src/rollout/plan.rs", "/// tokio::time\nuse crate::clock::Timestamp;")
        .allows("server/src/rollout/execute.rs", "use tokio::time;");
}

#[test]
fn what_decides_reads_no_clock() {
    let rule = Rule {
        advice: "time is a parameter of what decides in rollout/: take `now` from the caller",
        broken: |source| {
            let all = CLOCKS.iter().flat_map(|clock| source.lines_with_path(clock));
            if is_pure(source) { all.collect() } else { Vec::new() }
        },
    };
    rule.holds();
    rule.catches("server/src/rollout/plan.rs", "fn f() { let now = std::time::Instant::now(); }")
        .catches("server/src/rollout/state.rs", "use std::time::{Duration, SystemTime};")
        .catches("server/src/rollout/state.rs", "use crate::clock::SystemClock;")
        .allows("server/src/rollout/plan.rs", "use std::time::Duration;");
}

#[test]
fn a_handler_never_calls_a_machine() {
    let rule = Rule {
        advice: "pages and api never call a machine: write the wish down and poke a loop",
        broken: |source| {
            let imports = source.lines_with_path(&["tentacle"]).into_iter();
            let members = source.members.iter().filter(|member| member.what == "tentacles").map(|member| member.line);
            let all = imports.chain(members).filter(|line| source.is_product(*line));
            if is_handler(source) { all.collect() } else { Vec::new() }
        },
    };
    rule.holds();
    rule.catches("server/src/pages/machines.rs", "use crate::{app::App, tentacle::Target};")
        .catches("server/src/pages/machines.rs", "use crate::{app::App, tentacle};")
        .catches("server/src/api/machines.rs", "fn f(app: &App) { app.tentacles.status(); }")
        .allows("server/src/api/machines.rs", "fn f() { let tentacle = 1; }")
        .allows("server/src/health.rs", "use crate::tentacle::Target;");
}

#[test]
fn messages_on_the_wire_stay_at_the_two_edges() {
    let rule = Rule {
        advice: "only server/src/tentacle/grpc.rs and agent/src/service.rs know `octopus_proto::wire`: use the domain \
                 types of octopus_proto here",
        broken: |source| {
            let ours = source.path.starts_with("server/src/") || source.path.starts_with("agent/src/");
            let all = source.lines_with_path(&["octopus_proto", "wire"]);
            if ours && !EDGES.contains(&source.path.as_str()) { all } else { Vec::new() }
        },
    };
    rule.holds();
    rule.catches("server/src/health.rs", "use octopus_proto::{Ticket, wire};")
        .catches("agent/src/status.rs", "fn f(s: octopus_proto::wire::Status) {}")
        .allows("server/src/tentacle/grpc.rs", "use octopus_proto::wire::StartRequest;")
        .allows("agent/src/status.rs", "use octopus_proto::Status;");
}

#[test]
fn sql_lives_in_the_database_modules() {
    let rule = Rule {
        advice: "SQL lives in server/src/db, a file for each noun: make it a function `noun_verb` there",
        broken: |source| {
            let db = source.path.starts_with("server/src/db/");
            let queries = source
                .paths
                .iter()
                .filter(|path| path.what[0] == "sqlx" && path.what.iter().any(|segment| segment.starts_with("query")));
            let is_sql = |text: &str| {
                let text = text.trim_start_matches(['r', '#', '"', ' ', '\n', '\\']);
                SQL.iter().any(|start| text.starts_with(start))
            };
            let literals = source.literals.iter().filter(|literal| is_sql(&literal.what));
            let all = queries.map(|found| found.line).chain(literals.map(|found| found.line));
            let product = all.filter(|line| source.is_product(*line));
            if !db && source.path.starts_with("server/src/") { product.collect() } else { Vec::new() }
        },
    };
    rule.holds();
    rule.catches("server/src/pages/tasks.rs", "fn f() { sqlx::query_as(\"x\"); }")
        .catches("server/src/pages/tasks.rs", "use sqlx::{Row, query};")
        .catches("server/src/store.rs", "const Q: &str = r#\"SELECT id FROM packages\"#;")
        .allows("server/src/db/tasks.rs", "fn f() { sqlx::query(\"SELECT 1\"); }")
        .allows("server/src/store.rs", "/// SELECT\nconst Q: &str = \"Select a package\";")
        .allows("server/src/store.rs", "#[cfg(test)]\nmod tests { fn f() { sqlx::query(\"DELETE FROM packages\"); } }");
}

#[test]
fn only_one_file_ends_a_process_early() {
    let rule = Rule {
        advice: "only agent/src/exit.rs ends a process early: return an exit code from main",
        broken: |source| {
            let ends = ["exit", "abort"].iter().flat_map(|end| source.lines_with_path(&["process", end]));
            let product = ends.filter(|line| source.is_product(*line));
            if source.path == "agent/src/exit.rs" { Vec::new() } else { product.collect() }
        },
    };
    rule.holds();
    rule.catches("server/src/main.rs", "fn main() { std::process::exit(1); }")
        .catches("crates/xtask/src/main.rs", "use std::process::{Command, exit};")
        .allows("agent/src/exit.rs", "fn end() { std::process::exit(0); }")
        .allows("server/src/main.rs", "use std::process::ExitCode;");
}

#[test]
fn platforms_differ_in_sys_modules_only() {
    let rule = Rule {
        advice: "what differs by platform lives in the `sys` module of its crate: move it there, under one name for all \
                 platforms",
        broken: |source| {
            let platforms = ["target_os", "target_family", "target_arch", "target_env", "unix", "windows"];
            let is_cfg = |names: &[String]| {
                names.first().is_some_and(|name| name == "cfg" || name == "cfg_attr")
                    && names.iter().any(|name| platforms.contains(&name.as_str()))
            };
            let cfgs = source.attributes.iter().filter(|found| is_cfg(&found.what)).map(|found| found.line);
            let macros = source.macros.iter().filter(|found| found.what == "cfg").map(|found| found.line);
            let sys = source.path.contains("/sys/") || source.path.ends_with("/sys.rs");
            let product = cfgs.chain(macros).filter(|line| source.is_product(*line));
            if sys { Vec::new() } else { product.collect() }
        },
    };
    rule.holds();
    rule.catches("agent/src/run.rs", "#[cfg(target_os = \"linux\")]\nfn f() {}")
        .catches("agent/src/run.rs", "#[cfg(all(unix, not(test)))]\nfn f() {}")
        .catches("agent/src/run.rs", "fn f() { if cfg!(unix) {} }")
        .allows("agent/src/sys.rs", "#[cfg(unix)]\nfn f() {}")
        .allows("agent/tests/run.rs", "#[cfg(unix)]\nfn f() {}")
        .allows("agent/src/run.rs", "#[cfg(test)]\nmod tests { #[cfg(unix)]\nfn f() {} }");
}
