//! The process itself: start, lock, signals, last words, memory, and the commands for people.

mod support;

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use contract::TentacleExit;
use rustix::process::Signal;
use support::{machine, until};

/// Most resident memory of a Tentacle that does nothing, in KiB. The program of a test is not optimised, and larger.
const IDLE_MEMORY_MAX: u64 = 32 * 1024;

#[tokio::test]
async fn the_first_start_makes_a_private_home_and_an_identity_that_stays() {
    let machine = machine();
    let thumbprint = machine.run().identity;
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in [machine.home.packages(), machine.home.work(), machine.home.supervisor()] {
        assert_eq!(mode(folder), 0o700);
    }
    assert_eq!(mode(machine.home.identity()), 0o600);
    let shown = machine.command(&["show-thumbprint"]).output().unwrap();
    assert_eq!(String::from_utf8(shown.stdout).unwrap().trim(), thumbprint.to_string());
}

#[tokio::test]
async fn a_damaged_supervisor_folder_does_not_keep_it_from_running_and_is_told() {
    let machine = machine();
    std::fs::remove_dir_all(machine.home.supervisor()).unwrap();
    std::fs::write(machine.home.supervisor(), "not a folder").unwrap();
    let process = machine.run();
    let status = machine.connect(&process).await.unwrap().status().await.unwrap();
    let problem = format!("{} cannot be written: Not a directory (os error 20)", machine.home.supervisor().display());
    assert_eq!(status.problems, [problem]);
}

#[tokio::test]
async fn of_two_tentacles_on_one_home_the_second_waits_for_the_first() {
    let machine = machine();
    let first = machine.run();
    let mut second =
        machine.command(&["run", "--listen", "127.0.0.1:0"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    machine.connect(&first).await.unwrap().status().await.unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(second.try_wait().unwrap().is_none(), "it waits and does not die of it");
    second.kill().unwrap();
    second.wait().unwrap();
    first.kill();
    machine.run();
}

#[tokio::test]
async fn a_port_that_is_taken_is_waited_for() {
    let machine = machine();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let mut child =
        machine.command(&["run", "--listen", &address]).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    drop(holder);
    let identity = machine.identity();
    until("it listens", async || {
        octopus_proto::tls::connect(&address, &machine.portal, identity, Duration::from_secs(1)).await.is_ok()
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn told_to_end_it_ends_with_0_soon() {
    for signal in [Signal::TERM, Signal::INT] {
        let machine = machine();
        let mut process = machine.run();
        let _client = machine.connect(&process).await.unwrap();
        process.signal(signal);
        let started = Instant::now();
        assert_eq!(process.ended().code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn settings_that_cannot_be_understood_are_the_last_words() {
    let machine = machine();
    machine.settings("listne = \"x\"");
    let stderr = OpenOptions::new().create(true).append(true).open(machine.home.stderr()).unwrap();
    let status = machine
        .command(&["run"])
        .env("SUCTION_CUP_CONTRACT", "1")
        .stdout(std::process::Stdio::null())
        .stderr(stderr)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(i32::from(TentacleExit::Failed.code())));
    let words = std::fs::read_to_string(machine.home.stderr()).unwrap();
    assert!(words.contains("tentacle.toml") && words.contains("listne"), "{words}");
}

#[tokio::test]
async fn under_suction_cup_it_says_so_and_its_log_stays_out_of_the_last_words() {
    let machine = machine();
    let process = machine.run_with(&[("SUCTION_CUP_CONTRACT", "1"), ("SUCTION_CUP_VERSION", "7.7.7")]);
    let status = machine.connect(&process).await.unwrap().status().await.unwrap();
    assert_eq!(status.supervisor_contract, Some(1));
    let targets: Vec<_> =
        (1..3).map(|fd| std::fs::read_link(format!("/proc/{}/fd/{fd}", process.id())).unwrap()).collect();
    assert_eq!(targets[0], targets[1], "stderr goes where stdout goes");
}

#[tokio::test]
async fn a_tentacle_does_not_outlive_its_supervisor() {
    let machine = machine();
    let script = format!(
        "{} run --listen 127.0.0.1:0 > {}/log & echo $!; sleep 60",
        env!("CARGO_BIN_EXE_tentacle"),
        machine.folder.path().display()
    );
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &script]).env("SUCTION_CUP_CONTRACT", "1").env("OCTOPUS_TENTACLE_HOME", machine.home.path());
    let mut shell = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    let log = machine.folder.path().join("log");
    until("it runs", async || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("is running"))).await;
    shell.kill().unwrap();
    shell.wait().unwrap();
    let gone = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    until("it is dead", async || gone()).await;
}

#[tokio::test]
async fn the_self_watch_finds_a_healthy_tentacle_healthy() {
    let machine = machine();
    let mut process = machine.run_with(&[("OCTOPUS_TENTACLE_WATCH_MS", "20"), ("OCTOPUS_TENTACLE_LOG", "debug")]);
    std::thread::sleep(Duration::from_millis(500));
    machine.connect(&process).await.unwrap().status().await.unwrap();
    assert!(process.is_running());
    assert!(process.log.try_iter().all(|line| !line.contains("does not answer")));
}

#[tokio::test]
async fn a_tentacle_that_does_not_answer_ends_itself_as_a_crash_with_last_words() {
    let machine = machine();
    let stderr = OpenOptions::new().create(true).append(true).open(machine.home.stderr()).unwrap();
    // With so few files open it cannot take a connection any more once a client holds many.
    let mut command = std::process::Command::new("bash");
    command.args(["-c", "ulimit -c 0 -n 40; exec \"$0\" run --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_tentacle")]);
    command.env("OCTOPUS_TENTACLE_HOME", machine.home.path()).env("OCTOPUS_TENTACLE_WATCH_MS", "200");
    let mut process = machine.run_command({
        command.stderr(stderr);
        command
    });
    let held: Vec<_> = (0..60).map(|_| std::net::TcpStream::connect(&process.address)).collect();
    let status = process.ended();
    assert_eq!(status.signal(), Some(6), "{status:?}");
    let words = std::fs::read_to_string(machine.home.stderr()).unwrap();
    assert!(words.contains("did not answer on its own port 3 times"), "{words}");
    drop(held);
}

#[tokio::test]
async fn an_idle_tentacle_is_small() {
    let machine = machine();
    let process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    let file = machine.folder.path().join("upload");
    std::fs::write(&file, vec![7; 16 << 20]).unwrap();
    client.upload(&file).await;
    client.status().await.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < IDLE_MEMORY_MAX, "{kilobytes} KiB");
}

#[test]
fn a_command_line_that_is_not_understood_is_a_usage_error() {
    let machine = machine();
    let output = machine.command(&["fly"]).output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(TentacleExit::Usage.code())));
    assert!(machine.command(&["--help"]).output().unwrap().status.success());
}

#[test]
fn a_person_installs_by_hand_with_a_true_exit_code() {
    let machine = machine();
    let good = machine.package("Acme.Web", &[("Deploy.sh", "echo hello $OCTOPUS_NAME")]);
    let arguments = ["install", good.to_str().unwrap(), "--environment", "Test", "--variable", "name=world"];
    let output = machine.command(&arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("hello world"), "{output:?}");
    assert!(machine.home.applications().join("Test/Acme.Web/1.0.0/Deploy.sh").exists());

    let bad = machine.package("Acme.Bad", &[("Deploy.sh", "exit 1")]);
    let output = machine.command(&["install", bad.to_str().unwrap(), "--environment", "Test"]).output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(TentacleExit::Failed.code())), "{output:?}");
    let output = machine.command(&["install", good.to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("--environment"), "{output:?}");
}

#[test]
fn a_person_installs_a_tentacle_by_hand() {
    let machine = machine();
    let version = contract::Version::release(9000, 0, 0);
    std::fs::write(machine.home.withdrawn(&version), "").unwrap();
    let package = machine.tentacle_package(&version);
    let output = machine.command(&["install", package.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Suction Cup will launch it"), "{output:?}");
    assert_eq!(machine.home.installed_tentacles().unwrap(), std::slice::from_ref(&version));
    assert!(!machine.home.withdrawn(&version).exists());
}
