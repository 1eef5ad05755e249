//! The page: at `/` it shows this cluster, at `/playground/` a simulated one.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::nothing_here;
use super::problem::{Kind, Problem};

#[derive(RustEmbed)]
#[folder = "../www"]
#[include = "*.html"]
#[include = "*.css"]
#[include = "*.js"]
#[include = "*.svg"]
#[include = "*.webmanifest"]
#[include = "*.wasm"]
#[exclude = "node_modules/*"]
struct Files;

/// Nothing but what this node serves itself may be loaded or run.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; frame-ancestors 'self'; base-uri 'none'; form-action 'self'";

/// A file of the page, or the word that there is nothing.
pub(crate) async fn page_or_nothing(request: Request) -> Response {
    let path = request.uri().path();
    if path == "/playground" {
        return (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "/playground/")])
            .into_response();
    }
    // Both pages are the same files, so that their links can be relative.
    let name = path.strip_prefix("/playground/").or_else(|| path.strip_prefix('/')).unwrap_or(path);
    let name = if name.is_empty() { "index.html" } else { name };
    let Some(file) = Files::get(name) else {
        if name.starts_with("pkg/") {
            let detail =
                "this program was built without the playground: build it with cargo xtask demo";
            return Problem::of(Kind::PathNotFound, detail).into_response();
        }
        return nothing_here(&request);
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = format!("{} is not possible here", request.method());
        return Problem::of(Kind::MethodNotAllowed, detail).into_response();
    }
    serve(&request, name, &file)
}

fn serve(request: &Request, name: &str, file: &EmbeddedFile) -> Response {
    let tag: String =
        file.metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let known = request.headers().get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.data.clone().into_owned().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}
