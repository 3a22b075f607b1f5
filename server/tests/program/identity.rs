//! The portal's identity as it is changed: what is served while it runs, and what is left where it is killed.

use std::fs;

use crate::{Portal, answer, folder, output, program, shown, text};

#[tokio::test]
async fn https_shows_the_new_identity_from_the_switch_on_and_after_a_kill() {
    let data = folder();
    let portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0", "--https"]);
    let old = portal.thumbprint().to_owned();
    let made = output(program(&["admin", "create-api-key"], data.path()));
    let key = text(&made.stdout).trim().to_owned();
    portal.kill();
    // Plain HTTP is enough to ask for it; the next start serves HTTPS again.
    let portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let post = async |path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n");
        answer(portal.port, &format!("{head}X-Octopus-ApiKey: {key}\r\n\r\n")).await
    };
    assert!(post("/api/identity/use").await.starts_with("HTTP/1.1 409"), "none is readied");
    let readied = post("/api/identity/ready").await;
    assert!(readied.starts_with("HTTP/1.1 200") && readied.contains(r#""Stage":"Readied""#), "{readied}");
    let used = post("/api/identity/use").await;
    assert!(used.starts_with("HTTP/1.1 200") && !used.contains(&format!(r#""Thumbprint":"{old}""#)), "{used}");
    portal.kill();
    let portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0", "--https"]);
    assert_ne!(portal.thumbprint(), old);
    assert!(used.contains(portal.thumbprint()), "{used}");
    assert_eq!(shown(portal.port).await, portal.thumbprint());
    portal.kill();

    // Killed between the two names: the same identity under both is no former one.
    fs::copy(data.path().join("identity.pem"), data.path().join("identity-former.pem")).unwrap();
    let again = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    assert!(used.contains(again.thumbprint()) && !data.path().join("identity-former.pem").exists());
}
