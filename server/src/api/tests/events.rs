//! The trail, as scripts read it.

use super::*;

#[tokio::test]
async fn who_changed_what_is_listed_newest_first_and_paged_by_number() {
    let client = Client::new().await;
    client.with_machine().await;
    client.call("PUT", "/api/machines/Machines-1", Some(json!({"Roles": ["mail"]}))).await;
    let all = client.get("/api/Spaces-1/events").await;
    let messages: Vec<_> = all["Items"].as_array().unwrap().iter().map(|event| event["Message"].clone()).collect();
    assert_eq!(
        messages[..3],
        ["admin changed machine web1", "admin added machine web1", "admin added environment Production"]
    );
    let newest = &all["Items"][0];
    has_keys(
        newest,
        "Id AutoId SpaceId Category DocumentType RelatedDocumentIds UserId Username IsService UserAgent \
         IdentityEstablishedWith IpAddress Occurred Message ChangeDetails Links",
    );
    assert_eq!((&newest["UserId"], &newest["IpAddress"]), (&json!("Users-1"), &json!("127.0.0.1")));
    assert_eq!(newest["IdentityEstablishedWith"], "Key (tests)");
    assert_eq!(newest["RelatedDocumentIds"], json!(["Machines-1"]));
    let difference = json!([{"Path": "Roles", "Old": ["app", "web"], "New": ["mail"]}]);
    assert_eq!(newest["ChangeDetails"]["Differences"], difference);
    assert_eq!(client.get(newest["Links"]["Self"].as_str().unwrap()).await, *newest);

    // A script that keeps up asks for what is newer than the last that it saw; one that reads all walks to older ones.
    let last = newest["AutoId"].as_i64().unwrap();
    assert_eq!(ids(&client.get(&format!("/api/events?fromAutoId={}", last + 1)).await), Vec::<&str>::new());
    client.create("/api/environments", json!({"Name": "Later"})).await;
    let newer = client.get(&format!("/api/events?fromAutoId={}", last + 1)).await;
    assert_eq!(ids(&newer), [format!("Events-{}", last + 1)]);
    let total = client.get("/api/events").await["TotalResults"].as_i64().unwrap();
    let mut walked = Vec::new();
    let mut to = last + 1;
    loop {
        let page = client.get(&format!("/api/events?take=2&toAutoId={to}")).await;
        let Some(oldest) = page["Items"].as_array().unwrap().last() else { break };
        to = oldest["AutoId"].as_i64().unwrap() - 1;
        walked.extend(ids(&page).into_iter().map(str::to_owned));
    }
    let expected: Vec<String> = (1..=total).rev().map(|id| format!("Events-{id}")).collect();
    assert_eq!(walked, expected);
    assert_eq!(client.get("/api/events?take=2").await["Links"]["Page.Next"], "/api/Spaces-1/events?skip=2&take=2");
}

#[tokio::test]
async fn events_are_filtered_by_every_name_of_the_reference() {
    let client = Client::new().await;
    client.with_machine().await;
    client.create("/api/tasks", json!({"Name": "Health"})).await;
    client.call("DELETE", "/api/machines/Machines-1", None).await;
    let count = async |query: &str| client.get(&format!("/api/events?{query}")).await["TotalResults"].as_u64().unwrap();
    let all = count("").await;
    for (query, expected) in [
        ("eventCategories=Created,Deleted&documentTypes=Machines", 2),
        ("eventCategories=created&documenttypes=machines", 1),
        ("eventGroups=Task", 1),
        ("eventGroups=Document&eventCategories=Queued", 0),
        ("eventAgents=page,console", 0),
        ("regarding=Machines-1", 3),
        ("regarding=Machines-1,ServerTasks-1", 1),
        ("regardingAny=Machines-1,ServerTasks-1,Environments-1", 4),
        ("environments=Environments-1", 1),
        ("users=Users-1&documentTypes=Environments", 1),
        ("user=Users-1&documentTypes=Environments", 1),
        ("users=Users-7", 0),
        ("partialName=DELETED%20machine", 1),
        ("from=2001-01-01", all),
        ("to=2001-01-01", 0),
        ("ids=Events-1,Events-2,Events-9999", 2),
        ("spaces=Spaces-1", all),
        ("spaces=Spaces-2", 0),
        ("projects=Projects-1", 0),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let plain = client.get("/api/events?excludeDifference=true&documentTypes=Machines").await;
    assert_eq!(plain["Items"][0]["ChangeDetails"], Value::Null);
    for (path, some) in [
        ("agents", json!({"Id": "key", "Name": "A script with a key"})),
        ("categories", json!({"Id": "Deleted", "Name": "Deleted"})),
        ("documenttypes", json!({"Id": "ServerTasks", "Name": "task"})),
        (
            "groups",
            json!({"Id": "Task", "Name": "What was asked for and given up", "EventCategories": ["Queued", "Canceled"]}),
        ),
    ] {
        let listed = client.get(&format!("/api/events/{path}")).await;
        assert!(listed.as_array().unwrap().contains(&some), "{path}: {listed}");
    }
}

#[tokio::test]
async fn what_no_event_can_be_asked_for_is_refused_and_nobody_changes_one() {
    let client = Client::new().await;
    let bad = StatusCode::BAD_REQUEST;
    let many = vec!["Events-1"; 301].join(",");
    for (query, text) in [
        ("eventCategories=Exploded", "Exploded"),
        ("documentTypes=Bananas", "Bananas"),
        ("eventGroups=x", "eventGroups"),
        ("fromAutoId=x", "fromAutoId"),
        ("users=admin", "Users-1"),
        ("from=yesterday", "yesterday"),
        (&format!("ids={many}"), "300"),
    ] {
        client.refused("GET", &format!("/api/events?{query}"), None, bad, text).await;
    }
    client.refused("GET", "/api/events?asCsv=true", None, StatusCode::NOT_IMPLEMENTED, "CSV").await;
    client.refused("GET", "/api/events/Events-999", None, StatusCode::NOT_FOUND, "Events-999").await;
    for method in ["PUT", "DELETE"] {
        let refused = StatusCode::METHOD_NOT_ALLOWED;
        client.refused(method, "/api/events/Events-1", Some(json!({})), refused, "cannot be done").await;
    }
    let register = client.app.api_key(Scope::Register).await;
    for path in ["/api/events", "/api/events/Events-1", "/api/events/groups"] {
        assert_eq!(client.call_with(Some(&register), "GET", path, None).await.0, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(client.call_with(None, "GET", path, None).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
}
