//! Launching, crashing, falling back, upgrading: the life of a Tentacle.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::support::{ONE_LAUNCH, PROVE, Place, STAY, SUCTION_CUP, send, stays, wait_until, write_program};
use rustix::process::Signal;

#[test]
fn a_crashed_tentacle_is_restarted_at_once_and_its_last_words_are_kept() {
    let place = Place::new();
    let crash_thrice =
        format!("[ $(wc -l <\"$OCTOPUS_TENTACLE_HOME/starts\") -gt 3 ] && {STAY}\necho last $$ >&2\nexit 7");
    place.install("1.0.0", &crash_thrice);
    let mut cup = place.run(&[]);
    let starts = place.wait_for_starts(4);
    // The shortest, because the computer may be busy: a supervisor that waits a second does so each time.
    let shortest = starts.windows(2).map(|two| two[1].at - two[0].at).min();
    assert!(shortest.is_some_and(|gap| gap < 900_000_000), "{starts:?}");
    let tail = format!(" s\nlast {}\n", starts[2].pid);
    wait_until("last words", || place.read(&place.home.last_words()).ends_with(&tail));
    assert!(place.read(&place.home.last_words()).starts_with("1.0.0 ended with exit code 7 after 0."));
    assert_eq!(place.read(&place.home.stderr()), "", "truncated at each launch");
    for file in [place.home.last_words(), place.home.stderr()] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(place.home.supervisor()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(cup.stop().code(), Some(0));
    assert_eq!(place.log().lines().count(), 5, "one line for each start and one for the end: {}", place.log());
}

#[test]
fn last_words_keep_the_tail_of_a_long_stderr() {
    let place = Place::new();
    place.install("1.0.0", "head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2; echo the end >&2; exit 1");
    let mut cup = place.run(&[]);
    wait_until("last words", || {
        place.read(&place.home.last_words()).ends_with(
            "xxx
the end
",
        )
    });
    assert!(fs::metadata(place.home.last_words()).unwrap().len() <= 16 * 1024);
    cup.stop();
}

#[test]
fn the_fifth_end_within_the_window_brings_a_wait_and_then_one_probe_per_wait() {
    let place = Place::new();
    place.install("1.0.0", "exit 0");
    let _cup = place.run(&[("SUCTION_CUP_WAIT_MIN_MS", "700"), ("SUCTION_CUP_WAIT_MAX_MS", "1000")]);
    let starts = place.wait_for_starts(8);
    let gaps: Vec<_> = starts.windows(2).map(|two| (two[1].at - two[0].at) / 1_000_000).collect();
    assert!(gaps[4] >= 700 && gaps[5] >= 1_000 && gaps[6] >= 1_000, "{gaps:?}");
    let log = place.log();
    let waits = log.lines().map(|line| line.split_once("launching 1.0.0").unwrap().1);
    assert_eq!(waits.take(8).collect::<Vec<_>>(), ["", "", "", "", "", " in 0.7 s", " in 1.0 s", " in 1.0 s"]);
}

#[test]
fn broken_newest_version_falls_back_within_ten_seconds() {
    let place = Place::new();
    place.install("1.9.0", STAY).prove("1.9.0").install("1.10.0", "exit 1");
    let _cup = place.run(&[]);
    let starts = place.wait_for_starts(4);
    assert_eq!(place.started(), ["1.10.0", "1.10.0", "1.10.0", "1.9.0"]);
    assert!(starts[3].at - starts[0].at < 10_000_000_000, "{starts:?}");
    let broken = "1.10.0".parse().unwrap();
    let verdict = place.read(&place.home.rejected(&broken));
    assert!(verdict.starts_with("crashed It was launched 3 times"), "{verdict}");
    assert_eq!(fs::metadata(place.home.launches(&broken)).unwrap().len(), 3);
}

#[test]
fn a_version_that_is_installed_again_after_its_fall_is_launched_again() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", &format!("[ -e mended ] && {STAY}\nexit 1"));
    let _cup = place.run(&ONE_LAUNCH);
    let starts = place.wait_for_starts(2);
    // Installing it again clears what stands against it; its folder, found whole, stays as it is.
    let version = "2.0.0".parse().unwrap();
    fs::write(place.home.path().join("mended"), "").unwrap();
    fs::remove_file(place.home.rejected(&version)).unwrap();
    fs::remove_file(place.home.launches(&version)).unwrap();
    send(starts[1].pid, Signal::KILL);
    place.wait_for_starts(3);
    assert_eq!(place.started(), ["2.0.0", "1.0.0", "2.0.0"]);
}

#[test]
fn a_version_that_nobody_confirms_falls_back() {
    let place = Place::new();
    place.install("1.0.0", STAY).install("2.0.0", STAY);
    let _cup = place.run(&[("SUCTION_CUP_PROBATION_MS", "500")]);
    let starts = place.wait_for_starts(2);
    assert_eq!(place.started(), ["2.0.0", "1.0.0"]);
    assert!(starts[1].at - starts[0].at >= 450_000_000, "{starts:?}");
    let verdict = place.read(&place.home.rejected(&"2.0.0".parse().unwrap()));
    assert!(verdict.starts_with("unconfirmed "), "{verdict}");
}

#[test]
fn an_unconfirmed_version_that_ignores_the_word_is_killed_after_the_grace() {
    let place = Place::new();
    place.install("1.0.0", STAY).install("2.0.0", &format!("trap '' TERM; {STAY}"));
    let _cup = place.run(&[("SUCTION_CUP_PROBATION_MS", "300"), ("SUCTION_CUP_GRACE_MS", "300")]);
    place.wait_for_starts(2);
    assert_eq!(place.started(), ["2.0.0", "1.0.0"]);
    wait_until("last words", || place.read(&place.home.last_words()).contains("SIGKILL"));
}

#[test]
fn a_proven_version_is_kept_and_then_nothing_wakes_suction_cup() {
    let place = Place::new();
    // What it says once, when it starts, is no reason either.
    place.install("1.0.0", STAY).install("2.0.0", &format!("echo hello >&2; {PROVE}; {STAY}"));
    let cup = place.run(&[("SUCTION_CUP_PROBATION_MS", "300")]);
    place.wait_for_starts(1);
    assert!(stays(Duration::from_millis(3_000), || place.starts().len() == 1));
    // Nor is a signal, once it was looked at.
    cup.signal(Signal::CHILD);
    std::thread::sleep(Duration::from_millis(500));
    let before = cup.status("voluntary_ctxt_switches");
    let ticks = cup.ticks();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(cup.status("voluntary_ctxt_switches"), before);
    assert!(cup.ticks() <= ticks + 2, "it was busy for {} ticks", cup.ticks() - ticks);
    assert_eq!(place.started(), ["2.0.0"]);
    assert!(cup.status("VmRSS") < 6 * 1024, "a development build may be bigger than a release");
}

#[test]
fn upgrades_are_handed_over_at_once_and_never_counted() {
    let place = Place::new();
    let upgrade = |next: &str| {
        format!(
            "cd \"$OCTOPUS_TENTACLE_HOME\" && mv next-{next} Applications/.Tentacle/{next} && \
             : >supervisor/{next}.proven; exit 0"
        )
    };
    for patch in 1..=6 {
        let version = format!("1.0.{patch}");
        let body = if patch == 6 { STAY.to_owned() } else { upgrade(&format!("1.0.{}", patch + 1)) };
        place.install(&version, &body);
        if patch > 1 {
            fs::rename(place.home.tentacles().join(&version), place.home.path().join(format!("next-{version}")))
                .unwrap();
        }
    }
    let _cup = place.run(&[("SUCTION_CUP_CRASH_LIMIT", "2"), ("SUCTION_CUP_WAIT_MIN_MS", "60000")]);
    let starts = place.wait_for_starts(6);
    assert_eq!(place.started(), ["1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.0.5", "1.0.6"]);
    assert!(starts[5].at - starts[0].at < 30_000_000_000, "no wait of a minute: {starts:?}");
}

#[test]
fn deleting_the_newest_version_rolls_back_at_its_next_end() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", STAY).prove("2.0.0");
    let _cup = place.run(&[]);
    let starts = place.wait_for_starts(1);
    fs::remove_dir_all(place.home.tentacle(&"2.0.0".parse().unwrap())).unwrap();
    assert!(stays(Duration::from_millis(300), || place.starts().len() == 1));
    send(starts[0].pid, Signal::KILL);
    place.wait_for_starts(2);
    assert_eq!(place.started(), ["2.0.0", "1.0.0"]);
}

#[test]
fn the_first_version_that_appears_is_launched() {
    let place = Place::new();
    let mut cup = place.run(&[]);
    wait_until("the line in the log", || place.log().contains("no version"));
    assert!(cup.is_running());
    place.install("1.0.0", STAY);
    place.wait_for_starts(1);
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn a_thousand_versions_are_chosen_from_in_no_time() {
    let place = Place::new();
    for patch in 1..1_000 {
        fs::create_dir(place.home.tentacles().join(format!("1.0.{patch}"))).unwrap();
    }
    place.install("1.0.1000", STAY).prove("1.0.1000");
    let begun = std::time::Instant::now();
    let _cup = place.run(&[]);
    place.wait_for_starts(1);
    assert_eq!(place.started(), ["1.0.1000"]);
    // The start of a process and of a shell are in it, on a computer that may be busy.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_home_that_is_not_there_is_made() {
    let place = Place::new();
    fs::remove_dir_all(place.home.path()).unwrap();
    let mut cup = place.run(&[]);
    wait_until("the line in the log", || place.log().contains("no version"));
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn a_home_that_cannot_be_had_is_told_once_and_waited_for() {
    let place = Place::new();
    let parent = place.around().join("parent");
    fs::write(&parent, "").unwrap();
    let home = parent.join("home");
    let run = || {
        let program = place.around().join("elsewhere");
        let line = format!("#!/bin/sh\nexec {SUCTION_CUP} --home {}\n", home.display());
        write_program(&program, &line);
        place.run_with(&program, &[], fs::File::create(place.around().join("log")).unwrap().into())
    };
    let told = || place.log().matches(" (Not a directory (os error 20)); trying again and again").count();
    let mut cup = run();
    wait_until("the line in the log", || told() == 1);
    assert!(stays(Duration::from_millis(2_300), || told() == 1 && cup.is_running()), "{}", place.log());
    assert!(cup.ticks() < 20, "it waited by being busy for {} ticks", cup.ticks());
    assert_eq!(cup.stop().code(), Some(0));
    let mut cup = run();
    wait_until("the line in the log", || told() == 1);
    fs::remove_file(&parent).unwrap();
    wait_until("the home", || place.log().contains("no version"));
    assert_eq!(cup.stop().code(), Some(0));
}

#[test]
fn a_child_reads_nothing_whatever_suction_cup_could_read() {
    let place = Place::new();
    place.install("1.0.0", &format!("cat >read.tmp; mv read.tmp read; {STAY}"));
    let program = place.around().join("with-stdin");
    let (words, home) = (place.around().join("words"), place.home.path().display());
    fs::write(&words, "for somebody else\n").unwrap();
    let line = format!("#!/bin/sh\nexec {SUCTION_CUP} --home {home} <{}\n", words.display());
    write_program(&program, &line);
    let _cup = place.run_with(&program, &[], fs::File::create(place.around().join("log")).unwrap().into());
    let read = place.home.path().join("read");
    wait_until("what the child read", || read.exists());
    assert_eq!(place.read(&read), "");
}

#[test]
fn a_child_begins_with_clean_signals_files_and_environment() {
    let place = Place::new();
    let look = "{ grep -E '^Sig(Blk|Ign)' /proc/self/status; pwd; env; } >seen.tmp; mv seen.tmp seen";
    place.install("1.0.0", &format!("{look}; {STAY}"));
    let _cup = place.run(&[("OTHER_VARIABLE", "kept")]);
    let seen = place.home.path().join("seen");
    wait_until("what the child saw", || seen.exists());
    let seen = place.read(&seen);
    let home = place.home.path().display();
    for line in [
        "SigBlk:\t0000000000000000".to_owned(),
        format!("{home}"),
        "SUCTION_CUP_CONTRACT=1".to_owned(),
        "SUCTION_CUP_VERSION=1.0.0".to_owned(),
        format!("OCTOPUS_TENTACLE_HOME={home}"),
        "OTHER_VARIABLE=kept".to_owned(),
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} in {seen}");
    }
    // glibc ignores its own two signals, 32 and 33, in what it spawns.
    let ignored = seen.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & !(3 << 31), 0, "{ignored}");
}

#[test]
fn a_child_inherits_no_open_file_of_suction_cup() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let cup = place.run(&[]);
    let pid = place.wait_for_starts(1)[0].pid;
    // Beside what the test itself leaves open in its children.
    let files = |pid: u32| -> Vec<String> {
        let target = |file: u32| fs::read_link(format!("/proc/{pid}/fd/{file}")).ok();
        (3..1024).filter_map(target).map(|path| path.display().to_string()).collect()
    };
    let child = u32::try_from(pid).unwrap();
    wait_until("sleep", || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n"));
    let own = files(cup.child.id());
    assert!(own.iter().any(|file| file.starts_with("socket:")), "{own:?}");
    let home = place.home.path().display().to_string();
    let leaked: Vec<_> = files(child)
        .into_iter()
        .filter(|file| file.starts_with("socket:") || file.starts_with("anon_inode:") || file.starts_with(&home))
        .collect();
    assert_eq!(leaked, Vec::<String>::new());
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/0")).unwrap().to_str(), Some("/dev/null"));
    assert_eq!(fs::read_link(format!("/proc/{pid}/fd/2")).unwrap(), place.home.stderr());
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), place.home.path());
}
