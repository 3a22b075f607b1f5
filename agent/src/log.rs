//! Where the lines of work go: the log of a ticket, or the terminal when a person installs by hand.

use std::io::Write as _;

use octopus_proto::LogLevel;

/// Takes the lines of work.
pub trait Log: Send + Sync {
    /// Takes some lines, in order. Must not block for long.
    fn lines(&self, lines: &mut dyn Iterator<Item = (LogLevel, &str)>);

    /// Takes one line.
    fn line(&self, level: LogLevel, text: &str) {
        self.lines(&mut std::iter::once((level, text)));
    }

    /// Takes a line of information.
    fn info(&self, text: &str) {
        self.line(LogLevel::Info, text);
    }
}

/// Information goes to stdout, the rest to stderr.
#[derive(Debug)]
pub struct Terminal;

impl Log for Terminal {
    fn lines(&self, lines: &mut dyn Iterator<Item = (LogLevel, &str)>) {
        for (level, text) in lines {
            // A closed terminal must not stop an installation.
            let _ = match level {
                LogLevel::Info => writeln!(std::io::stdout(), "{text}"),
                LogLevel::Warning => writeln!(std::io::stderr(), "warning: {text}"),
                LogLevel::Error => writeln!(std::io::stderr(), "error: {text}"),
            };
        }
    }
}

/// An error and everything below it, in one sentence.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
