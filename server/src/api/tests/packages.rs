//! The built-in feed.

use super::*;

#[tokio::test]
async fn a_package_is_pushed_fetched_and_deleted() {
    let client = Client::new().await;
    let bytes = package("Acme.Web", "1.0", "first");
    let (status, made) = client.push("?overwriteMode=FailIfExists", "fileToUpload", &bytes).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    has_keys(
        &made,
        "Id PackageId Version FileExtension FeedId NuGetPackageId NuGetFeedId Title Summary Description ReleaseNotes \
         Published PackageSizeBytes Hash PackageVersionBuildInformation Links",
    );
    assert_eq!((&made["Id"], &made["FeedId"]), (&json!("packages-Acme.Web.1.0.0"), &json!("feeds-builtin")));
    assert_eq!(made["PackageSizeBytes"], bytes.len());
    let other = package("acme.web", "1.0.0", "second");
    let (status, answer) = client.push("", "fileToUpload", &other).await;
    assert_eq!(status, StatusCode::CONFLICT);
    is_error(&answer);
    let message = answer["ErrorMessage"].as_str().unwrap();
    assert!(message.contains("A package with the same name and version already exists"), "{message}");
    let (status, kept) = client.push("?overwriteMode=IgnoreIfExists", "fileToUpload", &other).await;
    assert_eq!((status, &kept["Hash"]), (StatusCode::OK, &made["Hash"]));
    let (status, replaced) = client.push("?replace=true", "file", &other).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_ne!(replaced["Hash"], made["Hash"]);

    client.push("", "fileToUpload", &package("Acme.Web", "1.10.0", "newer")).await;
    client.push("", "fileToUpload", &package("Acme.Db", "2.0.0", "db")).await;
    for (query, found) in [
        ("latest=true", vec!["packages-Acme.Db.2.0.0", "packages-Acme.Web.1.10.0"]),
        ("nuGetPackageId=ACME.WEB&take=1", vec!["packages-Acme.Web.1.10.0"]),
        ("filter=db", vec!["packages-Acme.Db.2.0.0"]),
    ] {
        assert_eq!(ids(&client.get(&format!("/api/packages?{query}")).await), found, "{query}");
    }
    let id = replaced["Id"].as_str().unwrap();
    let request = Request::get(format!("/api/packages/{id}/raw")).header("X-Octopus-ApiKey", &client.key);
    let raw = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(raw.headers()["content-length"], other.len().to_string());
    assert_eq!(raw.into_body().collect().await.unwrap().to_bytes(), other);
    assert_eq!(client.call("DELETE", &format!("/api/packages/{id}"), None).await.0, StatusCode::OK);
    assert_eq!(client.call("GET", &format!("/api/packages/{id}"), None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_no_package_is_refused_with_a_sentence() {
    let client = Client::new().await;
    let (status, answer) = client.push("", "fileToUpload", b"not a zip").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    is_error(&answer);
    let (_, answer) = client.push("", "fileToUpload", b"").await;
    assert_eq!(answer["Errors"], json!(["The file is empty."]));
    let (status, answer) = client.push("?overwriteMode=Perhaps", "fileToUpload", b"").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    is_error(&answer);
    let body = Some(json!({}));
    client.refused("POST", "/api/packages/raw", body, StatusCode::BAD_REQUEST, "multipart/form-data").await;
}

/// A package whose nuspec says this, whether it may be said or not.
fn claims(id: &str, version: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("a.nuspec", zip::write::SimpleFileOptions::default()).unwrap();
    write!(writer, "<package><metadata><id>{id}</id><version>{version}</version></metadata></package>").unwrap();
    writer.finish().unwrap().into_inner()
}

#[tokio::test]
async fn the_longest_id_with_the_longest_version_is_kept_and_longer_ones_are_refused_in_words() {
    let client = Client::new().await;
    let id = "é".repeat(20) + &"a".repeat(80);
    let version = format!("1.0.0-{}", "b".repeat(122));
    assert_eq!((id.len(), version.len()), (120, 128));
    let (status, made) = client.push("", "fileToUpload", &claims(&id, &version)).await;
    assert_eq!((status, &made["PackageId"]), (StatusCode::CREATED, &json!(id)), "{made}");
    let address = format!("packages-{}{}.{version}", "%C3%A9".repeat(20), "a".repeat(80));
    assert_eq!(client.get(&format!("/api/packages/{address}")).await["Version"], version);
    for (id, version, why) in [
        ("é".repeat(61), "1.0.0".to_owned(), "120 bytes"),
        ("a".repeat(101), "1.0.0".to_owned(), "100 characters"),
        ("a".to_owned(), format!("{version}b"), "128 bytes"),
    ] {
        let (status, answer) = client.push("", "fileToUpload", &claims(&id, &version)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer["Errors"][0].as_str().unwrap().contains(why), "{answer}");
    }
    assert_eq!(client.get("/api/packages").await["TotalResults"], 1);
}
