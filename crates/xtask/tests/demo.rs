//! The real demo, ended in every way: nothing of it is left.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::{NamedTempFile, TempDir};
use xtask::{Programs, processes_with};

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A demo that has a place of its own for temporary files: whatever it starts carries that in its environment, and
/// whatever it leaves lies there.
struct Demo {
    child: Child,
    words: NamedTempFile,
    temp: TempDir,
}

impl Demo {
    async fn start() -> Self {
        let programs = Programs::for_tests().await.unwrap();
        let (temp, words) = (tempfile::tempdir().unwrap(), NamedTempFile::new().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["demo", "--machines", "2", "--listen", "127.0.0.1:0", "--programs"]);
        command.arg(programs.server.parent().unwrap()).env("TMPDIR", temp.path()).process_group(0);
        let out = || Stdio::from(File::options().append(true).open(words.path()).unwrap());
        let child = command.stdin(Stdio::null()).stdout(out()).stderr(out()).spawn().unwrap();
        Self { child, words, temp }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.words.path()).unwrap()
    }

    fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let begin = Instant::now();
        while !condition(self) {
            assert!(begin.elapsed() < LIMIT, "did not come true: {what}; the demo said:\n{}", self.said());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn until_it_says(&mut self, text: &str) {
        self.until(text, |demo| demo.said().contains(text));
    }

    /// Processes that run, and things that lie in its place for temporary files.
    fn left(&self) -> (usize, usize) {
        let processes = processes_with("TMPDIR", self.temp.path()).len();
        (processes, fs::read_dir(self.temp.path()).unwrap().count())
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The keeper ends the rest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_demo_that_is_killed_leaves_no_process_and_no_folder() {
    let mut demo = Demo::start().await;
    demo.until_it_says("Press Ctrl-C");
    let (processes, things) = demo.left();
    assert!(processes > 5 && things == 1, "two pairs, a portal, the demo and its keeper, in one folder");
    kill_process(demo.pid(), Signal::KILL).unwrap();
    demo.child.wait().unwrap();
    demo.until("nothing is left", |demo| demo.left() == (0, 0));
}

#[tokio::test]
async fn a_demo_that_is_killed_at_its_start_with_its_whole_group_leaves_nothing_either() {
    let mut demo = Demo::start().await;
    demo.until_it_says("starting 2 machines");
    demo.until("a machine is there", |demo| demo.left().0 > 3);
    kill_process_group(demo.pid(), Signal::KILL).unwrap();
    demo.child.wait().unwrap();
    demo.until("nothing is left", |demo| demo.left() == (0, 0));
}

#[tokio::test]
async fn a_demo_that_is_told_to_end_has_cleaned_up_when_it_ends() {
    let mut demo = Demo::start().await;
    demo.until_it_says("Press Ctrl-C");
    kill_process(demo.pid(), Signal::INT).unwrap();
    demo.until("it ends", Demo::ended);
    assert_eq!(demo.left(), (0, 0), "{}", demo.said());
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
}
