//! Build information: written down, shown with the package, kept or replaced, and deleted.

use super::*;

fn said(version: &str, number: &str) -> Value {
    json!({
        "PackageId": "Acme.Web",
        "Version": version,
        "OctopusBuildInformation": {
            "BuildEnvironment": "Jenkins",
            "BuildNumber": number,
            "BuildUrl": null,
            "Branch": "main",
            "VcsType": "Git",
            "VcsRoot": "https://git.example.com/web",
            "VcsCommitNumber": "abc",
            "Commits": [{"Id": "abc", "Comment": "Mend the door"}],
        },
    })
}

const PATH: &str = "/api/Spaces-1/build-information";

#[tokio::test]
async fn how_a_version_was_built_is_told_with_it() {
    let client = Client::new().await;
    let made = client.create(PATH, said("1.0.0", "17")).await;
    assert_eq!((&made["Id"], &made["BuildNumber"]), (&json!("BuildInformation-1"), &json!("17")));
    assert_eq!(made["Commits"][0]["Comment"], "Mend the door");
    // It came before the package.
    client.push("", "fileToUpload", &package("Acme.Web", "1.0.0", "a")).await;
    client.push("", "fileToUpload", &package("Acme.Web", "2.0.0", "a")).await;
    let one = client.get("/api/packages/packages-Acme.Web.1.0.0").await;
    assert_eq!(one["PackageVersionBuildInformation"], made);
    let listed = client.get("/api/packages").await;
    assert_eq!(listed["Items"][1]["PackageVersionBuildInformation"]["Branch"], "main");
    assert_eq!(listed["Items"][0]["PackageVersionBuildInformation"], Value::Null);
    assert_eq!(client.get(made["Links"]["Self"].as_str().unwrap()).await, made);
}

#[tokio::test]
async fn what_was_said_before_is_refused_kept_or_replaced_as_asked() {
    let client = Client::new().await;
    let first = client.create(PATH, said("1.0.0", "17")).await;
    let exists = "Metadata for the specified Package ID and version already exists.";
    client.refused("POST", PATH, Some(said("1.0", "18")), StatusCode::CONFLICT, exists).await;
    let kept = client.call("POST", &format!("{PATH}?overwriteMode=IgnoreIfExists"), Some(said("1.0", "18"))).await;
    assert_eq!(kept, (StatusCode::OK, first.clone()));
    let (status, replaced) =
        client.call("POST", &format!("{PATH}?overwriteMode=OverwriteExisting"), Some(said("1.0", "18"))).await;
    assert_eq!((status, &replaced["BuildNumber"], &replaced["Id"]), (StatusCode::OK, &json!("18"), &first["Id"]));
    let bad = StatusCode::BAD_REQUEST;
    client
        .refused("POST", &format!("{PATH}?overwriteMode=Perhaps"), Some(said("1.0", "1")), bad, "overwriteMode")
        .await;
    client.refused("POST", PATH, Some(said("one", "1")), bad, "one").await;
    client.refused("POST", PATH, Some(json!({"PackageId": "../x", "Version": "1.0"})), bad, "..").await;
}

#[tokio::test]
async fn build_information_is_listed_and_deleted_all_or_none() {
    let client = Client::new().await;
    for version in ["1.0.0", "1.10.0", "1.9.0"] {
        client.create(PATH, said(version, version)).await;
    }
    let mut other = said("1.0.0", "1");
    other["PackageId"] = json!("Beta");
    client.create(PATH, other).await;
    let found = async |query: &str| {
        let page = client.get(&format!("{PATH}?{query}")).await;
        let items = page["Items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| format!("{} {}", item["PackageId"].as_str().unwrap(), item["Version"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("").await, ["Acme.Web 1.10.0", "Acme.Web 1.9.0", "Acme.Web 1.0.0", "Beta 1.0.0"]);
    assert_eq!(found("latest=true").await, ["Acme.Web 1.10.0", "Beta 1.0.0"]);
    assert_eq!(found("packageId=beta").await, ["Beta 1.0.0"]);
    assert_eq!(found("filter=web&take=1").await, ["Acme.Web 1.10.0"]);
    let missing = StatusCode::NOT_FOUND;
    let path = format!("{PATH}/bulk?ids=BuildInformation-1,BuildInformation-9");
    client.refused("DELETE", &path, None, missing, "BuildInformation-9").await;
    assert_eq!(found("").await.len(), 4, "all or none");
    let path = format!("{PATH}/bulk?ids=BuildInformation-1,BuildInformation-2");
    assert_eq!(client.call("DELETE", &path, None).await.0, StatusCode::OK);
    assert_eq!(client.call("DELETE", &format!("{PATH}/BuildInformation-3"), None).await.0, StatusCode::OK);
    client.refused("DELETE", &format!("{PATH}/BuildInformation-3"), None, missing, "BuildInformation-3").await;
    assert_eq!(found("").await, ["Beta 1.0.0"]);
}
