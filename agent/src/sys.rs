//! What differs by platform, and what the disk demands: process groups, the parent's death, free space, durable writes.
//! Linux for now.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::Access;
use rustix::process::{Pid, Signal};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// The name of Suction Cup's process, for the case that it is the first process of a container.
const SUPERVISOR_NAME: &str = "suction-cup";

/// Most bytes of `/etc/os-release` that are read.
const OS_RELEASE_MAX: u64 = 16 * 1024;

/// Asks the kernel to kill this process when its parent dies. False when the parent is dead already: then nobody would
/// ever tell this process to end.
pub(crate) fn die_with_parent() -> bool {
    let before = rustix::process::getppid();
    // Without it only the lock keeps two Tentacles apart; that is no reason not to run.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let parent = rustix::process::getppid();
    let adopted = parent.is_none_or(Pid::is_init) && process_name(1).is_none_or(|name| name != SUPERVISOR_NAME);
    before == parent && !adopted
}

/// The service manager protects Suction Cup from the kernel's killer of processes that use too much memory, and what it
/// launches inherits that. A Tentacle, and all the work it starts, is to be killed before the one that can bring it back.
pub(crate) fn give_up_oom_protection() {
    // Where it cannot be given up the machine is no worse off than before.
    let _ = give_up_oom_protection_in(Path::new("/proc/self/oom_score_adj"));
}

fn give_up_oom_protection_in(path: &Path) -> io::Result<()> {
    let protected = fs::read_to_string(path)?.trim().parse::<i32>().is_ok_and(|score| score < 0);
    if protected { fs::write(path, "0") } else { Ok(()) }
}

fn process_name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// A second handle of stderr as it is now.
pub(crate) fn duplicate_stderr() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    io::stderr().as_fd().try_clone_to_owned().map(File::from)
}

/// From now on stderr is where stdout is.
pub(crate) fn redirect_stderr_to_stdout() -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(io::stdout())?)
}

/// Waits until the process is told to end, and by which word.
pub(crate) async fn told_to_end() -> io::Result<&'static str> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok("TERM"),
        _ = interrupt.recv() => Ok("INT"),
    }
}

/// Gives a child a process group of its own, of which it is the leader.
pub(crate) fn own_group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Tells a process group to end, or kills it. A group that is gone is fine.
pub(crate) fn end_group(leader: u32, kill: bool) {
    let signal = if kill { Signal::KILL } else { Signal::TERM };
    if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// Kills one process that a test started.
#[cfg(test)]
pub(crate) fn end_process(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// True for a child that has ended and was not waited for yet, or that is gone.
pub(crate) fn is_zombie(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The state follows the name, which is in brackets and may hold anything.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Bytes that this user may still write on the disk of `path`.
pub(crate) fn free_disk(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether names can be made in a folder. A file in its place is told as such.
pub(crate) fn check_writable(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder.join("."), Access::WRITE_OK | Access::EXEC_OK)?)
}

/// The machine's own name.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The operating system for people: `Debian GNU/Linux 12`.
pub(crate) fn os_name() -> String {
    let mut text = String::new();
    let read = File::open("/etc/os-release").and_then(|file| {
        use io::Read as _;
        file.take(OS_RELEASE_MAX).read_to_string(&mut text)
    });
    read.ok().and_then(|_| os_name_in(&text)).unwrap_or_else(|| "Linux".to_owned())
}

fn os_name_in(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|text| !text.is_empty())
    };
    let name = value("NAME")?;
    Some(value("VERSION_ID").map_or_else(|| name.clone(), |version| format!("{name} {version}")))
}

/// A new file is for its owner alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// What differs between a file and one that was put in its place.
pub(crate) fn file_id(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// What tells that a file is the one it was: it changes with every write to the file and every other file in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp([i64; 4], [u64; 3]);

/// The stamp of a file.
pub(crate) fn stamp(path: &Path) -> io::Result<Stamp> {
    Ok(stamp_of(&fs::metadata(path)?))
}

/// The stamp of a file that was looked at.
pub(crate) fn stamp_of(m: &Metadata) -> Stamp {
    Stamp([m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()], [m.dev(), m.ino(), m.size()])
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes a whole file for its owner alone: there is always the old one or the new one, also after a power cut.
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supervisors_protection_is_given_up_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oom_score_adj");
        for (before, after) in [("-900\n", "0"), ("0\n", "0\n"), ("300\n", "300\n"), ("?", "?")] {
            fs::write(&path, before).unwrap();
            give_up_oom_protection_in(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        assert!(give_up_oom_protection_in(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn the_operating_system_is_named_for_people() {
        let debian = "PRETTY_NAME=\"x\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n";
        assert_eq!(os_name_in(debian).as_deref(), Some("Debian GNU/Linux 12"));
        assert_eq!(os_name_in("NAME=Arch\n").as_deref(), Some("Arch"));
        assert_eq!(os_name_in(""), None);
    }

    #[test]
    fn a_durable_write_replaces_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_durable(&path, b"one").unwrap();
        write_durable(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn there_is_room_in_the_temporary_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_disk(folder.path()).unwrap() > 0);
        check_writable(folder.path()).unwrap();
        assert!(check_writable(&folder.path().join("missing")).is_err());
    }
}
