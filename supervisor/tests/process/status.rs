//! `suction-cup status`: told from the disk, true, and without disturbing anybody.

use std::process::{Command, Output};

use rustix::process::Signal;

use crate::support::{ONE_LAUNCH, PROVE, Place, STAY, SUCTION_CUP, another_user, send, wait_until};

fn status(place: &Place) -> (String, Option<i32>) {
    let output = Command::new(SUCTION_CUP).arg("status").arg("--home").arg(place.home.path()).output();
    told(&output.unwrap())
}

fn told(output: &Output) -> (String, Option<i32>) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

/// Asks until the answer holds these words; wants this exit code then.
fn tells(place: &Place, words: &str, exit: i32) -> String {
    let mut last = (String::new(), None);
    wait_until(words, || {
        last = status(place);
        last.0.contains(words)
    });
    assert_eq!(last.1, Some(exit), "{}", last.0);
    last.0
}

#[test]
fn what_runs_and_how_it_is_marked_is_told() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", "echo alas >&2; exit 1");
    let cup = place.run(&ONE_LAUNCH);
    let starts = place.wait_for_starts(2);
    let runs = format!("Tentacle 1.0.0 runs as process {} since 2", starts[1].pid);
    let text = tells(&place, &runs, 0);
    assert!(text.contains(&format!("Suction Cup runs as process {}.\n", cup.child.id())), "{text}");
    assert!(text.contains("\n  2.0.0  rejected: crashed It was launched 1 times"), "{text}");
    assert!(text.contains("\n  1.0.0  proven\n"), "{text}");
    assert!(text.contains("The next launch takes 1.0.0.\n"), "{text}");
    assert!(text.contains("\n  2.0.0 ended with exit code 1 after ") && text.contains("\n  alas\n"), "{text}");
}

#[test]
fn a_version_on_probation_is_told_with_its_time() {
    let place = Place::new();
    place.install("1.0.0", STAY).install("2.0.0", STAY);
    let _cup = place.run(&[]);
    place.wait_for_starts(1);
    let text = tells(&place, "Tentacle 2.0.0 runs as process ", 0);
    assert!(text.contains("; it must be proven within 9 min "), "{text}");
    assert!(text.contains("\n  2.0.0  launched unproven: 1\n"), "{text}");
}

#[test]
fn a_wait_is_told_with_its_reason_and_its_end() {
    let place = Place::new();
    place.install("1.0.0", "exit 3");
    let _cup = place.run(&[]);
    let text = tells(&place, "No Tentacle runs: waiting until the next try, in 2", 3);
    assert!(text.contains("Its last word: 1.0.0 ended with exit code 3 after "), "{text}");
}

#[test]
fn a_suction_cup_that_does_not_run_is_told_and_so_is_why() {
    let place = Place::new();
    place.install("1.0.0", &format!("{PROVE}; {STAY}"));
    assert_eq!(status(&place).1, Some(3));
    let mut cup = place.run(&[]);
    place.wait_for_starts(1);
    tells(&place, "Tentacle 1.0.0 runs", 0);
    cup.stop();
    tells(&place, "Suction Cup does not run. It was told to end.", 3);
    let mut cup = place.run(&[]);
    let orphan = place.wait_for_starts(2)[1].pid;
    tells(&place, "Tentacle 1.0.0 runs", 0);
    cup.child.kill().unwrap();
    cup.wait();
    tells(&place, "Suction Cup does not run. It was killed, or the machine went down.", 3);
    send(orphan, Signal::KILL);
}

#[test]
fn asking_all_the_time_keeps_no_suction_cup_from_its_home() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let home = place.home.path().display();
    // It stops by itself, should nobody stop it.
    let ask = format!("for i in $(seq 2000); do [ -e enough ] && exit; {SUCTION_CUP} status --home {home}; done");
    let mut command = Command::new("sh");
    command.args(["-c", &ask]).current_dir(place.around()).stdout(std::process::Stdio::null());
    let mut asking = command.spawn().unwrap();
    for count in 1..=5 {
        let mut cup = place.run(&[]);
        place.wait_for_starts(count);
        assert_eq!(cup.stop().code(), Some(0));
    }
    std::fs::write(place.around().join("enough"), "").unwrap();
    asking.wait().unwrap();
    assert!(!place.log().contains("another Suction Cup has"), "{}", place.log());
}

#[test]
fn who_may_not_look_is_told_so() {
    let Some((_, stranger)) = another_user() else { return };
    let place = Place::new();
    place.install("1.0.0", STAY);
    // It makes the folder that is for its own eyes only.
    let mut cup = place.run(&[]);
    place.wait_for_starts(1);
    cup.stop();
    let words = format!("{stranger} {SUCTION_CUP} status --home {}", place.home.path().display());
    let output = Command::new("sh").args(["-c", &words]).output();
    let (text, exit) = told(&output.unwrap());
    assert!(text.starts_with("cannot look at ") && text.contains("Permission denied"), "{text}");
    assert_eq!(exit, Some(4));
}
