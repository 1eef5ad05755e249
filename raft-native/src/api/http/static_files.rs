//! The page: at `/` it shows this cluster, at `/playground/` a simulated one.
//!
//! Both paths serve the same document. The document refers to all other files below
//! `/assets/<version>/`. The version is a hash of their contents, so browsers cache these files
//! forever and revalidate only the document.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::http::content_coding::{self, Coding};
use crate::api::problem::{Kind, Problem};
use crate::api::refusal::not_found;

/// A file of the page with its content codings.
struct Asset {
    name: &'static str,
    /// A hash of the plain form.
    hash: &'static str,
    plain: &'static [u8],
    /// Missing if the compressed form is not smaller.
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

// `VERSION` and `ASSETS`, in the order of their names; see build/page.rs.
include!(concat!(env!("OUT_DIR"), "/page.rs"));

const INDEX: &str = "index.html";

/// The content security policy: the page may load and run only files of this node.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; form-action 'self'";

/// Serves a file of the page, or status 404.
pub(crate) async fn static_file_or_404(request: Request) -> Response {
    let path = request.uri().path();
    if path == "/playground" {
        return (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "/playground/")])
            .into_response();
    }
    let asset = match path {
        "/" | "/playground/" => find(INDEX),
        _ => match path.strip_prefix("/assets/").and_then(|rest| rest.split_once('/')) {
            Some((VERSION, name)) => find(name),
            Some((version, _)) => return other_version(version),
            None => None,
        },
    };
    let Some(asset) = asset else {
        if path.contains("/pkg/") {
            let detail =
                "no playground: this program was built without it; build with cargo xtask demo";
            return Problem::of(Kind::PathNotFound, detail).into_response();
        }
        return not_found(&request);
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = format!("method not allowed: {}; use GET or HEAD", request.method());
        return Problem::of(Kind::MethodNotAllowed, detail).into_response();
    }
    asset.respond(request.headers())
}

fn find(name: &str) -> Option<&'static Asset> {
    let position = ASSETS.binary_search_by(|asset| asset.name.cmp(name)).ok()?;
    ASSETS.get(position)
}

/// The response to a page that was loaded from another version of this program.
fn other_version(version: &str) -> Response {
    let detail = format!("unknown version of the page: {version}; reload the page");
    Problem::of(Kind::PathNotFound, detail).into_response()
}

impl Asset {
    fn respond(&self, request: &HeaderMap) -> Response {
        let (coding, bytes) = self.form(request);
        // Each content coding has a tag of its own, because caches compare tags byte by byte.
        let tag = match coding {
            Coding::Identity => format!("\"{}\"", self.hash),
            _ => format!("\"{}-{}\"", self.hash, coding.name()),
        };
        let mut response = if is_known(request, &tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Response::new(Body::from(bytes));
            if coding != Coding::Identity {
                let name = HeaderValue::from_static(coding.name());
                response.headers_mut().insert(header::CONTENT_ENCODING, name);
            }
            response
        };
        let cache = match self.name {
            INDEX => "no-cache",
            _ => "public, max-age=31536000, immutable",
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(self.name)));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }

    /// The content coding that the client prefers, with its bytes.
    fn form(&self, request: &HeaderMap) -> (Coding, &'static [u8]) {
        let accepted = content_coding::accepted(request).into_iter();
        let mut forms = accepted.filter_map(|coding| {
            let bytes = match coding {
                Coding::Brotli => self.brotli,
                Coding::Gzip => self.gzip,
                Coding::Identity => Some(self.plain),
            };
            bytes.map(|bytes| (coding, bytes))
        });
        forms.next().unwrap_or((Coding::Identity, self.plain))
    }
}

/// Returns true if the client has the representation with this tag (RFC 9110, section 13.1.2).
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let values = request.get_all(header::IF_NONE_MATCH).into_iter();
    let mut tags =
        values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        static_file_or_404(request.body(Body::empty()).unwrap()).await
    }

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    #[tokio::test]
    async fn known_form_is_answered_without_a_body() {
        let path = format!("/assets/{VERSION}/style.css");
        let br = (header::ACCEPT_ENCODING, "br");
        let first = get(&path, std::slice::from_ref(&br)).await;
        let tag = header(&first, "etag").unwrap().to_owned();
        assert!(tag.ends_with("-br\""), "{tag}");

        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()]
        {
            let headers = [br.clone(), (header::IF_NONE_MATCH, known.as_str())];
            let again = get(&path, &headers).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(header(&again, "etag"), Some(tag.as_str()));
            assert_eq!(header(&again, "vary"), Some("accept-encoding"));
            assert_eq!(header(&again, "content-encoding"), None);
        }
        let other_form = get(&path, &[(header::IF_NONE_MATCH, &tag)]).await;
        assert_eq!(other_form.status(), StatusCode::OK, "the plain form is not known");
    }

    #[tokio::test]
    async fn asset_of_other_version_is_not_found() {
        let response = get("/assets/0123456789abcdef/style.css", &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(header(&response, "cache-control"), None);
    }
}
