//! What Tentacle is told from outside: the command line, the environment and `tentacle.toml`.
//!
//! The only place that reads the environment. Nothing here acts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use contract::{EnvironmentName, Home, Thumbprint, env};
use octopus_proto::DEFAULT_PORT;
use serde::{Deserialize, Deserializer};

/// Overrides `listen` of the settings.
pub const LISTEN: &str = "OCTOPUS_TENTACLE_LISTEN";

/// How long a Tentacle that proves itself must have been well, in milliseconds. For tests.
const SELF_PROVE_MS: &str = "OCTOPUS_TENTACLE_SELF_PROVE_MS";

/// How often Tentacle calls its own port, in milliseconds. For tests.
const WATCH_MS: &str = "OCTOPUS_TENTACLE_WATCH_MS";

/// `error`, `warn`, `info` (the default), `debug` or `trace`.
const LOG_LEVEL: &str = "OCTOPUS_TENTACLE_LOG";

/// An API key of the portal, for `register`. Never given to scripts.
pub const API_KEY: &str = "OCTOPUS_API_KEY";

/// A registration key of the portal, for `register`. Never given to scripts.
pub const REGISTRATION_KEY: &str = "OCTOPUS_REGISTRATION_KEY";

const SELF_PROVE: Duration = Duration::from_secs(60);
const WATCH: Duration = Duration::from_secs(60);

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "tentacle", version, about = "Receives packages on this machine and installs them")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the portal. Suction Cup starts this.
    Run(Run),
    /// Install a package by hand, as the portal would
    Install(Install),
    /// Add this machine to a portal, and trust that portal
    Register(Register),
    /// Print the thumbprint that a portal must pin for this machine
    ShowThumbprint(HomeOption),
}

/// Where the home folder is.
#[derive(Clone, Debug, Args)]
pub struct HomeOption {
    /// The home folder
    #[arg(long, value_name = "DIR", env = env::TENTACLE_HOME, default_value = Home::SERVICE)]
    pub home: PathBuf,
}

impl HomeOption {
    /// The home, by its absolute path.
    pub fn home(&self) -> io::Result<Home> {
        std::path::absolute(&self.home).map(Home::new)
    }
}

/// `tentacle run`
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help text of the flattened option")]
    pub home: HomeOption,
    /// The address to listen on, instead of the one in tentacle.toml
    #[arg(long, value_name = "ADDR", env = LISTEN)]
    pub listen: Option<SocketAddr>,
}

/// `tentacle install`
#[derive(Debug, Args)]
pub struct Install {
    /// The package file
    pub package: PathBuf,
    /// The environment; not for a Tentacle package
    #[arg(long, value_name = "NAME")]
    pub environment: Option<EnvironmentName>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help text of the flattened option")]
    pub home: HomeOption,
    /// A variable for the scripts; may be given again
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = read_variable)]
    pub variables: Vec<(String, String)>,
}

/// `tentacle register`
#[derive(Debug, Args)]
#[command(
    after_help = "Who may add machines shows the portal a key: a registration key, which the portal makes under Add \
                  machine, or an API key from the environment variable OCTOPUS_API_KEY or from --api-key-file."
)]
pub struct Register {
    /// The portal's address, such as https://octopus.example.com
    #[arg(long, value_name = "URL")]
    pub server: reqwest::Url,
    /// The portal's thumbprint, as the portal shows it
    #[arg(long, value_name = "THUMBPRINT")]
    pub server_thumbprint: Option<Thumbprint>,
    /// A registration key: adds this machine to the key's environments, with the key's roles
    #[arg(long, value_name = "KEY", env = REGISTRATION_KEY, hide_env_values = true)]
    pub registration_key: Option<String>,
    /// An environment of the machine; may be given again. A registration key has its own
    #[arg(
        long = "environment",
        value_name = "NAME",
        required_unless_present = "registration_key",
        conflicts_with = "registration_key"
    )]
    pub environments: Vec<EnvironmentName>,
    /// A role of the machine; may be given again. A registration key has its own
    #[arg(long = "role", value_name = "ROLE", conflicts_with = "registration_key")]
    pub roles: Vec<String>,
    /// The machine's name in the portal [default: the host name]
    #[arg(long)]
    pub name: Option<String>,
    /// Where the portal reaches this machine [default: the address that is used to reach the portal]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub address: Option<String>,
    /// A file that holds the API key, or - for the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "registration_key")]
    pub api_key_file: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help text of the flattened option")]
    pub home: HomeOption,
}

fn read_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// What the environment says beyond the command line.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The revision of Suction Cup's contract; `None` when it was not started by Suction Cup.
    pub supervisor_contract: Option<u32>,
    /// The version that Suction Cup chose.
    pub supervisor_version: Option<String>,
    /// How long a Tentacle that proves itself must have been well.
    pub self_prove: Duration,
    /// How often Tentacle calls its own port.
    pub watch: Duration,
    /// How much is logged.
    pub log_level: tracing::Level,
}

impl Environment {
    /// Reads the environment of this process. What cannot be read counts as not set: it must not keep a Tentacle down.
    pub fn read() -> Self {
        let duration =
            |name, default| variable(name).and_then(|text| text.parse().ok()).map_or(default, Duration::from_millis);
        Self {
            supervisor_contract: variable(env::SUCTION_CUP_CONTRACT).map(|text| text.parse().unwrap_or_default()),
            supervisor_version: variable(env::SUCTION_CUP_VERSION),
            self_prove: duration(SELF_PROVE_MS, SELF_PROVE),
            watch: duration(WATCH_MS, WATCH),
            log_level: variable(LOG_LEVEL).and_then(|text| text.parse().ok()).unwrap_or(tracing::Level::INFO),
        }
    }
}

/// A variable of the environment; `None` when it is not set, empty or not text.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The names of variables that scripts must not see: what is between Suction Cup and Tentacle, and the API key.
pub fn hidden_from_scripts() -> Vec<std::ffi::OsString> {
    let hidden = |name: &str| name.starts_with(env::SUCTION_CUP_PREFIX) || name == API_KEY;
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_some_and(hidden)).collect()
}

/// `tentacle.toml`. Every key is optional.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The address to listen on.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The thumbprints of the portals that may give orders.
    #[serde(default, deserialize_with = "read_thumbprints")]
    pub trusted: Vec<Thumbprint>,
    /// Who says that this Tentacle is good.
    #[serde(default)]
    pub prove: Prove,
}

/// Who says that a new Tentacle is good.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Prove {
    /// The portal that ordered it.
    #[default]
    Portal,
    /// It says so itself, after a while of good health.
    #[serde(rename = "self")]
    Own,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("cannot read the settings file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file does not hold settings.
    #[error("the settings file {} cannot be understood", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and which key.
        source: toml::de::Error,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: default_listen(), trusted: Vec::new(), prove: Prove::default() }
    }
}

impl Settings {
    /// Reads the settings; a file that is not there means the defaults.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|source| SettingsError::Parse { path: path.to_owned(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(SettingsError::Read { path: path.to_owned(), source }),
        }
    }
}

fn default_listen() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, DEFAULT_PORT).into()
}

fn read_thumbprints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Thumbprint>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tentacle.toml");
        std::fs::write(&path, text).unwrap();
        Settings::load(&path)
    }

    #[test]
    fn a_missing_or_empty_file_means_the_defaults() {
        assert_eq!(Settings::load(Path::new("/nonexistent/tentacle.toml")).unwrap(), Settings::default());
        assert_eq!(load("").unwrap(), Settings::default());
        assert_eq!(Settings::default().listen.port(), 10933);
    }

    #[test]
    fn all_keys_are_read() {
        let thumbprint = Thumbprint([0xAB; 32]);
        let text = format!("listen = \"127.0.0.1:1\"\ntrusted = [\"{thumbprint}\"]\nprove = \"self\"");
        let settings =
            Settings { listen: "127.0.0.1:1".parse().unwrap(), trusted: vec![thumbprint], prove: Prove::Own };
        assert_eq!(load(&text).unwrap(), settings);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_key_and_the_file() {
        let error = load("listne = \"127.0.0.1:1\"").unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().contains("tentacle.toml"), "{error}");
        assert!(source.contains("listne"), "{source}");
        assert!(load("trusted = [\"junk\"]").is_err());
        assert!(load("prove = \"nobody\"").is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        assert_eq!(read_variable("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(read_variable("=b").is_err() && read_variable("ab").is_err());
    }
}
