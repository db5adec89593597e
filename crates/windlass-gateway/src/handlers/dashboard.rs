//! `GET /dashboard/`: the page for people, its scripts and its style.
//!
//! All four are open like the page of the API: they are the same for every server of a version and say nothing of this
//! one. What the page shows it asks of the API, with its reader's token. They are made from `dashboard/` by
//! `dashboard/build`; scripts and style are stored compressed, and so are sent compressed to everybody.

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use sha2::{Digest as _, Sha256};
use windlass_core::result::hex;

use crate::protocol::headers::single_value;
use crate::state::GatewayState;

const PAGE: &[u8] = include_bytes!("../../dashboard/index.html");
const SCRIPT: &[u8] = include_bytes!("../../dashboard/app.js.gz");
const STYLE: &[u8] = include_bytes!("../../dashboard/app.css.gz");
const PARQUET: &[u8] = include_bytes!("../../dashboard/parquet.js.gz");

/// The page runs its own script and asks its own server. Pictures are made of bytes that the script has
/// asked for (`blob:`), and one of the page's own (`data:`). No text becomes markup: the only policy of trusted types
/// names the worker that reads Parquet files.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types parquet";

/// A worker has a policy of its own: this one only computes, with what the page has given it.
const WORKER_POLICY: &str = "default-src 'none'";

/// Nobody has to say who they are for these. So they get them once for each connection, as the documents of the API.
const LAST: (HeaderName, &str) = (header::CONNECTION, "close");

/// The page where an ingress signs its readers in.
static SIGNED_IN_PAGE: LazyLock<String> = LazyLock::new(|| {
    let sign_in = "<head>\n    <meta name=\"windlass-sign-in\" content=\"ingress\" />";
    String::from_utf8_lossy(PAGE).replacen("<head>", sign_in, 1)
});

static SIGNED_IN_ETAG: LazyLock<String> =
    LazyLock::new(|| format!("\"{}\"", version(SIGNED_IN_PAGE.as_bytes())));

static ETAGS: LazyLock<[String; 4]> =
    LazyLock::new(|| [PAGE, SCRIPT, STYLE, PARQUET].map(|bytes| format!("\"{}\"", version(bytes))));

/// What tells one version of a file from another: the page names its script and style by it.
fn version(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

pub(crate) async fn read_dashboard(
    State(state): State<Arc<GatewayState>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (page, etag) = if state.gateway.ingress_signs_in {
        (SIGNED_IN_PAGE.as_bytes(), SIGNED_IN_ETAG.as_str())
    } else {
        (PAGE, ETAGS[0].as_str())
    };
    let mut response = file(&uri, &headers, "text/html; charset=utf-8", page, etag);
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

pub(crate) async fn read_script(uri: Uri, headers: HeaderMap) -> Response {
    compressed(file(&uri, &headers, "text/javascript; charset=utf-8", SCRIPT, &ETAGS[1]))
}

pub(crate) async fn read_style(uri: Uri, headers: HeaderMap) -> Response {
    compressed(file(&uri, &headers, "text/css; charset=utf-8", STYLE, &ETAGS[2]))
}

pub(crate) async fn read_parquet_worker(uri: Uri, headers: HeaderMap) -> Response {
    let script = file(&uri, &headers, "text/javascript; charset=utf-8", PARQUET, &ETAGS[3]);
    let mut response = compressed(script);
    let policy = HeaderValue::from_static(WORKER_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

fn compressed(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

/// A file, or 304 for whoever has it. Under the name of its version it never changes.
fn file(
    uri: &Uri,
    headers: &HeaderMap,
    media_type: &'static str,
    bytes: &'static [u8],
    etag: &'static str,
) -> Response {
    let is_version = uri.query().is_some_and(|query| query == etag.trim_matches('"'));
    let cache = if is_version { "public, max-age=31536000, immutable" } else { "no-cache" };
    let head = [(header::ETAG, etag), (header::CACHE_CONTROL, cache), LAST];
    if single_value(headers, header::IF_NONE_MATCH).is_some_and(|seen| seen == etag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(header::CONTENT_TYPE, media_type)], bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_the_script_and_style_of_its_version_and_nothing_outside() {
        let page = std::str::from_utf8(PAGE).unwrap();
        for (name, bytes) in [("app.js", SCRIPT), ("app.css", STYLE)] {
            let link = format!("\"/dashboard/{name}?{}\"", version(bytes));
            assert!(page.contains(&link), "{link}: dashboard/build makes the page");
        }
        assert!(!page.contains("://") && !page.contains("<style") && !page.contains(" style="));
    }

    #[test]
    fn the_dashboard_is_small() {
        let bytes = PAGE.len() + SCRIPT.len() + STYLE.len() + PARQUET.len();
        assert!(bytes <= 90 * 1024, "{bytes}");
    }
}
