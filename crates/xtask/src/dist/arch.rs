//! The kinds of computer that are delivered to, under the name that each of the tools has for them.

use clap::ValueEnum;

/// A kind of computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Arch {
    /// 64-bit Intel and AMD.
    #[value(name = "x86_64")]
    X64,
    /// 64-bit ARM.
    #[value(name = "aarch64")]
    Arm64,
}

impl Arch {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::X64, Self::Arm64];

    /// Rust's word. musl, so that a program needs nothing of the machine but Linux.
    pub fn triple(self) -> &'static str {
        match self {
            Self::X64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// .NET's word, which is in the names of Tentacle packages and of our archives.
    pub fn runtime(self) -> &'static str {
        match self {
            Self::X64 => "linux-x64",
            Self::Arm64 => "linux-arm64",
        }
    }

    /// Debian's word.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}
