//! Backups and restores that are killed, or find the disk full, at each of their steps in turn.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use octopus_server::backup::archive::Reader;

use crate::backup::{backup, content, done, keys, running};
use crate::{Portal, folder, output, program, text};

/// Steps that change what lies in a folder, or make it last.
const STEPS: [&str; 6] = ["mkdir", "fsync", "rename", "unlink", "unlinkat", "rmdir"];

/// Calls that a full disk refuses, beside those that write a part of a file.
const CLAIMS: [&str; 2] = ["pwrite64", "mkdir"];

/// Largest file, in KiB, with which the room on the disk is taken to be enough.
const ROOM_MAX: usize = 1 << 16;

/// How often one call is looked for. A restore makes fewer.
const CALLS_MAX: usize = 200;

/// True where `strace` can be had. Where it is demanded and is not there, the test fails.
fn is_traced() -> bool {
    let is_there = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    assert!(is_there || std::env::var_os("OCTOPUS_MATRIX").is_none(), "strace is demanded and is not there");
    if !is_there {
        eprintln!("strace is not there: passed over");
    }
    is_there
}

/// The command, with something that befalls it at the `n`th call of that name.
fn befallen(command: &Command, call: &str, fault: &str, n: usize) -> Output {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:{fault}:when={n}"), "--"]);
    strace.arg(command.get_program()).args(command.get_args());
    for (name, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
        strace.env_remove(name);
    }
    output(strace)
}

/// The command where no file may be larger than so many KiB: as on a full disk, a write is refused after a part of it.
fn cramped(command: &Command, room: usize) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", room * 2)]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
        shell.env_remove(name);
    }
    output(shell)
}

/// A copy of a data folder, below a folder of its own.
fn copied(data: &Path, place: &Path) -> PathBuf {
    let to = place.join("data");
    if to.exists() {
        fs::remove_dir_all(&to).unwrap();
    }
    let copy = Command::new("cp").arg("-a").args([data, &to]).output().unwrap();
    assert!(copy.status.success(), "{}", text(&copy.stderr));
    to
}

/// Where what was there before a restore lies.
fn aside(data: &Path) -> Vec<PathBuf> {
    let is_aside = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("before-restore-");
    fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).filter(is_aside).collect()
}

/// Nothing that was begun lies about.
fn is_tidy(data: &Path) {
    for entry in fs::read_dir(data).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with(".backup-") && name != "restore-pending", "{name} was left");
    }
}

#[tokio::test]
async fn a_restore_that_is_killed_at_any_step_leaves_the_old_portal_or_the_new_one() {
    if !is_traced() {
        return;
    }
    let (data, portal) = running().await;
    let place = folder();
    let file = place.path().join("portal.backup");
    done(&backup(data.path(), &file, &[]));
    // By its key the old portal is told from the one of the backup.
    assert!(output(program(&["admin", "create-api-key"], data.path())).status.success());
    // It is killed, and so a log of its database lies beside it.
    portal.kill();
    assert!(data.path().join("octopus.db-wal").exists());
    let (mut old, mut new) = (0, 0);
    for call in STEPS {
        for n in 1.. {
            assert!(n < CALLS_MAX, "{call} without an end");
            let data = copied(data.path(), place.path());
            let command = program(&["restore", file.to_str().unwrap(), "--force"], &data);
            let killed = befallen(&command, call, "signal=KILL", n);
            if killed.status.success() {
                break;
            }
            let (code, signal) = (killed.status.code(), killed.status.signal());
            assert!(signal == Some(9) || code == Some(137), "{call} {n}: {code:?} {}", text(&killed.stderr));
            let _portal = Portal::start(&data, &["--listen", "127.0.0.1:0"]);
            is_tidy(&data);
            match keys(&data).await {
                1 => old += 1,
                found => {
                    assert_eq!(found, 0, "{call} {n}");
                    let [aside] = &aside(&data)[..] else { panic!("{call} {n}: the old portal is not kept") };
                    assert_eq!(keys(aside).await, 1, "{call} {n}: the old portal is not whole");
                    assert!(aside.join("identity.pem").exists() && aside.join("packages").is_dir(), "{call} {n}");
                    new += 1;
                }
            }
        }
    }
    assert!(old > 5 && new > 5, "{old} kills left the old portal, {new} the new one");
}

/// The ways in which a disk may be full for a command, from the first to the one that lets it end.
fn full(command: &dyn Fn() -> Command, look: &mut dyn FnMut(&Output, &str)) -> usize {
    let mut refusals = 0;
    for room in (0..).map(|n| 1 << n).take_while(|room| *room <= ROOM_MAX) {
        let befell = cramped(&command(), room);
        look(&befell, &format!("with {room} KiB"));
        refusals += usize::from(!befell.status.success());
    }
    for call in CLAIMS.iter().filter(|_| is_traced()) {
        for n in 1.. {
            assert!(n < CALLS_MAX, "{call} without an end");
            let befell = befallen(&command(), call, "error=ENOSPC", n);
            look(&befell, &format!("{call} {n}"));
            if befell.status.success() {
                break;
            }
            refusals += 1;
        }
    }
    refusals
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_backup() {
    let (data, portal) = running().await;
    let place = folder();
    portal.kill();
    // The log of the database may be worked into it meanwhile.
    let besides = || -> BTreeMap<_, _> {
        content(data.path()).into_iter().filter(|(path, _)| !path.to_string_lossy().contains("octopus.db")).collect()
    };
    let before = besides();
    let file = place.path().join("portal.backup");
    let command = || program(&["backup", file.to_str().unwrap()], data.path());
    let refusals = full(&command, &mut |befell, what| {
        is_tidy(data.path());
        assert_eq!(befell.status.success(), file.exists(), "{what}: {}", text(&befell.stderr));
        if befell.status.success() {
            Reader::open(&file).unwrap();
            fs::remove_file(&file).unwrap();
        } else {
            assert_eq!(befell.status.code(), Some(1), "{what}: {}", text(&befell.stderr));
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{what}: something was left");
    });
    assert!(refusals > 5, "refused {refusals} times only");
    assert_eq!(besides(), before);
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_restore() {
    let (data, portal) = running().await;
    let place = folder();
    let file = place.path().join("portal.backup");
    done(&backup(data.path(), &file, &[]));
    portal.kill();
    let before: Vec<Vec<u8>> = content(data.path()).into_values().collect();
    let to = place.path().join("data");
    let command = || {
        copied(data.path(), place.path());
        program(&["restore", file.to_str().unwrap(), "--force"], &to)
    };
    let refusals = full(&command, &mut |befell, what| {
        if befell.status.success() {
            return;
        }
        assert_eq!(befell.status.code(), Some(1), "{what}: {}", text(&befell.stderr));
        if aside(&to).is_empty() && !to.join("restore-pending").exists() {
            is_tidy(&to);
            assert_eq!(content(&to).into_values().collect::<Vec<_>>(), before, "{what}");
        } else {
            // It was begun, and the next start goes on.
            let _portal = Portal::start(&to, &["--listen", "127.0.0.1:0"]);
            is_tidy(&to);
            assert_eq!(aside(&to).len(), 1, "{what}");
        }
    });
    assert!(refusals > 5, "refused {refusals} times only");
}
