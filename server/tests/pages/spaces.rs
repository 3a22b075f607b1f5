//! Spaces on pages: which one somebody looks at, and how administrators make, stop and delete them.

use http::StatusCode;
use octopus_server::app::App;
use octopus_server::db::environments::environment_list;
use octopus_server::ids::SpaceId;
use octopus_server::model::{NewSpace, Space, TaskQueue};
use octopus_server::spaces::{space_add, spaces_load};

use crate::browser::Browser;
use crate::seed;

async fn space(app: &App, name: &str) -> Space {
    let (slug, description, queue) = (None, String::new(), TaskQueue::Runs);
    space_add(app, &NewSpace { name: name.to_owned(), slug, description, queue }).await.unwrap()
}

#[tokio::test]
async fn pages_show_the_space_that_was_chosen_and_nothing_of_another() {
    let portal = seed::portal().await;
    spaces_load(&portal).await.unwrap();
    let mut browser = Browser::logged_in(&portal).await;
    let production = seed::environment(&portal, "Crimson").await;
    let machine = seed::machine(&portal, "web-1", &[production]).await;
    assert_eq!(browser.get("/environments").await.count("#space"), 0, "there is nothing to choose");
    let blue = space(&portal, "Blue team").await;
    assert_eq!(browser.get("/environments").await.text("#space"), "Default");
    let list = browser.get("/spaces").await;
    let action = format!("form[action='/spaces/{}/choose']", blue.id);
    assert_eq!((list.status, list.count(&action), list.count("tbody form")), (StatusCode::OK, 1, 1));

    let chosen = browser.post(&format!("/spaces/{}/choose", blue.id), &[]).await;
    assert_eq!((chosen.status, chosen.location.as_deref()), (StatusCode::SEE_OTHER, Some("/")));
    let page = browser.get("/environments").await;
    assert_eq!((page.text("#space").as_str(), page.html.contains("web-1")), ("Blue team", false));
    assert!(page.html.contains("space=Spaces-2"), "its stream is of that space");
    for path in ["/", "/rollouts", "/packages", "/tasks", "/freezes", "/audit", "/search?q=web-1", "/registration-keys"]
    {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.html.contains("web-1.example") && !page.html.contains("Crimson"), "{path}: {}", page.html);
    }
    let refused = browser.get(&format!("/machines/{machine}")).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert!(refused.html.contains("belong to another space"), "{}", refused.html);
    assert_eq!(browser.post(&format!("/machines/{machine}/delete"), &[]).await.status, StatusCode::NOT_FOUND);
    browser.post("/environments", &[("name", "Staging"), ("automatic", "never")]).await;
    let mut conn = portal.db.read().await.unwrap();
    assert_eq!(environment_list(&mut conn, blue.id).await.unwrap().len(), 1);
    assert_eq!(environment_list(&mut conn, SpaceId::DEFAULT).await.unwrap().len(), 1);
    drop(conn);

    browser.post("/spaces/Spaces-1/choose", &[]).await;
    assert_eq!(browser.get(&format!("/machines/{machine}")).await.status, StatusCode::OK);
    assert_eq!(browser.post("/spaces/Spaces-9/choose", &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn administrators_add_stop_and_delete_spaces() {
    let portal = seed::portal().await;
    spaces_load(&portal).await.unwrap();
    let mut browser = Browser::logged_in(&portal).await;
    let added = browser.post("/settings/spaces", &[("name", "Blue team"), ("description", "All that is blue")]).await;
    assert_eq!(added.location.as_deref(), Some("/settings/spaces"), "{}", added.html);
    let again = browser.post("/settings/spaces", &[("name", "BLUE TEAM")]).await;
    assert_eq!((again.status, again.count(".notice")), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    browser.post("/spaces/Spaces-2/choose", &[]).await;
    let refused = browser.post("/settings/spaces/Spaces-2/delete", &[]).await;
    assert_eq!((refused.status, refused.html.contains("stop it first")), (StatusCode::CONFLICT, true));
    let fields = [("name", "Blue team"), ("slug", "blue"), ("stopped", "true")];
    browser.post("/settings/spaces/Spaces-2", &fields).await;
    let page = browser.get("/settings/spaces/Spaces-2").await;
    assert_eq!((page.count("input[name=stopped][checked]"), page.count("input[name=slug][value=blue]")), (1, 1));
    assert_eq!(page.text("#space"), "Blue team – queue stopped");
    let asked = browser.get("/settings/spaces/Spaces-2/delete").await;
    assert!(asked.html.contains("with everything in it: nothing"), "{}", asked.html);
    let gone = browser.post("/settings/spaces/Spaces-2/delete", &[]).await;
    assert_eq!(gone.location.as_deref(), Some("/settings/spaces"), "{}", gone.html);
    let list = browser.get("/settings/spaces").await;
    assert_eq!((list.count("tbody tr"), list.count("#space")), (1, 0), "who looked at it looks at the default one");
    assert_eq!(browser.get("/settings/spaces/Spaces-1").await.count("a[data-ask]"), 0);
}
