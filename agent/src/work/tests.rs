//! Work from the order to the end state, with real packages and real scripts.

use std::collections::BTreeMap;
use std::path::Path;

use contract::{Home, Sha256, Version};
use octopus_proto::{LogLine, WATCH_WAIT_MAX};
use package::PackRequest;

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    home: Home,
    works: Arc<Works>,
}

fn open(home: &Home) -> Arc<Works> {
    Works::open(home.clone(), Arc::new(Uploads::open(home.packages())))
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    package::prepare_home(&home).unwrap();
    let works = open(&home);
    Fixture { folder, home, works }
}

impl Fixture {
    /// A package with these scripts that was uploaded.
    fn package(&self, id: &str, scripts: &[(&str, &str)]) -> Sha256 {
        let id = id.parse().unwrap();
        let mut files = Vec::new();
        for (name, text) in scripts {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            files.push((path, (*name).to_owned()));
        }
        let (version, description) = (Version::release(1, 0, 0), "d");
        let request = PackRequest { id: &id, version: &version, description, authors: "a", files: &files };
        let path = package::pack(&request, self.folder.path()).unwrap();
        let (sha256, _) = package::sha256_file(&path).unwrap();
        std::fs::rename(path, self.home.packages().join(format!("{sha256}.nupkg"))).unwrap();
        sha256
    }

    fn start(&self, ticket: &str, package: Sha256) -> Result<(), Refusal> {
        self.works.start(start(ticket, package))
    }

    async fn run(&self, ticket: &str, package: Sha256) -> (WorkState, Vec<LogLine>) {
        self.start(ticket, package).unwrap();
        end_of(&self.works, ticket).await
    }
}

fn start(ticket: &str, package: Sha256) -> Start {
    let map = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let (variables, sensitive) = (map("Web.Port", "80"), map("Password", "hunter2"));
    let work = Work::Install { package, environment: "Production".parse().unwrap(), variables, sensitive };
    Start { ticket: ticket.parse().unwrap(), description: format!("work {ticket}"), work }
}

/// Watches as a portal does: line after line until the end.
async fn end_of(works: &Works, ticket: &str) -> (WorkState, Vec<LogLine>) {
    let mut lines: Vec<LogLine> = Vec::new();
    loop {
        let after = lines.last().map_or(0, |line| line.seq);
        let watch = Watch { ticket: ticket.parse().unwrap(), after, wait: WATCH_WAIT_MAX };
        let progress = works.watch(watch, &CancellationToken::new()).await.unwrap();
        lines.extend(progress.lines);
        assert!(lines.iter().map(|line| line.seq).eq(1..=lines.len() as u64), "no line twice, none left out");
        if progress.state.is_final() {
            return (progress.state, lines);
        }
    }
}

fn has(lines: &[LogLine], level: octopus_proto::LogLevel, text: &str) -> bool {
    lines.iter().any(|line| line.level == level && line.text == text)
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("10 s went by without: {what}");
}

use octopus_proto::LogLevel::{Error, Info, Warning};

#[tokio::test]
async fn scripts_run_in_order_in_the_folder_of_the_package_with_their_variables() {
    let fixture = fixture();
    let package = fixture.package(
        "Acme.Web",
        &[
            ("PreDeploy.sh", "pwd; echo one >&2"),
            (
                "Deploy.sh",
                "echo port $OCTOPUS_WEB_PORT $OCTOPUS_PACKAGE_ID $OCTOPUS_PACKAGE_VERSION $OCTOPUS_ENVIRONMENT",
            ),
            ("PostDeploy.sh", "env | grep -c hunter2; grep -c hunter2 $OCTOPUS_VARIABLES_FILE; cat; echo end"),
            ("DeployFailed.sh", "echo never"),
        ],
    );
    let (state, lines) = fixture.run("t1", package).await;
    assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    let folder = fixture.home.applications().join("Production/Acme.Web/1.0.0");
    assert!(has(&lines, Info, folder.to_str().unwrap()), "{lines:?}");
    assert!(has(&lines, Warning, "one"));
    assert!(has(&lines, Info, "port 80 Acme.Web 1.0.0 Production"));
    assert!(has(&lines, Info, "0") && has(&lines, Info, "1"), "the secret is in the file and not in the environment");
    assert!(has(&lines, Info, "end"), "stdin is empty and does not hang");
    assert!(!has(&lines, Info, "never"));
    assert!(!fixture.home.work().join("t1/variables").exists());
    let order = std::fs::read_to_string(fixture.home.work().join("t1/order")).unwrap();
    assert!(!order.contains("hunter2"), "{order}");
}

#[tokio::test]
async fn a_script_that_fails_fails_the_work_and_deploy_failed_runs() {
    let fixture = fixture();
    let scripts = [("Deploy.sh", "exit 3"), ("PostDeploy.sh", "echo never"), ("DeployFailed.sh", "echo cleaning")];
    let package = fixture.package("Acme.Web", &scripts);
    let (state, lines) = fixture.run("t1", package).await;
    let WorkState::Failed { reason } = state else { panic!("{state:?}") };
    assert!(reason.contains("Deploy.sh ended with exit status: 3"), "{reason}");
    assert!(has(&lines, Info, "cleaning") && !has(&lines, Info, "never"));
    assert!(has(&lines, Error, &reason));
}

#[tokio::test]
async fn the_same_order_runs_once_and_another_one_under_its_ticket_is_refused() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[("Deploy.sh", "echo ran")]);
    fixture.start("t1", package).unwrap();
    fixture.start("t1", package).unwrap();
    let (_, lines) = end_of(&fixture.works, "t1").await;
    fixture.start("t1", package).unwrap();
    assert_eq!(lines.iter().filter(|line| line.text == "ran").count(), 1);
    let other = fixture.package("Acme.Other", &[]);
    assert_eq!(fixture.start("t1", other).unwrap_err().kind, RefusalKind::TicketReused);
    assert!(!fixture.home.applications().join("Production/Acme.Web/1.0.0_1").exists());

    let works = open(&fixture.home);
    works.start(start("t1", package)).unwrap();
    assert_eq!(works.start(start("t1", other)).unwrap_err().kind, RefusalKind::TicketReused);
    assert_eq!(end_of(&works, "t1").await, (WorkState::Succeeded, lines), "the end and the log survive a restart");
}

#[tokio::test]
async fn work_that_was_running_when_tentacle_died_has_an_unknown_result() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[("Deploy.sh", "echo begun; sleep 60")]);
    fixture.start("t1", package).unwrap();
    let watch = Watch { ticket: "t1".parse().unwrap(), after: 3, wait: WATCH_WAIT_MAX };
    fixture.works.watch(watch, &CancellationToken::new()).await.unwrap();

    assert!(fixture.home.work().join("t1/variables").exists());
    let works = open(&fixture.home);
    assert!(!fixture.home.work().join("t1/variables").exists(), "no secret outlives the process for long");
    let (state, lines) = end_of(&works, "t1").await;
    assert!(matches!(state, WorkState::UnknownResult { .. }), "{state:?}");
    assert!(has(&lines, Info, "begun"), "{lines:?}");
    assert!(works.running().is_empty());
    fixture.works.cancel(&"t1".parse().unwrap()).unwrap();
    end_of(&fixture.works, "t1").await;
}

#[tokio::test]
async fn cancel_ends_the_whole_group_even_what_ignores_the_first_word() {
    let fixture = fixture();
    let script =
        "trap '' TERM; (trap '' TERM; echo $BASHPID; exec sleep 60) & echo begun; while true; do sleep 60; done";
    let package = fixture.package("Acme.Web", &[("Deploy.sh", script), ("DeployFailed.sh", "echo never")]);
    fixture.start("t1", package).unwrap();
    let watch = |after| Watch { ticket: "t1".parse().unwrap(), after, wait: WATCH_WAIT_MAX };
    let mut lines = Vec::new();
    while !(has(&lines, Info, "begun") && lines.len() >= 5) {
        let after = lines.last().map_or(0, |line: &LogLine| line.seq);
        lines.extend(fixture.works.watch(watch(after), &CancellationToken::new()).await.unwrap().lines);
    }
    fixture.works.cancel(&"t1".parse().unwrap()).unwrap();
    let (state, lines) = end_of(&fixture.works, "t1").await;
    assert_eq!(state, WorkState::Cancelled, "{lines:?}");
    assert!(!has(&lines, Info, "never"));
    let grandchild: u32 = lines.iter().find_map(|line| line.text.parse().ok()).unwrap();
    until("the grandchild is dead", || crate::sys::is_zombie(grandchild)).await;
    fixture.works.cancel(&"t1".parse().unwrap()).unwrap();
    assert_eq!(end_of(&fixture.works, "t1").await.0, WorkState::Cancelled, "an end state never changes");
}

#[tokio::test]
async fn what_a_script_leaves_running_does_not_hang_the_work() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[("Deploy.sh", "sleep 20 & echo $!; echo done")]);
    let started = std::time::Instant::now();
    let (state, lines) = fixture.run("t1", package).await;
    assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(lines.iter().any(|line| line.level == Warning && line.text.contains("no longer read")), "{lines:?}");
    let left: u32 = lines.iter().find_map(|line| line.text.parse().ok()).unwrap();
    crate::sys::end_process(left);
}

#[tokio::test]
async fn work_on_the_same_package_and_environment_runs_one_after_the_other() {
    let fixture = fixture();
    let script = "mkdir ../lock || exit 1; sleep 0.3; rmdir ../lock";
    let package = fixture.package("Acme.Web", &[("Deploy.sh", script)]);
    for ticket in ["t1", "t2", "t3"] {
        fixture.start(ticket, package).unwrap();
    }
    assert_eq!(fixture.works.running().len(), 3);
    for ticket in ["t1", "t2", "t3"] {
        let (state, lines) = end_of(&fixture.works, ticket).await;
        assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    }
    assert!(fixture.works.running().is_empty());
    assert!(fixture.works.drained(0, Duration::from_secs(1)).await);
}

#[tokio::test]
async fn a_package_that_is_missing_or_damaged_is_told() {
    let fixture = fixture();
    assert_eq!(fixture.start("t1", Sha256([1; 32])).unwrap_err().kind, RefusalKind::BadPackage);
    assert!(!fixture.home.work().join("t1").exists(), "a refused order leaves nothing");
    let sha256 = Sha256([2; 32]);
    std::fs::write(fixture.home.packages().join(format!("{sha256}.nupkg")), "junk").unwrap();
    let (state, _) = fixture.run("t2", sha256).await;
    assert!(matches!(state, WorkState::Failed { .. }), "{state:?}");
    let unknown = Watch { ticket: "t9".parse().unwrap(), after: 0, wait: Duration::ZERO };
    let refusal = fixture.works.watch(unknown, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::UnknownTicket);
}

#[tokio::test]
async fn a_closed_gate_takes_no_new_work_but_knows_the_old() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[]);
    fixture.run("t1", package).await;
    let order = octopus_proto::UpgradeOrder {
        ticket: "u1".parse().unwrap(),
        package: Some(package),
        version: Version::release(2, 0, 0),
        generation: 1,
        expected: Version::release(1, 0, 0),
        drain_ms: 0,
    };
    let accepted = fixture.works.accept_upgrade(&order.ticket, Record::of_upgrade(&order)).unwrap();
    let Accepted::New(job) = accepted else { panic!("it is new") };
    assert_eq!(fixture.start("t2", package).unwrap_err().kind, RefusalKind::Ending);
    assert_eq!(fixture.works.refuse_when_upgrading().unwrap_err().kind, RefusalKind::Busy);
    fixture.start("t1", package).unwrap();
    fixture.works.finish(&job, WorkState::Cancelled);
    fixture.works.reopen();
    assert_eq!(fixture.run("t2", package).await.0, WorkState::Succeeded);
    fixture.works.close_for_good();
    fixture.works.reopen();
    assert_eq!(fixture.start("t3", package).unwrap_err().kind, RefusalKind::Ending);
}

#[tokio::test]
async fn a_long_log_is_watched_in_pieces_and_its_end_comes_last() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[("Deploy.sh", "for i in $(seq 1 1000); do echo line $i; done")]);
    let (state, lines) = fixture.run("t1", package).await;
    assert_eq!(state, WorkState::Succeeded);
    assert_eq!(lines.iter().filter(|line| line.text.starts_with("line ")).count(), 1000);
}

#[tokio::test]
async fn old_tickets_are_forgotten_and_so_are_orders_that_were_never_accepted() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[]);
    fixture.run("t1", package).await;
    let order = fixture.home.work().join("t1/order");
    let text = std::fs::read_to_string(&order).unwrap();
    let since = text.split("\"since\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    std::fs::write(&order, text.replace(&since, "1")).unwrap();
    std::fs::create_dir(fixture.home.work().join("t2")).unwrap();
    std::fs::write(fixture.home.work().join("t2/log"), "").unwrap();
    let works = open(&fixture.home);
    assert!(works.running().is_empty());
    assert!(!order.exists() && !fixture.home.work().join("t2").exists());
}

#[tokio::test]
async fn whatever_is_damaged_in_the_record_of_a_ticket_its_work_is_not_done_again() {
    type Harm = fn(&Path);
    let junk: Harm = |path| std::fs::write(path, "junk").unwrap();
    let folder: Harm = |path| {
        let _ = std::fs::remove_file(path);
        std::fs::create_dir_all(path.join("sub")).unwrap();
    };
    let gone: Harm = |path| std::fs::remove_file(path).unwrap();
    let harms = [
        ("order", junk, true),
        ("order", folder, true),
        ("order", gone, true),
        ("log", junk, true),
        ("log", folder, true),
        ("log", gone, true),
        ("other", folder, true),
        ("state", junk, false),
        ("state", folder, false),
    ];
    for (number, (name, harm, end_is_known)) in harms.into_iter().enumerate() {
        let mut fixture = fixture();
        let marks = fixture.home.path().join("marks");
        let package = fixture.package("Acme.Web", &[("Deploy.sh", &format!("echo x >> {}", marks.display()))]);
        fixture.run("t1", package).await;
        harm(&fixture.home.work().join("t1").join(name));
        // The second time it is read as it was written down the first time.
        for _ in 0..2 {
            fixture.works = open(&fixture.home);
            fixture.start("t1", package).unwrap();
            let (state, _) = end_of(&fixture.works, "t1").await;
            let is_unknown = matches!(state, WorkState::UnknownResult { .. });
            assert!(if end_is_known { state == WorkState::Succeeded } else { is_unknown }, "{number}: {state:?}");
            assert_eq!(std::fs::read_to_string(&marks).unwrap(), "x\n", "{number}");
        }
    }
}

#[tokio::test]
async fn a_folder_of_the_work_that_is_deleted_is_made_again_and_what_runs_is_told_to_its_end() {
    let mut fixture = fixture();
    let go = fixture.home.path().join("go");
    let script = format!("echo before; until [ -e {} ]; do sleep 0.02; done; echo after", go.display());
    let package = fixture.package("Acme.Web", &[("Deploy.sh", &script)]);
    fixture.start("t1", package).unwrap();
    until("it runs", || fixture.works.job(&"t1".parse().unwrap()).unwrap().progress(0).unwrap().lines.len() > 2).await;
    std::fs::remove_dir_all(fixture.home.work()).unwrap();
    std::fs::write(&go, "").unwrap();
    let (state, lines) = end_of(&fixture.works, "t1").await;
    assert_eq!(state, WorkState::Succeeded);
    assert!(has(&lines, Info, "before") && has(&lines, Info, "after"));
    let (state, _) = fixture.run("t2", package).await;
    assert_eq!(state, WorkState::Succeeded);

    fixture.works = open(&fixture.home);
    fixture.start("t1", package).unwrap();
    assert_eq!(end_of(&fixture.works, "t1").await.0, WorkState::Succeeded, "and the next process knows it");
}

#[tokio::test]
async fn a_log_that_is_cut_while_it_is_watched_says_so_and_comes_to_its_end() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[("Deploy.sh", "echo hello")]);
    fixture.run("t1", package).await;
    std::fs::write(fixture.home.work().join("t1/log"), "").unwrap();
    let progress = fixture.works.job(&"t1".parse().unwrap()).unwrap().progress(0).unwrap();
    assert_eq!(progress.state, WorkState::Succeeded);
    assert!(has(&progress.lines, Warning, "the log is damaged from here on"), "{progress:?}");
}

#[tokio::test]
async fn where_the_work_cannot_be_read_nothing_is_taken_and_everything_else_goes_on() {
    let mut fixture = fixture();
    let package = fixture.package("Acme.Web", &[]);
    std::fs::remove_dir_all(fixture.home.work()).unwrap();
    std::fs::write(fixture.home.work(), "not a folder").unwrap();
    fixture.works = open(&fixture.home);
    assert_eq!(fixture.start("t1", package).unwrap_err().kind, RefusalKind::Internal);
}

#[tokio::test]
async fn the_last_words_of_a_script_count_though_no_line_end_follows_and_its_child_holds_the_output_open() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[("Deploy.sh", "printf half; printf bad >&2; sleep 20 & exit 3")]);
    let (state, lines) = fixture.run("t1", package).await;
    assert!(matches!(state, WorkState::Failed { .. }), "{state:?}");
    for (level, text) in [(Info, "half"), (Warning, "bad")] {
        assert!(lines.iter().any(|line| line.level == level && line.text == text), "{text} in {lines:?}");
    }
}

#[tokio::test]
async fn a_variable_that_no_environment_can_hold_is_told_in_the_log_and_is_in_the_file() {
    let fixture = fixture();
    let package = fixture.package("Acme.Web", &[("Deploy.sh", "grep -c Long \"$OCTOPUS_VARIABLES_FILE\"; env")]);
    let mut order = start("t1", package);
    let Work::Install { variables, .. } = &mut order.work;
    variables.insert("Long".to_owned(), "x".repeat(200_000));
    fixture.works.start(order).unwrap();
    let (state, lines) = end_of(&fixture.works, "t1").await;
    assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    let warnings: Vec<_> = lines.iter().filter(|line| line.level == Warning).collect();
    assert!(warnings.len() == 1 && warnings[0].text.contains("\"Long\" is not in the environment"), "{warnings:?}");
    assert!(lines.iter().any(|line| line.text == "1") && !lines.iter().any(|line| line.text.contains("OCTOPUS_LONG=")));
}
