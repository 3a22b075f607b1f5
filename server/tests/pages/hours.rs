//! The forms that say when upgrades may begin, and whether they begin by themselves.

use http::StatusCode;

use crate::browser::Browser;
use crate::seed;

#[tokio::test]
async fn maintenance_windows_are_added_changed_and_taken_away_by_the_form() {
    let portal = seed::portal().await;
    seed::environment(&portal, "Production").await;
    let mut browser = Browser::logged_in(&portal).await;
    let path = "/environments/Environments-1/edit";
    assert_eq!(browser.get(path).await.count(".window"), 1, "a row for the first one");
    let name = ("name", "Production");
    let row = |cron: &'static str, minutes: &'static str, zone: &'static str| {
        [("cron", cron), ("minutes", minutes), ("zone", zone)]
    };
    let form = |rows: &[[(&'static str, &'static str); 3]]| {
        let fields = rows.iter().flatten().copied();
        [name, ("automatic", "careful")].into_iter().chain(fields).collect::<Vec<_>>()
    };
    let wrong = browser.post(path, &form(&[row("0 25 * * *", "60", "Europe/Berlin")])).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let said = wrong.text(".notice");
    assert!(said.contains("\"25\" is no hour, which is 0 to 23"), "{said}");
    assert!(wrong.html.contains("value=\"0 25 * * *\""), "what was typed stays");
    let wrong = browser.post(path, &form(&[row("0 22 * * *", "an hour", "UTC")])).await;
    assert!(wrong.text(".notice").contains("a whole number of minutes"), "{}", wrong.text(".notice"));

    let right = browser.post(path, &form(&[row("0 22 * * 1-5", "120", "Europe/Berlin"), row("", "60", "UTC")])).await;
    assert_eq!(right.status, StatusCode::SEE_OTHER, "{}", right.html);
    let page = browser.get(path).await;
    assert_eq!(page.count(".window"), 2, "the window, and a row for the next");
    assert!(page.html.contains("value=\"0 22 * * 1-5\"") && page.html.contains("value=\"Europe/Berlin\""));
    assert_eq!(page.count("input[name=automatic][value=careful][checked]"), 1);
    assert!(
        page.text(".hint b").contains(" at ") || page.text(".hint b").contains("until"),
        "{}",
        page.text(".hint b")
    );
    browser.post(path, &form(&[row("", "120", "Europe/Berlin")])).await;
    assert_eq!(browser.get(path).await.count(".window"), 1);
}

#[tokio::test]
async fn a_freeze_is_planned_and_taken_back_by_forms() {
    let portal = seed::portal().await;
    seed::environment(&portal, "Production").await;
    let mut browser = Browser::logged_in(&portal).await;
    assert!(browser.get("/freezes").await.text(".empty").contains("There is no freeze"));
    let fields = [("from", "2126-12-20T18:00"), ("until", "2127-01-02T06:00"), ("reason", "<b>Christmas</b>")];
    let nowhere = browser.post("/freezes", &fields).await;
    assert_eq!(nowhere.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(nowhere.text(".notice").contains("at least one"), "{}", nowhere.text(".notice"));
    let some = [&fields[..], &[("environment", "Environments-1")]].concat();
    assert_eq!(browser.post("/freezes", &some).await.location.as_deref(), Some("/freezes"));
    let page = browser.get("/freezes").await;
    let row = page.text("tbody tr");
    assert!(row.contains("to come") && row.contains("Production") && row.contains("<b>Christmas</b>"), "{row}");
    assert!(!page.html.contains("<b>Christmas"), "escaped");
    browser.post("/freezes/Freezes-1/end", &[]).await;
    assert_eq!(browser.get("/freezes").await.count("tbody tr"), 0);
    assert_eq!(browser.post("/freezes/Freezes-1/end", &[]).await.status, StatusCode::SEE_OTHER, "again");
    let all = [&fields[..1], &[("until", "2126-12-20T18:00"), ("reason", "x"), ("all", "true")]].concat();
    assert!(browser.post("/freezes", &all).await.text(".notice").contains("must end after it begins"));
}
