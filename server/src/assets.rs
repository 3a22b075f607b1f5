//! Scripts, styles and pictures, embedded in the program. Called by the router and, for addresses, by the templates.
//!
//! A file's address holds the hash of its content, so a browser may keep it for ever. Nothing here reads a file that is
//! not part of the program.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

/// Digits of the hash that stand in an address: 64 bits, so that no two contents share one.
const HASH_DIGITS: usize = 16;

/// What a browser may do with a file whose address names its content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What it may do with a file that an older page asks for: the content is not the one it was written for.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

static HASHES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let hash = |name: &str| Assets::get(name).map(|file| hex::encode(file.metadata.sha256_hash()));
    let short = |digits: String| digits.chars().take(HASH_DIGITS).collect();
    Assets::iter().filter_map(|name| Some((name.to_string(), short(hash(&name)?)))).collect()
});

/// The address of the file `name`, such as `portal.css`. A name that does not exist gives an address that is not found.
pub fn url(name: &str) -> String {
    let hash = HASHES.get(name).map_or("missing", String::as_str);
    format!("/assets/{hash}/{name}")
}

/// `GET /assets/{hash}/{path}`.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/assets/{hash}/{*path}", get(serve))
}

async fn serve(Path((hash, path)): Path<(String, String)>) -> Response {
    let Some(file) = Assets::get(&path) else {
        return (StatusCode::NOT_FOUND, "There is no such file in this version of the portal.").into_response();
    };
    let is_current = HASHES.get(&path) == Some(&hash);
    let mime = HeaderValue::from_str(file.metadata.mimetype());
    let mime = mime.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let cache = if is_current { IMMUTABLE } else { NO_CACHE };
    ([(CONTENT_TYPE, mime), (CACHE_CONTROL, cache)], file.data).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn vendored_files_are_those_that_were_reviewed() {
        let lock = Assets::get("vendor/vendor.lock").unwrap();
        let lock = String::from_utf8(lock.data.into_owned()).unwrap();
        let lines = lock.lines().filter(|line| !line.starts_with('#'));
        let listed: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once("  ")).collect();
        for (digest, name) in &listed {
            let file = Assets::get(&format!("vendor/{name}")).expect(name);
            assert_eq!(hex::encode(file.metadata.sha256_hash()), *digest, "{name}");
        }
        let there = Assets::iter().filter_map(|name| name.strip_prefix("vendor/").map(str::to_owned));
        let there: BTreeSet<_> = there.filter(|name| name != "vendor.lock").collect();
        assert_eq!(there, listed.iter().map(|(_, name)| (*name).to_owned()).collect());
    }

    #[tokio::test]
    async fn a_file_may_be_kept_for_ever_only_under_its_own_hash() {
        let get = |uri: String| router::<()>().oneshot(Request::get(uri).body(Body::empty()).unwrap());
        let answer = get(url("portal.css")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CACHE_CONTROL], IMMUTABLE);
        assert!(answer.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("text/css"));
        let old = get("/assets/0123456789abcdef/portal.css".into()).await.unwrap();
        assert_eq!(old.headers()[CACHE_CONTROL], NO_CACHE);
        for missing in ["/assets/0/none.css", "/assets/0/../Cargo.toml", "/assets/0/%2e%2e/Cargo.toml"] {
            assert_eq!(get(missing.into()).await.unwrap().status(), StatusCode::NOT_FOUND, "{missing}");
        }
    }
}
