//! What can go wrong at a system call: the process is killed there, or the call fails in a way that it really can.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;

use crate::strace::A_FOLDER;

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before the call does anything.
    Kill,
    /// The call fails with this error.
    Error(&'static str),
    /// The call returns nothing; how `brk` fails.
    Null,
}

/// The errors that are tried, wherever they are plausible.
const ERRORS: [&str; 8] = ["ENOSPC", "EIO", "EROFS", "EMFILE", "EAGAIN", "ENOMEM", "EINTR", "EACCES"];

impl Fault {
    /// In the words of `strace -e inject=`.
    pub(crate) fn in_strace(self) -> String {
        match self {
            Self::Kill => "signal=KILL".to_owned(),
            Self::Error(error) => format!("error={error}"),
            Self::Null => "retval=0".to_owned(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "KILL",
            Self::Error(error) => error,
            Self::Null => "NULL",
        })
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "KILL" => Ok(Self::Kill),
            "NULL" => Ok(Self::Null),
            other => match ERRORS.iter().find(|error| **error == other) {
                Some(error) => Ok(Self::Error(error)),
                None => bail!("{other} is neither KILL, NULL nor one of {ERRORS:?}"),
            },
        }
    }
}

/// The ways in which this call can fail. `line` is how it was recorded: some fail for some arguments only. Calls that
/// cannot fail, or only by a mistake in the program, have none.
pub fn plausible(call: &str, line: &str) -> Vec<Fault> {
    let errors: &[&str] = match call {
        "open" | "openat" | "openat2" if line.contains("O_CREAT") => {
            &["ENOSPC", "EIO", "EROFS", "EMFILE", "ENOMEM", "EINTR", "EACCES"]
        }
        "open" | "openat" | "openat2" => &["EIO", "EMFILE", "ENOMEM", "EINTR", "EACCES"],
        "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" | "unlink" | "unlinkat" | "rmdir" | "symlink"
        | "link" | "linkat" => &["ENOSPC", "EIO", "EROFS", "ENOMEM", "EACCES"],
        "read" | "pread64" | "readv" => &["EIO", "EAGAIN", "ENOMEM", "EINTR"],
        "write" | "writev" | "pwrite64" | "copy_file_range" | "sendfile" => {
            &["ENOSPC", "EIO", "EAGAIN", "ENOMEM", "EINTR"]
        }
        "fsync" | "fdatasync" | "syncfs" => &["ENOSPC", "EIO", "EROFS", "EINTR"],
        "ftruncate" | "fallocate" => &["ENOSPC", "EIO", "EROFS", "EINTR", "EACCES"],
        "chmod" | "fchmod" | "fchmodat" | "chown" | "fchown" | "utimensat" => &["ENOSPC", "EIO", "EROFS", "EACCES"],
        "close" if line.ends_with(A_FOLDER) => &["EINTR"],
        "close" => &["ENOSPC", "EIO", "EINTR"],
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" | "statfs" | "fstatfs" | "readlink" | "readlinkat"
        | "access" | "faccessat" | "faccessat2" | "chdir" => &["EIO", "ENOMEM", "EACCES"],
        "getdents" | "getdents64" => &["EIO", "ENOMEM"],
        "mmap" if line.contains("MAP_ANONYMOUS") => &["ENOMEM", "EAGAIN"],
        "mmap" => &["ENOMEM", "EAGAIN", "EACCES"],
        "mprotect" | "mremap" | "munmap" | "madvise" | "sigaltstack" => &["ENOMEM"],
        "clone" | "clone3" | "fork" | "vfork" => &["EAGAIN", "ENOMEM"],
        "poll" | "ppoll" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => &["EAGAIN", "ENOMEM", "EINTR"],
        "wait4" | "waitid" => &["EINTR"],
        "socket" | "socketpair" | "pipe2" | "eventfd2" | "epoll_create1" | "pidfd_open" => &["EMFILE", "ENOMEM"],
        "fcntl" if line.contains("F_DUPFD") => &["EMFILE"],
        "dup2" | "dup3" => &["EMFILE", "EINTR"],
        "flock" => &["EINTR", "ENOMEM", "EIO"],
        "pidfd_send_signal" | "kill" => &["EAGAIN", "EACCES"],
        "sendto" | "recvfrom" | "sendmsg" | "recvmsg" => &["EAGAIN", "ENOMEM", "EINTR"],
        "getrandom" if line.contains("GRND_NONBLOCK") => &["EAGAIN"],
        "getrandom" => &["EINTR"],
        // The question where the memory ends cannot fail.
        "brk" if !line.starts_with("brk(NULL)") => return vec![Fault::Null],
        _ => &[],
    };
    errors.iter().map(|error| Fault::Error(error)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_happen_is_tried() {
        let count = |call: &str, line: &str| plausible(call, line).len();
        assert_eq!(count("fcntl", "fcntl(4, F_GETFD)"), 0);
        assert_eq!(count("fcntl", "fcntl(4, F_DUPFD_CLOEXEC, 3)"), 1);
        assert_eq!(plausible("brk", "brk(0x5)"), [Fault::Null]);
        assert_eq!(count("brk", "brk(NULL)"), 0);
        assert!(count("close", "close(3) = 0") > count("close", &format!("close(3) = 0{A_FOLDER}")));
        assert!(count("openat", "openat(AT_FDCWD, \"a\", O_WRONLY|O_CREAT)") > count("openat", "openat(\"a\")"));
        for call in ["openat", "write", "fsync", "rename", "mmap", "clone3", "poll", "close", "flock", "getrandom"] {
            assert!(
                plausible(call, "").iter().all(|fault| fault.to_string().parse().is_ok_and(|f: Fault| f == *fault))
            );
        }
    }
}
