//! Pushing and deleting, the same in both versions of the protocol.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::multipart::Multipart;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{MethodRouter, delete, put};
use bytes::BytesMut;
use futures_util::{StreamExt as _, stream};

use super::{Asked, NugetError};
use crate::api::packages::receive;
use crate::app::App;
use crate::error::ApiError;
use crate::feed::{OverwriteMode, package_remove, package_upload};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/packages/{id}/{version}", delete(remove))
        // Where the feed itself is named as the place to push to.
        .route("/{id}/{version}", delete(remove))
}

/// The store has its own limit, and nothing of the body is kept in memory.
pub(super) fn pushing() -> MethodRouter<App> {
    put(push).post(push).layer(DefaultBodyLimit::disable())
}

async fn push(asked: Asked, request: Request) -> Result<StatusCode, NugetError> {
    let request = match boundary(request.headers()) {
        Some(boundary) => request.map(|body| mended(body, &boundary)),
        None => request,
    };
    let form = Multipart::from_request(request, &asked.app).await;
    let refused =
        |error| ApiError::bad_request(format!("A package is pushed as a form (multipart/form-data): {error}"));
    let incoming = receive(&asked.app, &mut form.map_err(refused)?).await?;
    package_upload(&asked.app, asked.space, incoming, OverwriteMode::FailIfExists).await?;
    Ok(StatusCode::CREATED)
}

async fn remove(asked: Asked, Path(path): Path<Vec<(String, String)>>) -> Result<StatusCode, NugetError> {
    let part = |name: &str| path.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value);
    let package = asked.version(part("id"), part("version")).await?.package;
    package_remove(&asked.app, asked.space, &package.package_id, &package.version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What stands between the parts of the form.
fn boundary(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (_, rest) = kind.split_once("boundary=")?;
    Some(rest.split(';').next().unwrap_or(rest).trim().trim_matches('"').to_owned())
}

/// The form with the line break before its end as the standard wants it: NuGet's client on Mono ends the last part with
/// a bare line feed, which would belong to the package. Nothing but the last bytes is looked at.
fn mended(body: Body, boundary: &str) -> Body {
    let end = format!("\n--{boundary}--");
    // The end, a byte before it, and a line break after it.
    let held = end.len() + 3;
    let pieces = stream::unfold(Some((body.into_data_stream(), Bytes::new())), move |state| {
        let end = end.clone();
        async move {
            let (mut data, tail) = state?;
            let (pieces, state) = match data.next().await {
                None => (vec![Ok(with_line_break(tail, end.as_bytes()))], None),
                Some(Err(error)) => (vec![Err(error)], None),
                Some(Ok(mut piece)) if piece.len() >= held => {
                    let rest = piece.split_off(piece.len() - held);
                    (vec![Ok(tail), Ok(piece)], Some((data, rest)))
                }
                Some(Ok(piece)) => {
                    let mut both = BytesMut::from(tail);
                    both.extend_from_slice(&piece);
                    let rest = both.split_off(both.len().saturating_sub(held));
                    (vec![Ok(both.freeze())], Some((data, rest.freeze())))
                }
            };
            Some((stream::iter(pieces), state))
        }
    });
    Body::from_stream(pieces.flatten())
}

fn with_line_break(tail: Bytes, end: &[u8]) -> Bytes {
    let Some(at) = tail.windows(end.len()).rposition(|window| window == end) else { return tail };
    if at.checked_sub(1).and_then(|before| tail.get(before)) == Some(&b'\r') {
        return tail;
    }
    let mut mended = BytesMut::from(tail);
    let rest = mended.split_off(at);
    mended.extend_from_slice(b"\r");
    mended.extend_from_slice(&rest);
    mended.freeze()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_bare_line_feed_before_the_end_is_mended_however_the_form_is_cut() {
        for (sent, wanted) in [
            ("--b\r\n\r\nPK\n\n--b--", "--b\r\n\r\nPK\n\r\n--b--"),
            ("--b\r\n\r\nPK\r\n--b--\r\n", "--b\r\n\r\nPK\r\n--b--\r\n"),
            ("--b\r\n\r\nPK\n--b--\r\n", "--b\r\n\r\nPK\r\n--b--\r\n"),
            ("--b\r\n\r\nPK, and cut off", "--b\r\n\r\nPK, and cut off"),
            ("\n--b--", "\r\n--b--"),
            ("", ""),
        ] {
            for size in 1..=sent.len().max(1) {
                let pieces =
                    sent.as_bytes().chunks(size).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
                let body = mended(Body::from_stream(stream::iter(pieces.collect::<Vec<_>>())), "b");
                assert_eq!(body.collect().await.unwrap().to_bytes(), wanted, "{sent:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn the_boundary_is_found_with_and_without_quotes() {
        for kind in ["multipart/form-data; boundary=--a", "multipart/form-data; boundary=\"--a\"; charset=utf-8"] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(boundary(&headers).as_deref(), Some("--a"));
        }
        assert_eq!(boundary(&HeaderMap::new()), None);
    }
}
