//! Exit codes of Tentacle.
//!
//! Suction Cup does not need them to decide: an end is an upgrade if the version that would be chosen now differs from
//! the one that ended, and every other end is a crash. They tell people, and tests, how a Tentacle ended.

/// How a Tentacle ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TentacleExit {
    /// It was asked to end, or it made room for another version.
    Done,
    /// It could not start or go on; the reason is the last thing on its stderr.
    Failed,
    /// The command line was not understood.
    Usage,
    /// Another Tentacle held the home folder or the port for longer than the wait of two minutes.
    Busy,
}

impl TentacleExit {
    /// The process exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Busy => 75,
        }
    }

    /// The meaning of an exit code; `None` for one that Tentacle never ends with.
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Done),
            1 => Some(Self::Failed),
            2 => Some(Self::Usage),
            75 => Some(Self::Busy),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_they_are_written() {
        for exit in [TentacleExit::Done, TentacleExit::Failed, TentacleExit::Usage, TentacleExit::Busy] {
            assert_eq!(TentacleExit::from_code(i32::from(exit.code())), Some(exit));
        }
        assert_eq!(TentacleExit::from_code(134), None);
    }
}
