//! One Suction Cup per home folder, and never two Tentacles, whoever is killed and when.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Place, STAY, is_alive, rounds, send, stays, wait_until};

/// Pairs that are started together.
const PAIRS: usize = 8;

/// Kills of Suction Cup in a default run; `OCTOPUS_TEST_KILLS=10000` is a long one.
const KILLS: usize = 25;

#[test]
fn a_second_suction_cup_is_refused_and_a_dead_one_frees_the_home() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let mut first = place.run(&[]);
    place.wait_for_starts(1);
    let mut second = place.run(&[]);
    assert_eq!(second.wait().code(), Some(75));
    assert!(place.log().contains("another Suction Cup has "), "{}", place.log());
    first.child.kill().unwrap();
    first.wait();
    let mut third = place.run(&[]);
    place.wait_for_starts(2);
    assert!(third.is_running());
    send(place.starts()[0].pid, Signal::KILL);
}

#[test]
fn a_lock_that_is_let_go_in_a_moment_is_no_other_suction_cup() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let lock = fs::File::open(place.home.path()).unwrap();
    lock.try_lock().unwrap();
    let cup = place.run(&[]);
    let open = format!("/proc/{}/fd", cup.child.id());
    let has_opened = |home: &std::path::Path| {
        let files = fs::read_dir(&open).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == home)
    };
    wait_until("the look at the lock", || has_opened(place.home.path()));
    drop(lock);
    place.wait_for_starts(1);
}

#[test]
fn of_two_that_are_started_together_exactly_one_wins() {
    for _ in 0..PAIRS {
        let place = Place::new();
        place.install("1.0.0", STAY);
        let mut both = [place.run(&[]), place.run(&[])];
        place.wait_for_starts(1);
        wait_until("the loser's end", || both.iter_mut().filter_map(|one| one.child.try_wait().unwrap()).count() == 1);
        let [one, other] = &mut both;
        let (loser, winner) = if one.is_running() { (other, one) } else { (one, other) };
        assert_eq!(loser.wait().code(), Some(75));
        assert_eq!(winner.stop().code(), Some(0));
        assert_eq!(place.starts().len(), 1);
    }
}

#[test]
fn files_that_look_like_locks_do_not_matter() {
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0");
    for name in [".lock", "lock", "suction-cup.pid", "supervisor/lock", "tentacle.lock"] {
        fs::write(place.home.path().join(name), "1\n").unwrap();
    }
    let _cup = place.run(&[]);
    place.wait_for_starts(1);
}

#[test]
fn suction_cup_is_killed_at_any_moment_and_there_are_never_two_tentacles() {
    // What a Tentacle does: die with Suction Cup, look whether it is late for that, and wait for the lock. Then it notes
    // that it has the home for itself; nobody else who is alive may have noted that.
    let tentacle = "exec setpriv --pdeathsig KILL sh -c '\
                    [ $(printf %x $PPID) = $(echo $SUCTION_CUP_LAUNCH_ID | cut -d- -f2) ] || exit 1
                    exec flock -w 20 -F tentacle.lock sh ./alone'";
    let alone = "[ -e alive ] && grep -zqx \"OCTOPUS_TENTACLE_HOME=$PWD\" /proc/$(cat alive)/environ && : >two\n\
                 echo $$ >alive.tmp; mv alive.tmp alive; echo >>held; exec sleep 25";
    let place = Place::new();
    place.install("1.0.0", tentacle).prove("1.0.0");
    fs::write(place.home.path().join("alone"), alone).unwrap();
    let mut seed = 7_u64;
    for _ in 0..rounds("OCTOPUS_TEST_KILLS", KILLS) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut cup = place.run(&[]);
        std::thread::sleep(Duration::from_micros((seed >> 33) % 25_000));
        cup.child.kill().unwrap();
        cup.wait();
    }
    let held = || place.read(&place.home.path().join("held")).len();
    let before = held();
    let mut cup = place.run(&[]);
    wait_until("the last one", || held() > before);
    assert!(stays(Duration::from_millis(200), || cup.is_running()));
    assert!(!place.home.path().join("two").exists());
    let pid = place.read(&place.home.path().join("alive")).trim().parse().unwrap();
    assert!(is_alive(pid));
    cup.child.kill().unwrap();
    cup.wait();
    send(pid, Signal::KILL);
}
