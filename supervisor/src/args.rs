//! The command line and the environment, read once by `main`. The only place that looks at either.

use std::ffi::OsString;
use std::path::PathBuf;

use contract::{Home, env};

/// What `--help` says.
pub const HELP: &str = "\
Keeps the newest good Tentacle of this machine running.

Usage: suction-cup [--home DIR]         Run
       suction-cup status [--home DIR]  Tell what runs, which versions are installed, and the last words

Options:
  --home DIR  The home folder [default: OCTOPUS_TENTACLE_HOME, else /var/lib/octopus/tentacle]
  --version   Print the version
  --help      Print this

TERM and INT end the Tentacle and then Suction Cup. Numbers can be set by environment variables SUCTION_CUP_*.
Exit codes: 0 told to end, 2 wrong command line, 75 another Suction Cup has this home folder.
Exit codes of status: 0 a Tentacle runs, 3 none runs, 4 that is not known.
";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run with this home folder.
    Run(PathBuf),
    /// Tell what goes on in this home folder.
    Status(PathBuf),
    /// Print the version.
    Version,
    /// Print the help.
    Help,
    /// Say what is wrong with the command line.
    Wrong(String),
}

/// Looks up an environment variable. An empty one counts as not set.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Reads the arguments, without the program's name. `get` looks up an environment variable.
pub fn read(arguments: impl IntoIterator<Item = OsString>, get: impl Fn(&str) -> Option<OsString>) -> Command {
    let mut arguments = arguments.into_iter();
    let (mut home, mut command): (_, fn(PathBuf) -> Command) = (None, Command::Run);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("status") => command = Command::Status,
            Some("--help" | "-h") => return Command::Help,
            Some("--version" | "-V") => return Command::Version,
            Some("--home") => match arguments.next() {
                Some(value) if !value.is_empty() => home = Some(PathBuf::from(value)),
                _ => return Command::Wrong("--home needs a folder".to_owned()),
            },
            Some(text) if text.strip_prefix("--home=").is_some_and(|value| !value.is_empty()) => {
                home = text.strip_prefix("--home=").map(PathBuf::from);
            }
            _ => return Command::Wrong(format!("{} is not understood", argument.display())),
        }
    }
    let home = home.or_else(|| get(env::TENTACLE_HOME).map(PathBuf::from));
    command(home.unwrap_or_else(|| PathBuf::from(Home::SERVICE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(arguments: &[&str], variable: Option<&str>) -> Command {
        read(arguments.iter().map(OsString::from), |_| variable.map(OsString::from))
    }

    #[test]
    fn the_home_is_the_argument_else_the_variable_else_the_service_folder() {
        assert_eq!(command(&["--home", "/a"], Some("/b")), Command::Run("/a".into()));
        assert_eq!(command(&["--home=/a"], Some("/b")), Command::Run("/a".into()));
        assert_eq!(command(&[], Some("/b")), Command::Run("/b".into()));
        assert_eq!(command(&[], None), Command::Run(Home::SERVICE.into()));
        assert_eq!(command(&["status", "--home", "/a"], Some("/b")), Command::Status("/a".into()));
        assert_eq!(command(&["status"], None), Command::Status(Home::SERVICE.into()));
    }

    #[test]
    fn a_variable_is_what_the_environment_says() {
        assert!(variable("PATH").is_some_and(|value| !value.is_empty()));
        assert_eq!(variable("SUCTION_CUP_NOT_SET_BY_ANYBODY"), None);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for wrong in [&["--home"][..], &["--home", ""], &["--home="], &["run"], &["--hom"], &[""]] {
            assert!(matches!(command(wrong, None), Command::Wrong(_)), "{wrong:?}");
        }
        assert_eq!(command(&["--version"], None), Command::Version);
        assert_eq!(command(&["--home", "/a", "--help"], None), Command::Help);
    }
}
