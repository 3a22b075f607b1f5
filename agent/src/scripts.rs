//! Runs the scripts of a package: each in a process group of its own, bounded in time and output, its words in the log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use octopus_proto::{LOG_LINE_MAX, LogLevel};
use package::{Interpreter, Script, Stage, find_scripts};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::log::Log;
use crate::sys;
use crate::variables::{BuiltIn, Variables, VariablesFile};

/// Longest run of one script; then it is ended and has failed.
const SCRIPT_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// How long a script may take to end after it was told to; then its whole group is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long output is awaited after a script has ended. What it left running may hold the output open for ever; at the
/// limit a warning is logged and the output is no longer read.
const LINGER: Duration = Duration::from_secs(2);

/// How much output is read at a time.
const READ: usize = 16 * 1024;

/// Why a script failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    /// The scripts could not be looked for, or cannot be run here.
    #[error("the scripts of the package cannot be run")]
    Find(#[source] std::io::Error),
    /// The variables could not be written for them.
    #[error("could not write the file with the variables, {}", path.display())]
    Variables {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It could not be started.
    #[error("could not start {script} with {interpreter}")]
    Start {
        /// Its file name.
        script: String,
        /// The interpreter's program.
        interpreter: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nobody knows how it ended.
    #[error("could not wait for {script}")]
    Wait {
        /// Its file name.
        script: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It ended with another code than 0.
    #[error("{script} ended with {status}")]
    Status {
        /// Its file name.
        script: String,
        /// Code or signal.
        status: ExitStatus,
    },
    /// It ran too long.
    #[error("{script} ran for longer than {} hours and was ended", SCRIPT_MAX.as_secs() / 3600)]
    TimedOut {
        /// Its file name.
        script: String,
    },
    /// It was cancelled.
    #[error("{script} was ended before its time")]
    Cancelled {
        /// Its file name.
        script: String,
    },
}

/// The scripts of an installed package.
pub(crate) struct Scripts(Vec<Script>);

impl Scripts {
    /// Looks into the root of the package's folder.
    pub(crate) fn find(folder: &Path) -> Result<Self, ScriptError> {
        find_scripts(folder, &|interpreter| is_available(program(interpreter))).map(Self).map_err(ScriptError::Find)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn of(&self, stage: Stage) -> Option<&Script> {
        self.0.iter().find(|script| script.stage == stage)
    }
}

fn program(interpreter: Interpreter) -> &'static str {
    match interpreter {
        Interpreter::Bash => "bash",
        Interpreter::Python => "python3",
        Interpreter::PowerShell => "pwsh",
    }
}

fn is_available(program: &str) -> bool {
    let path = config::variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Writes the file with the variables; it is deleted when the answer is dropped.
pub(crate) fn write_variables(variables: &Variables, path: &Path) -> Result<VariablesFile, ScriptError> {
    variables.write(path).map_err(|source| ScriptError::Variables { path: path.to_owned(), source })
}

/// What the scripts of one installation have in common.
pub(crate) struct Run<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) variables: &'a BTreeMap<String, &'a str>,
    pub(crate) built_in: &'a BuiltIn,
    pub(crate) log: &'a dyn Log,
}

enum End {
    Exited(std::io::Result<ExitStatus>),
    Cancelled,
    TimedOut,
}

impl Run<'_> {
    /// Runs one script to its end.
    pub(crate) async fn script(&self, script: &Script, cancelled: &CancellationToken) -> Result<(), ScriptError> {
        let name = script.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.log.info(&format!("Running {name}"));
        let interpreter = program(script.interpreter);
        let mut child = self.command(interpreter, &script.path).spawn().map_err(|source| {
            let script = name.clone();
            ScriptError::Start { script, interpreter, source }
        })?;
        let group = child.id();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut out = Output::new(stdout, LogLevel::Info);
        let mut err = Output::new(stderr, LogLevel::Warning);
        let end = {
            let reading = async { tokio::join!(out.read(self.log), err.read(self.log)) };
            tokio::pin!(reading);
            let mut all_read = false;
            let ending = wait(&mut child, group, cancelled);
            tokio::pin!(ending);
            let end = loop {
                tokio::select! {
                    end = &mut ending => break end,
                    _ = &mut reading, if !all_read => all_read = true,
                }
            };
            if !all_read && tokio::time::timeout(LINGER, reading).await.is_err() {
                let text =
                    format!("{name} has ended, but something that it started still runs; its output is no longer read");
                self.log.line(LogLevel::Warning, &text);
            }
            end
        };
        out.end(self.log);
        err.end(self.log);
        match end {
            End::Exited(Ok(status)) if status.success() => Ok(()),
            End::Exited(Ok(status)) => Err(ScriptError::Status { script: name, status }),
            End::Exited(Err(source)) => Err(ScriptError::Wait { script: name, source }),
            End::Cancelled => Err(ScriptError::Cancelled { script: name }),
            End::TimedOut => Err(ScriptError::TimedOut { script: name }),
        }
    }

    fn command(&self, interpreter: &str, script: &Path) -> Command {
        let mut command = Command::new(interpreter);
        if interpreter == program(Interpreter::PowerShell) {
            command.args(["-NoLogo", "-NoProfile", "-NonInteractive", "-File"]);
        }
        sys::own_group(&mut command).arg(script).current_dir(self.folder).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in config::hidden_from_scripts() {
            command.env_remove(name);
        }
        command.envs(self.variables).envs(self.built_in.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Waits for the end, or brings it about: TERM to the group, then KILL.
async fn wait(child: &mut Child, group: Option<u32>, cancelled: &CancellationToken) -> End {
    let end = tokio::select! {
        status = child.wait() => return End::Exited(status),
        () = cancelled.cancelled() => End::Cancelled,
        () = tokio::time::sleep(SCRIPT_MAX) => End::TimedOut,
    };
    // The leader is not reaped yet, so its id, which is the group's, is not anybody else's.
    let Some(group) = group else { return end };
    sys::end_group(group, false);
    let deadline = tokio::time::Instant::now() + GRACE;
    // The leader is left unreaped until the group was killed: others in it may have ignored the first word.
    let mut ended = false;
    while !ended && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ended = sys::is_zombie(group);
    }
    sys::end_group(group, true);
    let _ = child.wait().await;
    end
}

/// A stream of a script on its way into the log.
struct Output<S> {
    stream: Option<S>,
    level: LogLevel,
    lines: Lines,
}

impl<S: AsyncRead + Unpin> Output<S> {
    fn new(stream: Option<S>, level: LogLevel) -> Self {
        Self { stream, level, lines: Lines::default() }
    }

    /// Logs it line by line to its end. Nothing is lost when this is dropped before.
    async fn read(&mut self, log: &dyn Log) {
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = vec![0; READ];
        while let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            let complete = self.lines.push(&buffer[..read]);
            log.lines(&mut complete.iter().map(|line| (self.level, line.as_str())));
        }
    }

    /// Logs the words after the last end of a line.
    fn end(mut self, log: &dyn Log) {
        if let Some(rest) = self.lines.rest() {
            log.line(self.level, &rest);
        }
    }
}

/// Cuts bytes into lines. A line that is too long is cut where it reaches the limit.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") || self.partial.len() >= LOG_LINE_MAX {
                lines.extend(self.rest());
            }
        }
        lines
    }

    fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.partial);
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        (!line.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_lines_wherever_the_reads_end() {
        let text = "one\r\n\ntwo é\nthree";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut all: Vec<_> = text.as_bytes().chunks(size).flat_map(|bytes| lines.push(bytes)).collect();
            all.extend(lines.rest());
            assert_eq!(all, ["one", "", "two é", "three"]);
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_no_byte_is_lost() {
        let mut lines = Lines::default();
        let all: Vec<_> = (0..100).flat_map(|_| lines.push(&[b'x'; 1000])).collect();
        let size: usize = all.iter().map(String::len).sum::<usize>() + lines.partial.len();
        assert_eq!(size, 100_000);
        assert!(all.len() > 1 && all.iter().all(|line| line.len() < LOG_LINE_MAX + 1000));
    }
}
