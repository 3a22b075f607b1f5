//! `tentacle register` against a small portal: what is sent, what is trusted, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::sync::{Arc, Mutex};

use contract::Thumbprint;
use octopus_proto::tls::Identity;
use support::{Machine, machine};
use tokio_rustls::rustls;

const KEY: &str = "API-ABCDEF";

/// A portal of few words, over HTTP or HTTPS. It runs until the test ends.
struct Portal {
    url: String,
    identity: Identity,
    requests: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Answers {
    thumbprint: Thumbprint,
    /// The body and status of `POST /api/machines`.
    post: (u16, String),
    /// The items of `GET /api/machines`.
    machines: String,
}

fn portal(https: bool, change: impl FnOnce(&mut Answers)) -> Portal {
    let identity = Identity::generate("portal").unwrap();
    let mut answers = Answers {
        thumbprint: identity.thumbprint(),
        post: (201, r#"{"Id": "Machines-1", "Name": "web-1"}"#.to_owned()),
        machines: String::new(),
    };
    change(&mut answers);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scheme = if https { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate()], identity.key())
        .unwrap();
    let (config, seen) = (Arc::new(config), Arc::clone(&requests));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that does not like the certificate goes away.
            let _ = if https {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                answer(rustls::StreamOwned::new(connection, stream), &answers, &seen)
            } else {
                answer(stream, &answers, &seen)
            };
        }
    });
    Portal { url, identity, requests }
}

fn answer(stream: impl Read + Write, answers: &Answers, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let line = line.to_lowercase();
        length = line.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
        head += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    seen.lock().unwrap().push(format!("{head}\n{}", String::from_utf8(body).unwrap()));
    let target = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let keyed = head.contains(&format!("x-octopus-apikey: {}", KEY.to_lowercase()));
    let (status, text) = match (head.starts_with("post"), target.as_str()) {
        (false, "/api") => (200, r#"{"Application": "Octopus"}"#.to_owned()),
        _ if !keyed => (401, r#"{"ErrorMessage": "You must be logged in."}"#.to_owned()),
        (true, "/api/machines") => answers.post.clone(),
        (false, "/api/configuration/certificates/certificate-global") => {
            (200, format!(r#"{{"Thumbprint": "{}"}}"#, answers.thumbprint))
        }
        (false, "/api/environments?name=production" | "/api/environments?skip=0&take=100") => {
            (200, r#"{"Items": [{"Id": "Environments-7", "Name": "Production"}]}"#.to_owned())
        }
        (false, target) if target.starts_with("/api/environments?") => (200, r#"{"Items": []}"#.to_owned()),
        (false, target) if target.starts_with("/api/machines?thumbprint=") => {
            (200, format!(r#"{{"Items": [{}]}}"#, answers.machines))
        }
        _ => (404, String::new()),
    };
    let length = text.len();
    write!(stream.get_mut(), "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")?;
    stream.get_mut().flush()
}

fn register(machine: &Machine, portal: &Portal, more: &[&str]) -> Output {
    let mut arguments = vec!["register", "--server", &portal.url, "--name", "web-1", "--role", "web"];
    arguments.extend(more);
    if !more.contains(&"--environment") {
        arguments.extend(["--environment", "Production"]);
    }
    machine.command(&arguments).env("OCTOPUS_API_KEY", KEY).output().unwrap()
}

fn settings(machine: &Machine) -> String {
    std::fs::read_to_string(machine.home.config()).unwrap_or_default()
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_machine_is_added_and_the_portal_trusted() {
    for https in [true, false] {
        let machine = machine();
        machine.settings("# ours\nlisten = \"0.0.0.0:4711\"\n");
        let portal = portal(https, |_| ());
        let output = register(&machine, &portal, &[]);
        assert!(output.status.success(), "{}", words(&output));
        assert!(settings(&machine).starts_with("# ours\nlisten"));
        assert!(settings(&machine).contains(&portal.identity.thumbprint().to_string()));
        let requests = portal.requests.lock().unwrap();
        let post = requests.iter().find(|request| request.starts_with("post")).unwrap();
        for part in [
            r#""Name":"web-1""#,
            r#""EnvironmentIds":["Environments-7"]"#,
            r#""Roles":["web"]"#,
            r#""CommunicationStyle":"TentaclePassive""#,
            r#""Uri":"https://127.0.0.1:4711/""#,
            &format!(r#""Thumbprint":"{}""#, machine.identity()),
        ] {
            assert!(post.contains(part), "{part} in {post}");
        }
    }
}

#[test]
fn a_pinned_thumbprint_lets_only_that_portal_through() {
    let machine = machine();
    let before = settings(&machine);
    let portal = portal(true, |_| ());
    let good = portal.identity.thumbprint().to_string();
    let wrong = Thumbprint([1; 32]).to_string();
    let output = register(&machine, &portal, &["--server-thumbprint", &wrong]);
    assert!(!output.status.success());
    let said = words(&output);
    for part in [good.as_str(), &wrong, "--server-thumbprint", "octopus-server prints at its start"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("cannot reach"), "it is no fault of the network: {said}");
    assert_eq!(settings(&machine), before);
    assert!(portal.requests.lock().unwrap().is_empty(), "not even the key was shown");
    let output = register(&machine, &portal, &["--server-thumbprint", &good]);
    assert!(output.status.success(), "{}", words(&output));
}

#[test]
fn a_portal_that_says_another_thumbprint_than_it_shows_is_refused() {
    let machine = machine();
    let portal = portal(true, |answers| answers.thumbprint = Thumbprint([9; 32]));
    let shown = portal.identity.thumbprint().to_string();
    let output = register(&machine, &portal, &["--server-thumbprint", &shown]);
    let wanted = format!("says its thumbprint is {}, but --server-thumbprint says {shown}", Thumbprint([9; 32]));
    assert!(!output.status.success() && words(&output).contains(&wanted), "{}", words(&output));
}

#[test]
fn an_unknown_environment_is_told_with_those_that_exist() {
    let machine = machine();
    let portal = portal(false, |_| ());
    let output = register(&machine, &portal, &["--environment", "Staging"]);
    assert!(!output.status.success() && words(&output).contains("it has: Production"), "{}", words(&output));
}

#[test]
fn what_the_portal_says_is_shown_and_its_trust_is_taken_back() {
    let machine = machine();
    let before = settings(&machine);
    let portal = portal(false, |answers| {
        answers.post =
            (400, r#"{"ErrorMessage": "There was a problem.", "Errors": ["The name is taken."]}"#.to_owned());
    });
    let output = register(&machine, &portal, &[]);
    assert!(!output.status.success());
    assert!(words(&output).contains("There was a problem. The name is taken."), "{}", words(&output));
    assert_eq!(settings(&machine), before);
}

#[test]
fn a_machine_that_is_registered_already_is_fine() {
    let machine = machine();
    let thumbprint = machine.identity();
    let portal = portal(false, |answers| {
        answers.machines =
            format!(r#"{{"Id": "Machines-3", "Name": "old", "Endpoint": {{"Thumbprint": "{thumbprint}"}}}}"#);
        answers.post = (500, String::new());
    });
    let output = register(&machine, &portal, &[]);
    assert!(output.status.success() && words(&output).contains("already as old"), "{}", words(&output));
    assert!(settings(&machine).contains(&portal.identity.thumbprint().to_string()));
}

#[test]
fn a_key_that_is_missing_or_wrong_is_told() {
    let machine = machine();
    let portal = portal(false, |_| ());
    let arguments = ["register", "--server", &portal.url, "--environment", "Production"];
    let output = machine.command(&arguments).output().unwrap();
    assert!(words(&output).contains("OCTOPUS_API_KEY"), "{}", words(&output));
    let output = machine.command(&arguments).env("OCTOPUS_API_KEY", "API-WRONG").output().unwrap();
    assert!(words(&output).contains("You must be logged in."), "{}", words(&output));
    let arguments = ["register", "--server", "http://192.0.2.1", "--environment", "Production"];
    let output = machine.command(&arguments).env("OCTOPUS_API_KEY", KEY).output().unwrap();
    assert!(words(&output).contains("not encrypted"), "{}", words(&output));
}

#[tokio::test]
async fn a_running_tentacle_trusts_a_portal_that_it_is_registered_with_at_once() {
    let machine = machine();
    machine.settings("");
    let process = machine.run();
    let portal = portal(false, |_| ());
    assert!(machine.connect_as(&process, &portal.identity).await.is_err());
    let output = register(&machine, &portal, &[]);
    assert!(output.status.success(), "{}", words(&output));
    machine.connect_as(&process, &portal.identity).await.unwrap().status().await.unwrap();
}
