//! How Tentacle ends, and its last words. The only file that may end the process.

use std::fs::File;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use contract::TentacleExit;

use crate::sys;

/// From the decision to end until the process is gone, come what may: calls get 2 s to answer, connections a moment to
/// close, and a little is left for a slow machine. At the limit the process ends with whatever was still going on.
const END_MAX: Duration = Duration::from_secs(5);

/// Stderr as Suction Cup made it: the file whose tail becomes the last words.
static LAST_WORDS: OnceLock<File> = OnceLock::new();

/// Keeps the stderr that Suction Cup made for last words, and lets everything else that is written to stderr go where
/// the log goes. A panic is written to both.
pub fn keep_stderr_for_last_words() {
    // Where it cannot be kept, stderr stays what it is: last words matter more than a tidy log.
    if let Ok(file) = sys::duplicate_stderr()
        && LAST_WORDS.set(file).is_ok()
    {
        let _ = sys::redirect_stderr_to_stdout();
    }
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        last_words(&format!("Tentacle panicked: {panic}"));
        earlier(panic);
    }));
}

/// Writes a line where the next Suction Cup, and through it the portal, will find it.
pub fn last_words(text: &str) {
    let line = format!("{text}\n");
    // Nothing can be done about a failure here, and a panic would only hide the reason.
    let _ = match LAST_WORDS.get() {
        Some(mut file) => file.write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}

/// Ends the process at once.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
pub fn now(exit: TentacleExit) -> ! {
    std::process::exit(i32::from(exit.code()))
}

/// Sees to it that the process ends within a few seconds, whatever hangs.
pub fn at_the_latest_soon(exit: TentacleExit) {
    let end = move || {
        std::thread::sleep(END_MAX);
        last_words("Tentacle did not end in time and ended itself");
        now(exit)
    };
    if std::thread::Builder::new().name("exit".to_owned()).spawn(end).is_err() {
        // No thread to be had: then there is no waiting either.
        now(exit);
    }
}

/// Ends a Tentacle that hangs, as a crash.
pub fn abort(reason: &str) -> ! {
    last_words(reason);
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::{Command, Stdio};

    use super::*;

    /// Set in the process that panics: it is this test's own program, with a stderr as Suction Cup makes it.
    const PANICS: &str = "TENTACLE_TEST_PANICS";

    #[test]
    fn a_panic_is_in_the_file_for_last_words_and_what_else_is_said_is_not() {
        if std::env::var_os(PANICS).is_some() {
            keep_stderr_for_last_words();
            eprintln!("chatter");
            assert!(std::thread::spawn(|| panic!("the sky fell")).join().is_err());
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let stderr = folder.path().join("stderr");
        let mut command = Command::new(std::env::current_exe().unwrap());
        let name = "exit::tests::a_panic_is_in_the_file_for_last_words_and_what_else_is_said_is_not";
        command.args([name, "--exact", "--nocapture"]).env(PANICS, "1").stderr(File::create(&stderr).unwrap());
        let output = command.stdout(Stdio::piped()).output().unwrap();
        let (words, log) = (std::fs::read_to_string(stderr).unwrap(), String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{log}");
        assert!(words.contains("Tentacle panicked:") && words.contains("the sky fell"), "{words}");
        assert!(!words.contains("chatter") && log.contains("chatter"), "{words}\n{log}");
    }
}
