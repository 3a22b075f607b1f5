//! The program itself: what it prints, what it serves, and what is left when it is killed.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod backup;
mod faults;
mod identity;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use octopus_proto::tls::Identity;
use octopus_server::db::Db;
use octopus_server::db::api_keys::api_key_list;
use octopus_server::db::settings::{INSTALLATION_ID, setting_get};
use octopus_server::db::users::user_by_name;
use octopus_server::model::Scope;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long anything may take on a busy machine; then the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, with nothing of the environment that it reads.
fn program(args: &[&str], data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_octopus-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("OCTOPUS_") || name == "RUST_LOG") {
            command.env_remove(name);
        }
    }
    command.args(args).arg("--data-dir").arg(data_dir).stdin(Stdio::null());
    command
}

/// A running portal. Killed when it is dropped.
struct Portal {
    child: Child,
    /// What it printed up to the line that says where it listens.
    lines: Vec<String>,
    port: u16,
}

impl Portal {
    fn start(data_dir: &Path, args: &[&str]) -> Self {
        Self::of(program(&[&["run"], args].concat(), data_dir))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tx, rx) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tx.send(line)));
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains(" listens on ")) {
            lines.push(rx.recv_timeout(PATIENCE).expect("a line on stdout"));
        }
        let port = lines.last().unwrap().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        Self { child, lines, port }
    }

    fn link(&self) -> Option<&str> {
        self.lines.iter().map(String::as_str).find(|line| line.contains("/setup?token="))
    }

    fn thumbprint(&self) -> &str {
        self.lines[0].strip_prefix("The portal's thumbprint is ").unwrap()
    }

    fn place(&self) -> &str {
        self.lines.last().unwrap()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Portal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn output(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it did not end in time");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everything that comes back for a plain GET of `/`.
async fn plain_get(port: u16) -> String {
    answer(port, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await
}

/// Everything that comes back for a request that closes its connection.
async fn answer(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has said all that it will say.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    text(&answer)
}

/// The thumbprint that is shown at a port.
async fn shown(port: u16) -> String {
    let asker = Identity::generate("asker").unwrap();
    let found = octopus_proto::tls::discover(&format!("127.0.0.1:{port}"), &asker, PATIENCE).await;
    found.unwrap().to_string()
}

#[tokio::test]
async fn the_first_start_prints_a_link_and_serves_plain_http_on_loopback() {
    let data = folder();
    let data_dir = data.path().join("new/data");
    let portal = Portal::start(&data_dir, &["--listen", "127.0.0.1:0"]);
    assert!(portal.place().contains(" listens on http://127.0.0.1:"), "{:?}", portal.lines);
    assert!(portal.link().unwrap().starts_with(&format!("http://127.0.0.1:{}/setup?token=", portal.port)));
    let answer = plain_get(portal.port).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 "), "{answer}");
    assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    assert_eq!(mode(&data_dir.join("packages")), 0o700);
    assert_eq!(mode(&data_dir.join("identity.pem")), 0o600);
}

#[tokio::test]
async fn a_link_is_printed_at_each_start_until_there_is_a_password() {
    let data = folder();
    let listen = ["--listen", "127.0.0.1:0"];
    let first = Portal::start(data.path(), &listen);
    let first_link = first.link().unwrap().rsplit('=').next().unwrap().to_owned();
    first.kill();
    let second = Portal::start(data.path(), &listen);
    assert_ne!(second.link().unwrap().rsplit('=').next().unwrap(), first_link);
    second.kill();

    let file = data.path().join("password");
    fs::write(&file, "correct horse battery\n").unwrap();
    let third =
        Portal::start(data.path(), &["--listen", "127.0.0.1:0", "--admin-password-file", file.to_str().unwrap()]);
    assert_eq!(third.link(), None, "{:?}", third.lines);
    third.kill();
    assert_eq!(Portal::start(data.path(), &listen).link(), None);
}

#[tokio::test]
async fn the_password_may_come_from_the_environment_and_must_be_a_good_one() {
    let data = folder();
    let command = |password: &str| {
        let mut command = program(&["run", "--listen", "127.0.0.1:0"], data.path());
        command.env("OCTOPUS_ADMIN_PASSWORD", password);
        command
    };
    let refused = output(command("short"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("at least 12 characters"), "{}", text(&refused.stderr));
    assert_eq!(Portal::of(command("correct horse battery")).link(), None);
}

#[tokio::test]
async fn an_api_key_is_made_while_the_portal_runs() {
    let data = folder();
    let empty = output(program(&["admin", "create-api-key"], data.path()));
    assert!(text(&empty.stderr).contains("there is no portal in"), "{}", text(&empty.stderr));

    let _portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let args = ["admin", "create-api-key", "--purpose", "CI", "--scope", "register"];
    let made = output(program(&args, data.path()));
    assert!(made.status.success(), "{}", text(&made.stderr));
    let printed = text(&made.stdout);
    let key = printed.strip_suffix('\n').unwrap();
    assert!(key.len() == 36 && key.starts_with("API-"), "only the key is printed: {printed:?}");
    assert!(key[4..].bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{key}");

    let db = Db::open(&data.path().join("octopus.db")).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let admin = user_by_name(&mut conn, "admin").await.unwrap().unwrap();
    let keys = api_key_list(&mut conn, admin.id).await.unwrap();
    assert_eq!((keys.len(), keys[0].purpose.as_str(), keys[0].scope), (1, "CI", Scope::Register));

    let unknown = output(program(&["admin", "create-api-key", "--user", "nobody"], data.path()));
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(1), 0));
    assert!(text(&unknown.stderr).contains("there is no user \"nobody\""), "{}", text(&unknown.stderr));
}

#[tokio::test]
async fn a_second_portal_on_the_same_folder_says_so_and_ends() {
    let data = folder();
    let _portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let second = output(program(&["run", "--listen", "127.0.0.1:0"], data.path()));
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another portal is running on the data folder"), "{}", text(&second.stderr));
}

#[tokio::test]
async fn plain_http_is_not_served_to_the_network() {
    let data = folder();
    let portal = Portal::start(data.path(), &["--listen", "0.0.0.0:0"]);
    assert!(portal.place().contains(" listens on https://localhost:"), "{:?}", portal.lines);
    let answer = plain_get(portal.port).await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    assert_eq!(shown(portal.port).await, portal.thumbprint());
}

#[tokio::test]
async fn clients_that_say_nothing_hold_up_nobody() {
    let data = folder();
    let portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0", "--https"]);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(("127.0.0.1", portal.port)).await.unwrap());
    }
    assert_eq!(shown(portal.port).await, portal.thumbprint());
}

#[tokio::test]
async fn a_proxy_in_front_gets_plain_http() {
    let data = folder();
    let portal = Portal::start(data.path(), &["--listen", "0.0.0.0:0", "--behind-proxy"]);
    let answer = plain_get(portal.port).await.to_lowercase();
    assert!(answer.contains("strict-transport-security"), "{answer}");
}

#[tokio::test]
async fn https_shows_the_portals_own_identity_or_the_given_certificate() {
    let data = folder();
    let own = Portal::start(data.path(), &["--listen", "127.0.0.1:0", "--https"]);
    let identity = Identity::load(&data.path().join("identity.pem")).unwrap();
    assert_eq!(shown(own.port).await, identity.thumbprint().to_string());
    assert_eq!(own.thumbprint(), identity.thumbprint().to_string());
    own.kill();

    let pem = data.path().join("given.pem");
    let given = Identity::load_or_create(&pem, "octopus.example").unwrap();
    let pem = pem.to_str().unwrap();
    let args = ["--listen", "127.0.0.1:0", "--tls-certificate", pem, "--tls-key", pem];
    let portal = Portal::start(data.path(), &args);
    assert_eq!(shown(portal.port).await, given.thumbprint().to_string());
    assert_eq!(portal.thumbprint(), identity.thumbprint().to_string(), "Tentacles pin the identity all the same");
}

#[tokio::test]
async fn a_killed_portal_starts_again_with_everything() {
    let data = folder();
    let installation_id = async || {
        let db = Db::open(&data.path().join("octopus.db")).await.unwrap();
        let id = setting_get(&mut db.read().await.unwrap(), INSTALLATION_ID).await.unwrap().unwrap();
        db.close().await;
        id
    };
    let first = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let (id, thumbprint) = (installation_id().await, first.thumbprint().to_owned());
    assert!(output(program(&["admin", "create-api-key"], data.path())).status.success());
    first.kill();
    fs::write(data.path().join("packages/.incoming-cut-off"), "half a package").unwrap();

    let second = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    assert_eq!((installation_id().await, second.thumbprint()), (id, thumbprint.as_str()));
    assert!(!data.path().join("packages/.incoming-cut-off").exists());
    let db = Db::open(&data.path().join("octopus.db")).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let admin = user_by_name(&mut conn, "admin").await.unwrap().unwrap();
    assert_eq!(api_key_list(&mut conn, admin.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn it_ends_when_told_although_a_connection_is_open() {
    let data = folder();
    let mut portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let mut idle = TcpStream::connect(("127.0.0.1", portal.port)).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
    let told = Instant::now();
    let pid = rustix::process::Pid::from_child(&portal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = loop {
        if let Some(status) = portal.child.try_wait().unwrap() {
            break status;
        }
        assert!(told.elapsed() < PATIENCE, "it did not end in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(status.code(), Some(0));
}
