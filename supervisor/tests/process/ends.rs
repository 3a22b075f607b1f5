//! Every way in which a child can end is a restart, and is told right.

use std::fs;

use rustix::process::Signal;

use crate::support::{ONE_LAUNCH, PROVE, Place, STAY, UNLIMITED, can, is_alive, send, wait_until, write_program};

/// Signals 1 to 31 that do not end a process by default.
const HARMLESS: [i32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

/// The real-time signals; the two before them are the C library's own.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

#[test]
fn every_exit_code_is_restarted_and_told() {
    let place = Place::new();
    place.install("1.0.0", &format!("n=$(wc -l <starts); [ $n -gt 256 ] && {STAY}\nexit $((n - 1))"));
    let _cup = place.run(&UNLIMITED);
    place.wait_for_starts(257);
    let log = place.log();
    for code in 0..256 {
        let told = format!("1.0.0 ended with exit code {code} after ");
        assert_eq!(log.lines().filter(|line| line.contains(&told)).count(), 1, "{code}");
    }
    assert_eq!(log.lines().count(), 257, "one line for each start");
}

#[test]
fn every_terminating_signal_as_cause_of_death_is_restarted_and_told() {
    let place = Place::new();
    place.install("1.0.0", STAY);
    let _cup = place.run(&UNLIMITED);
    let deadly = (1..32).filter(|number| !HARMLESS.contains(number)).chain(REAL_TIME);
    for (count, number) in deadly.enumerate() {
        let pid = place.wait_for_starts(count + 1)[count].pid;
        let number_text = format!("-{number}");
        assert!(can("kill", "sh", &["-c", "kill \"$@\"", "sh", &number_text, &pid.to_string()]), "{number}");
        let words = format!("1.0.0 was killed by signal {number} ");
        let alone = format!("1.0.0 was killed by signal {number}\n");
        wait_until(&words, || {
            let said = place.read(&place.home.last_words());
            said.contains(&words) || said.contains(&alone)
        });
    }
}

#[test]
fn a_core_is_told_where_the_kernel_wrote_one() {
    if !can("raising the limit of cores", "sh", &["-c", "ulimit -c unlimited"]) {
        return;
    }
    for (limit, told) in [("unlimited", true), ("0", false)] {
        let place = Place::new();
        place.install("1.0.0", &format!("ulimit -c {limit}; [ $(wc -l <starts) -gt 1 ] && {STAY}\nkill -SEGV $$"));
        let _cup = place.run(&[]);
        place.wait_for_starts(2);
        let names = || fs::read_dir(place.home.path()).unwrap().map(|entry| entry.unwrap().file_name());
        // A pattern that leads elsewhere, or to a program, is the machine's business.
        let written = names().any(|name| name.to_string_lossy().starts_with("core"));
        let log = place.log();
        assert!(log.contains("was killed by signal 11 (SIGSEGV)"), "{log}");
        if written || !told {
            assert_eq!(log.contains("(SIGSEGV) and left a core"), told, "{log}");
        }
    }
}

#[test]
fn a_child_that_makes_itself_a_daemon_has_ended() {
    let place = Place::new();
    let daemon = "(setsid sh -c 'echo $$ >daemon.tmp; mv daemon.tmp daemon; exec sleep 5' &) ; exit 0";
    place.install("1.0.0", &format!("[ $(wc -l <starts) -gt 1 ] && {STAY}\n{daemon}"));
    let _cup = place.run(&[]);
    place.wait_for_starts(2);
    assert!(place.log().contains("1.0.0 ended with exit code 0 after "), "{}", place.log());
    let daemon = place.home.path().join("daemon");
    wait_until("the daemon", || daemon.exists());
    let pid: i32 = place.read(&daemon).trim().parse().unwrap();
    assert!(is_alive(pid), "what a Tentacle left behind is left alone");
    send(pid, Signal::KILL);
}

#[test]
fn a_kill_for_want_of_memory_is_a_crash_and_last_words_say_so() {
    let Some(cell) = Cell::new() else { return };
    let place = Place::new();
    let hungry = format!("echo $$ >{}/cgroup.procs; exec tail /dev/zero", cell.0);
    place.install("1.0.0", &format!("{PROVE}; [ $(wc -l <starts) -gt 2 ] && {STAY}\n{hungry}"));
    let _cup = place.run(&[]);
    place.wait_for_starts(3);
    let words = "1.0.0 was killed by signal 9 (SIGKILL), perhaps for want of memory, after ";
    wait_until(words, || place.read(&place.home.last_words()).starts_with(words));
}

/// A control group with very little memory.
struct Cell(String);

impl Cell {
    fn new() -> Option<Self> {
        let name = format!("octopus-test-{}", std::process::id());
        for (root, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let folder = format!("{root}/{name}");
            if fs::create_dir(&folder).is_ok() {
                let cell = Self(folder);
                if fs::write(format!("{}/{limit}", cell.0), "16777216").is_ok() {
                    return Some(cell);
                }
            }
        }
        eprintln!("passed over: a control group with little memory is not possible here");
        None
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // The processes in it are killed already, but may not be gone.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn a_panic_is_in_the_last_words() {
    if std::env::var_os("OCTOPUS_TEST_PANIC").is_some() {
        panic!("the ink has run dry");
    }
    let own = std::env::current_exe().unwrap();
    let panics = "--exact ends::a_panic_is_in_the_last_words --nocapture";
    let place = Place::new();
    let body = format!("OCTOPUS_TEST_PANIC=1 exec {} {panics}", own.display());
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", &body);
    let _cup = place.run(&ONE_LAUNCH);
    place.wait_for_starts(2);
    wait_until("last words", || place.read(&place.home.last_words()).contains("the ink has run dry"));
    let words = place.read(&place.home.last_words());
    assert!(words.starts_with("2.0.0 ended with exit code 101 after "), "{words}");
}

#[test]
fn a_loader_that_finds_no_library_has_its_say_in_the_last_words() {
    let Some(program) = changed_true(b"libc.so.6\0", b"libq.so.6\0") else { return };
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", "");
    put(&place, "2.0.0", &program);
    let _cup = place.run(&ONE_LAUNCH);
    place.wait_for_starts(1);
    let words = place.read(&place.home.last_words());
    assert!(words.starts_with("2.0.0 ended with exit code 127 after "), "{words}");
    assert!(words.contains("libq.so.6"), "{words}");
}

#[test]
fn a_program_without_its_loader_is_unstartable_and_the_verdict_says_why() {
    let Some(program) = changed_true(b"/lib64/ld-linux-x86-64", b"/lib64/no-linux-x86-64") else { return };
    let place = Place::new();
    place.install("1.0.0", STAY).prove("1.0.0").install("2.0.0", "");
    put(&place, "2.0.0", &program);
    let _cup = place.run(&[]);
    place.wait_for_starts(1);
    let verdict = place.read(&place.home.rejected(&"2.0.0".parse().unwrap()));
    assert!(verdict.starts_with("unstartable "), "{verdict}");
    assert!(verdict.contains("the loader or interpreter that it names is missing"), "{verdict}");
}

/// The program `true` of this system with some of its bytes changed; `None` where they are not in it.
fn changed_true(from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut program = fs::read("/bin/true").ok()?;
    let Some(place) = program.windows(from.len()).position(|bytes| bytes == from) else {
        eprintln!("passed over: /bin/true of this system is of another kind");
        return None;
    };
    program[place..place + to.len()].copy_from_slice(to);
    Some(program)
}

/// Puts a program in the place of that of an installed version.
fn put(place: &Place, version: &str, program: &[u8]) {
    let bytes = place.around().join("bytes");
    fs::write(&bytes, program).unwrap();
    let target = place.home.tentacle_program(&version.parse().unwrap());
    // Written by another process, for the reason that `write_program` gives.
    write_program(&target, "");
    assert!(can("cp", "cp", &[bytes.to_str().unwrap(), target.to_str().unwrap()]));
}
