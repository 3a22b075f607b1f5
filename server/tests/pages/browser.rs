//! A browser for tests: keeps its cookie, follows nothing by itself, and sends what a form holds.

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use octopus_server::auth::setup_link_create;
use octopus_server::db::users::user_by_name;
use octopus_server::routes;
use octopus_server::testing::TestApp;
use scraper::{ElementRef, Html, Selector};
use tower::ServiceExt as _;

/// The password that `admin` chose.
pub const PASSWORD: &str = "correct horse battery";

pub struct Browser {
    router: Router,
    cookie: Option<String>,
}

/// What came back.
pub struct Page {
    pub status: StatusCode,
    pub location: Option<String>,
    pub html: String,
}

impl Page {
    pub fn document(&self) -> Html {
        Html::parse_document(&self.html)
    }

    /// The texts of all elements that a selector finds, with single spaces.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let text = |element: ElementRef<'_>| {
            let text: String = element.text().collect();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        self.document().select(&Selector::parse(selector).unwrap()).map(text).collect()
    }

    pub fn text(&self, selector: &str) -> String {
        self.texts(selector).into_iter().next().unwrap_or_else(|| panic!("no {selector} in:\n{}", self.html))
    }

    pub fn count(&self, selector: &str) -> usize {
        self.document().select(&Selector::parse(selector).unwrap()).count()
    }
}

/// The link by which `admin` chooses a password.
pub async fn setup_token(portal: &TestApp) -> String {
    let mut tx = portal.db.write().await.unwrap();
    let admin = user_by_name(&mut tx, "admin").await.unwrap().unwrap();
    let token = setup_link_create(&mut tx, admin.id, portal.now()).await.unwrap();
    tx.commit().await.unwrap();
    token
}

impl Browser {
    /// Nobody yet.
    pub fn new(portal: &TestApp) -> Self {
        Self { router: routes::router(portal.app.clone()), cookie: None }
    }

    /// `admin`.
    pub async fn logged_in(portal: &TestApp) -> Self {
        let mut browser = Self::new(portal);
        let token = setup_token(portal).await;
        let fields = [("token", token.as_str()), ("password", PASSWORD), ("again", PASSWORD)];
        let answer = browser.post("/setup", &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.html);
        browser
    }

    pub fn forget(&mut self) {
        self.cookie = None;
    }

    /// The answer as it comes, for streams.
    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> http::Response<Body> {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Request::get(path), Body::empty()).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, Body::from(pairs.collect::<Vec<_>>().join("&"))).await
    }

    pub async fn upload(&mut self, name: &str, bytes: &[u8]) -> Page {
        let mut body = format!(
            "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n--x--\r\n");
        let request = Request::post("/packages").header(header::CONTENT_TYPE, "multipart/form-data; boundary=x");
        self.send(request, Body::from(body)).await
    }

    async fn send(&mut self, mut request: http::request::Builder, body: Body) -> Page {
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let answer = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        if let Some(cookie) = answer.headers().get(header::SET_COOKIE) {
            self.cookie = cookie.to_str().unwrap().split(';').next().map(str::to_owned);
        }
        let location = answer.headers().get(header::LOCATION).map(|value| value.to_str().unwrap().to_owned());
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Page { status, location, html: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}
