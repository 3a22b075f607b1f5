//! The page that makes registration keys.

use http::StatusCode;

use crate::browser::Browser;
use crate::seed;

#[tokio::test]
async fn a_key_is_shown_once_with_its_command_and_listed_until_it_is_revoked() {
    let portal = seed::portal().await;
    let mut browser = Browser::logged_in(&portal).await;
    assert!(browser.get("/registration-keys").await.text(".blank").contains("Add the first environment"));
    let staging = seed::environment(&portal, "Staging").await.to_string();
    let page = browser.get("/registration-keys").await;
    assert_eq!(page.count("#command"), 0);
    assert_eq!(page.text("select[name=life] option[selected]"), "1 hour");

    let none = browser.post("/registration-keys", &[("server", "https://octopus:8443"), ("machines", "3")]).await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(none.text(".notice").contains("at least one environment"));
    let fields = [("environment", staging.as_str()), ("machines", "3"), ("roles", "web, db"), ("life", "15")];
    let sly: Vec<_> = fields.into_iter().chain([("server", "https://x; rm -rf /")]).collect();
    assert!(browser.post("/registration-keys", &sly).await.text(".notice").contains("address"));

    let fields: Vec<_> = fields.into_iter().chain([("server", "https://octopus:8443/")]).collect();
    let made = browser.post("/registration-keys", &fields).await;
    let command = made.text("#command");
    let print = portal.identities.thumbprint();
    let start = format!("tentacle register --server https://octopus:8443 --server-thumbprint {print} ");
    assert!(command.starts_with(&start), "{command}");
    let key = command.rsplit(' ').next().unwrap().to_owned();
    assert!(key.starts_with("REG-") && key.len() == 36, "{key}");

    let listed = browser.get("/registration-keys").await;
    assert!(!listed.html.contains(&key));
    let row = listed.text(".rows tbody tr");
    for words in ["RegistrationKeys-1", "works", "0 of 3", "Staging", "web, db", "never"] {
        assert!(row.contains(words), "{words}: {row}");
    }
    assert!(browser.get("/registration-keys/RegistrationKeys-1").await.html.contains("Nobody has used it yet."));
    let revoked = browser.post("/registration-keys/RegistrationKeys-1/revoke", &[]).await;
    assert_eq!(revoked.location.as_deref(), Some("/registration-keys"));
    let one = browser.get("/registration-keys/RegistrationKeys-1").await;
    assert!(one.text(".head").contains("revoked") && one.text(".facts").contains("by admin"), "{}", one.html);
    assert_eq!(browser.get("/registration-keys").await.count(".do button"), 0);
}
