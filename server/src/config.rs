//! The command line and the environment. The only place in the portal that reads either.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::Access;
use crate::backup::make::PackageChoice;
use crate::model::Scope;
use crate::rollout::state::Deadlines;

/// The variable that holds the password of `admin`. There is no argument for it: arguments are seen by everybody.
const ADMIN_PASSWORD: &str = "OCTOPUS_ADMIN_PASSWORD";

/// Octopus: one web portal for the Tentacles on all your servers.
#[derive(Debug, Parser)]
#[command(name = "octopus-server", version, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the portal until it is told to end (TERM or Ctrl+C).
    ///
    /// It speaks plain HTTP only where nobody can listen in: on a loopback address, or behind a proxy. Everywhere else
    /// it speaks HTTPS, with the certificate you name or else with its own identity, whose thumbprint it prints.
    Run(Box<RunArgs>),
    /// Look after a portal from the command line, while it runs or not.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Write a backup of a portal, while it runs or not: its database, its identity, and its packages by choice.
    ///
    /// The file holds the portal's private key and is for nobody else to read. It is there when it is complete.
    Backup(BackupArgs),
    /// Put a backup in the place of a portal, or into an empty folder.
    ///
    /// All of it is looked at before anything is touched. The sessions of the backup have ended.
    Restore(RestoreArgs),
}

/// What to back up, and where to.
#[derive(Args, Debug)]
pub struct BackupArgs {
    /// The file to write.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The portal's data folder.
    #[arg(long, env = "OCTOPUS_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Which package files it holds: all, none, or the ids of packages with commas between them.
    #[arg(long, value_name = "CHOICE", default_value = "all")]
    pub packages: PackageChoice,
    /// Write over a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// What to restore, and where to.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The portal's data folder. Run this as the user whom it belongs to.
    #[arg(long, env = "OCTOPUS_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Put it in the place of a portal that is there, which is kept beside it as `before-restore-<time>`.
    #[arg(long)]
    pub force: bool,
    /// Where a portal is running: leave the backup for its next start.
    #[arg(long)]
    pub at_next_start: bool,
}

/// What can be done to a portal from the command line.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make an API key and print it. It is shown this once; only a hash of it is kept.
    CreateApiKey(CreateApiKeyArgs),
    /// Confirm that this portal was restored from a backup: its keys work again, and rollouts may be begun and resumed.
    ///
    /// First it says which keys that are. Revoke those that were revoked since the backup.
    ConfirmRestore(ConfirmRestoreArgs),
}

/// What to confirm.
#[derive(Args, Debug)]
pub struct ConfirmRestoreArgs {
    /// The portal's data folder.
    #[arg(long, env = "OCTOPUS_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Confirm it. Without this it is only said what that would do.
    #[arg(long)]
    pub yes: bool,
}

/// How to run the portal.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The folder that holds everything of this portal: database, identity and packages. Made if it is not there.
    #[arg(long, env = "OCTOPUS_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Where to listen. 127.0.0.1:8080 serves plain HTTP, 0.0.0.0:8443 serves HTTPS.
    #[arg(long, env = "OCTOPUS_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The folder of the Tentacle packages that this portal offers [default: `bundle` beside this program].
    #[arg(long, env = "OCTOPUS_BUNDLE_DIR", value_name = "FOLDER")]
    pub bundle_dir: Option<PathBuf>,
    /// Serve HTTPS on a loopback address too.
    #[arg(long, env = "OCTOPUS_HTTPS")]
    pub https: bool,
    /// Serve HTTPS with this certificate: a PEM file with the certificate and those above it.
    #[arg(long, env = "OCTOPUS_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key: a PEM file.
    #[arg(long, env = "OCTOPUS_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// A proxy that speaks HTTPS stands in front: serve plain HTTP on any address (or HTTPS with --https), and believe
    /// the proxy's X-Forwarded-For. It must pass on Host and Origin, and nobody else may reach this address.
    #[arg(long, env = "OCTOPUS_BEHIND_PROXY")]
    pub behind_proxy: bool,
    /// Set the password of `admin` to the content of this file [or OCTOPUS_ADMIN_PASSWORD]. Without either, the first
    /// start prints a link to choose it.
    #[arg(long, env = "OCTOPUS_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// How often each machine is asked how it is, in milliseconds.
    #[arg(long, env = "OCTOPUS_HEALTH_INTERVAL_MS", value_name = "MS", default_value = "60000", value_parser = ms)]
    pub health_interval_ms: Duration,
    /// How many bytes all transfers of packages together may send in a second [default: no limit].
    #[arg(long, env = "OCTOPUS_TRANSFER_BYTES_PER_SECOND", value_name = "BYTES", value_parser = bytes_per_second)]
    pub transfer_bytes_per_second: Option<u64>,
    /// The deadlines of rollouts.
    #[command(flatten)]
    pub rollout: RolloutArgs,
}

/// How long each phase of an upgrade may take; for demos and tests.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Deadlines of rollouts, in milliseconds (for demos and tests)")]
pub struct RolloutArgs {
    /// To answer at all [default: 30 s].
    #[arg(long, env = "OCTOPUS_ROLLOUT_CHECKING_MS", value_name = "MS", value_parser = ms)]
    pub rollout_checking_ms: Option<Duration>,
    /// To receive the package [default: 10 min].
    #[arg(long, env = "OCTOPUS_ROLLOUT_UPLOADING_MS", value_name = "MS", value_parser = ms)]
    pub rollout_uploading_ms: Option<Duration>,
    /// To finish running work and unpack [default: 10 min].
    #[arg(long, env = "OCTOPUS_ROLLOUT_INSTALLING_MS", value_name = "MS", value_parser = ms)]
    pub rollout_installing_ms: Option<Duration>,
    /// To come back as a new process [default: 2 min].
    #[arg(long, env = "OCTOPUS_ROLLOUT_RESTARTING_MS", value_name = "MS", value_parser = ms)]
    pub rollout_restarting_ms: Option<Duration>,
    /// To become proven [default: 5 min].
    #[arg(long, env = "OCTOPUS_ROLLOUT_PROVING_MS", value_name = "MS", value_parser = ms)]
    pub rollout_proving_ms: Option<Duration>,
    /// How long a new process must be well before it is confirmed [default: 20 s].
    #[arg(long, env = "OCTOPUS_ROLLOUT_PROVING_TIME_MS", value_name = "MS", value_parser = ms)]
    pub rollout_proving_time_ms: Option<Duration>,
    /// How long running work may go on before an upgrade is put off [default: 5 min].
    #[arg(long, env = "OCTOPUS_ROLLOUT_DRAIN_MS", value_name = "MS", value_parser = ms)]
    pub rollout_drain_ms: Option<Duration>,
    /// How long the next wave waits after the last machine of a wave was proven, where its strategy does not say
    /// [default: 10 min].
    #[arg(long, env = "OCTOPUS_ROLLOUT_SOAK_MS", value_name = "MS", value_parser = ms)]
    pub rollout_soak_ms: Option<Duration>,
}

/// Which key to make.
#[derive(Args, Debug)]
pub struct CreateApiKeyArgs {
    /// The portal's data folder.
    #[arg(long, env = "OCTOPUS_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: PathBuf,
    /// Whose key it is.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub user: String,
    /// What it is for, for the list of keys.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub purpose: String,
    /// What it may do.
    #[arg(long, value_enum, default_value = "full")]
    pub scope: ScopeArg,
    /// After so many days it works no more [default: it works until it is revoked].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: Option<u32>,
}

/// [`Scope`] as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ScopeArg {
    /// Everything its user may do.
    Full,
    /// Add machines, and read what that takes.
    Register,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Full => Self::Full,
            ScopeArg::Register => Self::Register,
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The password file cannot be read.
    #[error("cannot read the password file {}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable holds something else than text.
    #[error("the variable {ADMIN_PASSWORD} does not hold text")]
    PasswordVariable,
    /// Nothing says where the bundle is.
    #[error("cannot find out where this program is; name the bundle folder with --bundle-dir")]
    Program(#[source] std::io::Error),
}

impl RunArgs {
    /// How people reach the portal.
    pub fn access(&self) -> Access {
        let must = !self.listen.ip().to_canonical().is_loopback() && !self.behind_proxy;
        let tls = self.https || self.tls_certificate.is_some() || must;
        Access { tls, behind_proxy: self.behind_proxy }
    }

    /// The deadlines of rollouts: what was said, and the defaults for the rest.
    pub fn deadlines(&self) -> Deadlines {
        let (said, default) = (&self.rollout, Deadlines::default());
        Deadlines {
            checking: said.rollout_checking_ms.unwrap_or(default.checking),
            uploading: said.rollout_uploading_ms.unwrap_or(default.uploading),
            installing: said.rollout_installing_ms.unwrap_or(default.installing),
            restarting: said.rollout_restarting_ms.unwrap_or(default.restarting),
            proving: said.rollout_proving_ms.unwrap_or(default.proving),
            proving_time: said.rollout_proving_time_ms.unwrap_or(default.proving_time),
            drain: said.rollout_drain_ms.unwrap_or(default.drain),
            soak: said.rollout_soak_ms.unwrap_or(default.soak),
            transfers: None,
        }
    }

    /// The bundle folder: the one that was named, or `bundle` beside this program.
    pub fn bundle_folder(&self) -> Result<PathBuf, ConfigError> {
        if let Some(folder) = &self.bundle_dir {
            return Ok(folder.clone());
        }
        let program = std::env::current_exe().map_err(ConfigError::Program)?;
        Ok(program.parent().unwrap_or(Path::new(".")).join("bundle"))
    }

    /// The password of `admin` from the file or the environment, the file first; `None` where neither says one.
    pub fn admin_password(&self) -> Result<Option<String>, ConfigError> {
        if let Some(path) = &self.admin_password_file {
            let password = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::PasswordFile { path: path.clone(), source })?;
            return Ok(Some(password.trim_end_matches(['\r', '\n']).to_owned()));
        }
        #[expect(clippy::disallowed_methods, reason = "this is the portal's config module")]
        match std::env::var(ADMIN_PASSWORD) {
            Ok(password) => Ok(Some(password).filter(|password| !password.is_empty())),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(ConfigError::PasswordVariable),
        }
    }
}

/// Less would not send a Tentacle in a day.
const BYTES_PER_SECOND_MIN: u64 = 1024;

fn bytes_per_second(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(bytes) if bytes >= BYTES_PER_SECOND_MIN => Ok(bytes),
        _ => Err(format!("write a whole number of bytes, at least {BYTES_PER_SECOND_MIN}")),
    }
}

fn ms(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => Err("write a whole number of milliseconds, at least 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> RunArgs {
        let cli = Cli::try_parse_from(["octopus-server", "run", "--data-dir", "d"].iter().chain(args)).unwrap();
        let Command::Run(args) = cli.command else { panic!("{cli:?}") };
        *args
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn plain_http_is_for_loopback_and_proxies_only() {
        for (args, tls) in [
            (&["--listen", "127.0.0.1:8080"] as &[&str], false),
            (&["--listen", "[::1]:8080"], false),
            (&["--listen", "[::ffff:127.0.0.1]:8080"], false),
            (&["--listen", "127.0.0.1:8080", "--https"], true),
            (&["--listen", "127.0.0.1:8080", "--tls-certificate", "c", "--tls-key", "k"], true),
            (&["--listen", "0.0.0.0:8443"], true),
            (&["--listen", "10.0.0.1:80"], true),
            (&["--listen", "0.0.0.0:80", "--behind-proxy"], false),
            (&["--listen", "0.0.0.0:80", "--behind-proxy", "--https"], true),
        ] {
            assert_eq!(run(args).access().tls, tls, "{args:?}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let args = ["octopus-server", "run", "--data-dir", "d", "--listen", "0.0.0.0:1", "--tls-certificate", "c"];
        assert!(Cli::try_parse_from(args).is_err());
    }

    #[test]
    fn deadlines_are_set_one_by_one() {
        let deadlines = run(&["--listen", "0.0.0.0:1", "--rollout-proving-time-ms", "1500"]).deadlines();
        assert_eq!(deadlines.proving_time, Duration::from_millis(1500));
        assert_eq!(deadlines.checking, Deadlines::default().checking);
        let paced = run(&["--listen", "0.0.0.0:1", "--transfer-bytes-per-second", "65536"]);
        assert_eq!((paced.transfer_bytes_per_second, deadlines.transfers), (Some(65_536), None));
        assert_eq!(run(&["--listen", "0.0.0.0:1"]).health_interval_ms, Duration::from_secs(60));
    }
}
