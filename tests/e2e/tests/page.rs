//! The files of the page, as browsers, caches and proxies load them.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, TIMEOUT};
use raft_tests::http::{HttpClient, Response, request};

async fn get(
    http: &mut HttpClient,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Response> {
    ask(http, Method::GET, path, headers).await
}

async fn ask(
    http: &mut HttpClient,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Response> {
    let mut request = request(method, path, b"")?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse()?);
    }
    Ok(http.send(request).await?)
}

/// The path of a file that the document refers to.
fn path_of(document: &Response, file: &str) -> Result<String> {
    let text = document.text();
    let end = text.find(&format!("/{file}\"")).with_context(|| format!("no {file} in {text}"))?;
    let start = text[..end].rfind('"').context("missing quote before a path")? + 1;
    Ok(format!("{}/{file}", &text[start..end]))
}

fn unpacked(answer: &Response) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    match answer.header("content-encoding") {
        Some("br") => brotli::Decompressor::new(&answer.body[..], 4096).read_to_end(&mut plain)?,
        Some("gzip") => flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut plain)?,
        None => return Ok(answer.body.to_vec()),
        Some(other) => anyhow::bail!("unknown content coding: {other}"),
    };
    Ok(plain)
}

#[tokio::test]
async fn page_is_served_compressed_and_cached_by_content() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let mut http = HttpClient::new(cluster.port(0), TIMEOUT);

    // The document contains the paths of the current files, so each visit requests it.
    let document = get(&mut http, "/", &[]).await?;
    assert_eq!(document.header("cache-control"), Some("no-cache"));
    let playground = get(&mut http, "/playground/", &[("accept-encoding", "br")]).await?;
    assert_eq!(playground.header("content-encoding"), Some("br"));
    assert_eq!(unpacked(&playground)?, document.body, "both addresses serve one document");

    // The document lists all modules, so the browser can load them in parallel.
    ensure!(path_of(&document, "playground.js")?.starts_with("/assets/"));
    let style = path_of(&document, "style.css")?;
    let plain = get(&mut http, &style, &[]).await?;
    assert_eq!(plain.header("content-encoding"), None);
    for (accepted, served) in [
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip;q=1.0, br;q=0.5", Some("gzip")),
        ("br;q=0, gzip", Some("gzip")),
        ("*", Some("br")),
        ("identity", None),
        ("zstd", None),
        ("br;q=0, gzip;q=0", None),
    ] {
        let answer = get(&mut http, &style, &[("accept-encoding", accepted)]).await?;
        assert_eq!(answer.status, StatusCode::OK, "{accepted}");
        assert_eq!(answer.header("content-encoding"), served, "{accepted}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"), "{accepted}");
        assert_eq!(answer.header("content-type"), Some("text/css; charset=utf-8"));
        let cache = answer.header("cache-control").unwrap_or_default();
        ensure!(cache.contains("immutable") && cache.contains("max-age=31536000"), "{cache}");
        assert_eq!(unpacked(&answer)?, plain.body, "{accepted}");
        ensure!(
            served.is_none() || answer.body.len() * 2 < plain.body.len(),
            "{accepted}: {} bytes of {}",
            answer.body.len(),
            plain.body.len()
        );
        let tag = answer.header("etag").context("missing etag")?.to_owned();
        let same = [("accept-encoding", accepted), ("if-none-match", tag.as_str())];
        let again = get(&mut http, &style, &same).await?;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{accepted}");
        assert_eq!(again.header("content-length"), None);
        ensure!(again.body.is_empty(), "{accepted}");
        if served.is_some() {
            ensure!(Some(tag.as_str()) != plain.header("etag"), "{accepted}: the tag of each form");
        }
    }

    let head = ask(&mut http, Method::HEAD, &style, &[("accept-encoding", "br")]).await?;
    assert_eq!(head.status, StatusCode::OK);
    ensure!(head.body.is_empty(), "a response to HEAD has a body");
    let body = get(&mut http, &style, &[("accept-encoding", "br")]).await?.body;
    assert_eq!(head.header("content-length"), Some(body.len().to_string().as_str()));
    cluster.finish().await
}

#[tokio::test]
async fn module_is_compressed_and_old_paths_are_missing() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let mut http = HttpClient::new(cluster.port(0), TIMEOUT);
    let document = get(&mut http, "/", &[]).await?;
    let module = path_of(&document, "style.css")?.replace("style.css", "pkg/raft_wasm_bg.wasm");
    let module = get(&mut http, &module, &[("accept-encoding", "br, gzip")]).await?;
    if module.status == StatusCode::OK {
        assert_eq!(module.header("content-encoding"), Some("br"));
        assert_eq!(module.header("content-type"), Some("application/wasm"));
        ensure!(unpacked(&module)?.starts_with(b"\0asm"), "not a WebAssembly module");
    } else {
        // Without `cargo xtask page`, the node contains no module.
        assert_eq!(module.status, StatusCode::NOT_FOUND, "{}", module.text());
    }
    let old = get(&mut http, "/assets/0123456789abcdef/style.css", &[]).await?;
    assert_eq!(old.status, StatusCode::NOT_FOUND);
    ensure!(old.text().contains("reload the page"), "{}", old.text());
    cluster.finish().await
}
