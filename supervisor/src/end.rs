//! How a child ended, as a value and in words. Used by the machine and the shell; nothing here waits for anything.

use std::fmt;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It ended by itself with this exit code (0 to 255).
    Code(i32),
    /// This signal killed it.
    Signal {
        /// The number of the signal.
        number: i32,
        /// True where the kernel wrote a core.
        core: bool,
    },
    /// It is gone, and nobody can say how.
    Unknown,
}

/// The names of the signals 1 to 31 on Linux (x86-64 and ARM agree).
const SIGNAL_NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal { number, core } => {
                write!(f, "was killed by signal {number}")?;
                let name = usize::try_from(number).ok().and_then(|n| SIGNAL_NAMES.get(n.checked_sub(1)?));
                name.map_or(Ok(()), |name| write!(f, " (SIG{name})"))?;
                if core { f.write_str(" and left a core") } else { Ok(()) }
            }
            Self::Unknown => f.write_str("is gone, in a way that nobody saw"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_told_in_words() {
        assert_eq!(End::Code(0).to_string(), "ended with exit code 0");
        assert_eq!(End::Code(255).to_string(), "ended with exit code 255");
        let signal = |number, core| End::Signal { number, core }.to_string();
        assert_eq!(signal(1, false), "was killed by signal 1 (SIGHUP)");
        assert_eq!(signal(9, false), "was killed by signal 9 (SIGKILL)");
        assert_eq!(signal(11, true), "was killed by signal 11 (SIGSEGV) and left a core");
        assert_eq!(signal(31, false), "was killed by signal 31 (SIGSYS)");
        assert_eq!(signal(64, false), "was killed by signal 64");
        assert_eq!(signal(0, false), "was killed by signal 0");
        assert_eq!(signal(-1, false), "was killed by signal -1");
    }
}
