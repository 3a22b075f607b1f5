//! The feed as NuGet's clients speak to it.

use super::*;

impl Client {
    /// A request as a client of the feed makes it: the key as the password of basic authentication.
    async fn feed(&self, method: &str, path: &str) -> (StatusCode, String) {
        let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("x:{}", self.key));
        let request = Request::builder().method(method).uri(path).header("Host", "portal.example:8443");
        let response =
            self.send(request.header("Authorization", format!("Basic {basic}")).body(Body::empty()).unwrap()).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn feed_json(&self, path: &str) -> Value {
        let (status, text) = self.feed("GET", path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn nuget_push(&self, path: &str, bytes: &[u8]) -> Response<Body> {
        let boundary = "------boundary";
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"package\"; filename=\"package\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = Request::put(path)
            .header("Host", "portal.example:8443")
            .header("X-NuGet-ApiKey", &self.key)
            .header("Content-Type", format!("multipart/form-data; boundary=\"{boundary}\""));
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn with_packages() -> Self {
        let client = Self::new().await;
        for (id, version) in
            [("Acme.Web", "1.0"), ("Acme.Web", "1.10.0"), ("Acme.Web", "2.0.0-RC.1"), ("Acme.Db", "3.0.0")]
        {
            let pushed = client.nuget_push("/nuget/packages", &package(id, version, version)).await;
            assert_eq!(pushed.status(), StatusCode::CREATED, "{id} {version}");
        }
        client
    }
}

#[tokio::test]
async fn the_index_of_services_leads_to_every_file() {
    let client = Client::with_packages().await;
    for mount in ["/nuget", "/api/nuget", "/api/Spaces-1/nuget", "/api/spaces/default/nuget"] {
        let index = client.feed_json(&format!("{mount}/v3/index.json")).await;
        let at = |kind: &str| {
            let service = index["resources"].as_array().unwrap().iter().find(|service| service["@type"] == kind);
            let address = service.unwrap()["@id"].as_str().unwrap();
            address.strip_prefix("http://portal.example:8443").unwrap().to_owned()
        };
        assert!(at("PackagePublish/2.0.0").starts_with(mount), "{index}");
        let flat = at("PackageBaseAddress/3.0.0");
        let versions = client.feed_json(&format!("{flat}acme.web/index.json")).await;
        assert_eq!(versions, json!({"versions": ["1.0.0", "1.10.0", "2.0.0-rc.1"]}));
        let (status, nuspec) = client.feed("GET", &format!("{flat}acme.web/2.0.0-rc.1/acme.web.nuspec")).await;
        assert!(status == StatusCode::OK && nuspec.contains("<id>Acme.Web</id>"), "{nuspec}");
        let registration = client.feed_json(&format!("{}acme.web/index.json", at("RegistrationsBaseUrl"))).await;
        let page = &registration["items"][0];
        assert_eq!(
            (&page["lower"], &page["upper"], &page["count"]),
            (&json!("1.0.0"), &json!("2.0.0-RC.1"), &json!(3))
        );
        for leaf in page["items"].as_array().unwrap() {
            let path = |field: &str| {
                leaf[field].as_str().unwrap().strip_prefix("http://portal.example:8443").unwrap().to_owned()
            };
            assert_eq!(client.feed("GET", &path("packageContent")).await.0, StatusCode::OK);
            assert_eq!(client.feed_json(&path("@id")).await, *leaf);
        }
        let found = client.feed_json(&format!("{}?q=acme&take=10", at("SearchQueryService"))).await;
        assert_eq!(found["totalHits"], 2);
        let hit = |n: usize| (found["data"][n]["id"].as_str().unwrap(), found["data"][n]["version"].as_str().unwrap());
        assert_eq!((hit(0), hit(1)), (("Acme.Db", "3.0.0"), ("Acme.Web", "1.10.0")));
        let found = client.feed_json(&format!("{}?q=WEB&prerelease=true", at("SearchQueryService"))).await;
        assert_eq!((&found["totalHits"], &found["data"][0]["version"]), (&json!(1), &json!("2.0.0-RC.1")));
        let typed = client.feed_json(&format!("{}?q=acme&skip=1", at("SearchAutocompleteService"))).await;
        assert_eq!(typed, json!({"totalHits": 2, "data": ["Acme.Web"]}));
    }
}

#[tokio::test]
async fn the_second_version_lists_finds_and_hands_out() {
    let client = Client::with_packages().await;
    let versions = |xml: &str| -> Vec<String> {
        let after = xml.split("<d:Version>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        after.collect()
    };
    for (path, wanted) in [
        ("Packages()", vec!["3.0.0", "1.0.0", "1.10.0", "2.0.0-RC.1"]),
        ("Packages()?$filter=IsLatestVersion", vec!["3.0.0", "1.10.0"]),
        ("Packages()?$filter=IsAbsoluteLatestVersion&$top=1&$skip=1", vec!["2.0.0-RC.1"]),
        (
            "Search()?$filter=IsLatestVersion&searchTerm='web'&targetFramework=''&includePrerelease=false",
            vec!["1.10.0"],
        ),
        ("FindPackagesById()?id='acme.web'", vec!["1.0.0", "1.10.0", "2.0.0-RC.1"]),
        ("FindPackagesById()?id='nobody'", vec![]),
        ("Packages(Id='Acme.Web',Version='1.0')", vec!["1.0.0"]),
    ] {
        let (status, xml) = client.feed("GET", &format!("/nuget/{path}")).await;
        assert_eq!(
            (status, versions(&xml)),
            (StatusCode::OK, wanted.into_iter().map(str::to_owned).collect()),
            "{path}: {xml}"
        );
    }
    let (_, one) = client.feed("GET", "/nuget/Packages(Id='Acme.Web',Version='1.10.0')").await;
    for part in [
        "src=\"http://portal.example:8443/nuget/package/Acme.Web/1.10.0\"",
        "<d:IsLatestVersion m:type=\"Edm.Boolean\">true<",
        "<d:IsAbsoluteLatestVersion m:type=\"Edm.Boolean\">false<",
        "<d:Authors>Tests<",
    ] {
        assert!(one.contains(part), "{part}: {one}");
    }
    assert_eq!(client.feed("GET", "/nuget/package/acme.web/1.10").await.0, StatusCode::OK);
    assert!(client.feed("GET", "/nuget/$metadata").await.1.contains("FindPackagesById"));
    assert!(client.feed("GET", "/nuget").await.1.contains("href=\"Packages\""));
    for (path, status) in [
        ("Packages(Id='Acme.Web',Version='9.9')", StatusCode::NOT_FOUND),
        ("Packages()?$filter=startswith(Id,'A')", StatusCode::NOT_IMPLEMENTED),
        ("GetUpdates()", StatusCode::NOT_FOUND),
        ("v3/flat/nobody/index.json", StatusCode::NOT_FOUND),
        ("v3/search?take=many", StatusCode::BAD_REQUEST),
    ] {
        let (answered, text) = client.feed("GET", &format!("/nuget/{path}")).await;
        assert_eq!(answered, status, "{path}: {text}");
        is_error(&serde_json::from_str(&text).unwrap());
    }
}

#[tokio::test]
async fn a_push_is_refused_in_the_words_that_clients_show() {
    let client = Client::with_packages().await;
    let reason = |response: &Response<Body>| {
        let reason = response.extensions().get::<hyper::ext::ReasonPhrase>().unwrap();
        String::from_utf8(reason.as_bytes().to_vec()).unwrap()
    };
    let again = client.nuget_push("/nuget/packages", &package("acme.web", "1.0.0", "other")).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    assert!(
        reason(&again).starts_with("A package with the same name and version already exists"),
        "{}",
        reason(&again)
    );
    let bytes = package("Acme.New", "1.0.0", "new");
    for broken in [&bytes[..bytes.len() / 2], b"no zip", b""] {
        let refused = client.nuget_push("/nuget", broken).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert!(reason(&refused).starts_with("The file is no package that can be used. "), "{}", reason(&refused));
    }
    assert_eq!(
        client.nuget_push("/nuget", &bytes).await.status(),
        StatusCode::CREATED,
        "the feed itself will do as well"
    );
    assert_eq!(client.feed("DELETE", "/nuget/Acme.New/1.0").await.0, StatusCode::NO_CONTENT);
    assert_eq!(client.feed("DELETE", "/nuget/packages/Acme.Db/3.0.0").await.0, StatusCode::NO_CONTENT);
    assert_eq!(client.feed("DELETE", "/nuget/packages/Acme.Db/3.0.0").await.0, StatusCode::NOT_FOUND);
    assert_eq!(ids(&client.get("/api/packages?latest=true").await), ["packages-Acme.Web.2.0.0-RC.1"]);
}

#[tokio::test]
async fn nobody_reads_the_feed_without_a_key_and_is_told_how_to_send_one() {
    let client = Client::with_packages().await;
    for path in ["/nuget", "/nuget/v3/search", "/nuget/$metadata", "/nuget/Packages()", "/nuget/package/Acme.Web/1.0.0"]
    {
        let answer = client.send(Request::get(path).header("Host", "portal").body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"), "{path}");
    }
    for path in ["/nuget/packages", "/nuget/v3/index.json"] {
        let answer = client.send(Request::get(path).header("Host", "portal").body(Body::empty()).unwrap()).await;
        assert_eq!(
            answer.status(),
            StatusCode::OK,
            "{path} only says where things stand, and clients look there first"
        );
    }
    let register = client.app.api_key(Scope::Register).await;
    let request = Request::get("/nuget/v3/search").header("Host", "portal").header("X-NuGet-ApiKey", register);
    assert_eq!(client.send(request.body(Body::empty()).unwrap()).await.status(), StatusCode::FORBIDDEN);
}
