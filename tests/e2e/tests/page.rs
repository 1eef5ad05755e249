//! The page as browsers, caches and proxies load it.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, PATIENCE};
use raft_tests::rest::{Answer, Rest, request};

async fn get(rest: &mut Rest, path: &str, headers: &[(&'static str, &str)]) -> Result<Answer> {
    ask(rest, Method::GET, path, headers).await
}

async fn ask(
    rest: &mut Rest,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Answer> {
    let mut request = request(method, path, b"")?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse()?);
    }
    Ok(rest.send(request).await?)
}

/// The path of a file that the document refers to.
fn path_of(document: &Answer, file: &str) -> Result<String> {
    let text = document.text();
    let end = text.find(&format!("/{file}\"")).with_context(|| format!("no {file} in {text}"))?;
    let start = text[..end].rfind('"').context("a path stands in quotes")? + 1;
    Ok(format!("{}/{file}", &text[start..end]))
}

fn unpacked(answer: &Answer) -> Result<Vec<u8>> {
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
    let mut rest = Rest::new(cluster.port(0), PATIENCE);

    // The document names the current files, so each visit asks for it.
    let document = get(&mut rest, "/", &[]).await?;
    assert_eq!(document.header("cache-control"), Some("no-cache"));
    let playground = get(&mut rest, "/playground/", &[("accept-encoding", "br")]).await?;
    assert_eq!(playground.header("content-encoding"), Some("br"));
    assert_eq!(unpacked(&playground)?, document.body, "both addresses serve one document");

    // Every module is known before the first one has arrived.
    ensure!(path_of(&document, "playground.js")?.starts_with("/assets/"));
    let style = path_of(&document, "style.css")?;
    let plain = get(&mut rest, &style, &[]).await?;
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
        let answer = get(&mut rest, &style, &[("accept-encoding", accepted)]).await?;
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
        let tag = answer.header("etag").context("each form has a tag")?.to_owned();
        let same = [("accept-encoding", accepted), ("if-none-match", tag.as_str())];
        let again = get(&mut rest, &style, &same).await?;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{accepted}");
        assert_eq!(again.header("content-length"), None);
        ensure!(again.body.is_empty(), "{accepted}");
        if served.is_some() {
            ensure!(Some(tag.as_str()) != plain.header("etag"), "{accepted}: the tag of each form");
        }
    }

    let head = ask(&mut rest, Method::HEAD, &style, &[("accept-encoding", "br")]).await?;
    assert_eq!(head.status, StatusCode::OK);
    ensure!(head.body.is_empty(), "no body for HEAD");
    let body = get(&mut rest, &style, &[("accept-encoding", "br")]).await?.body;
    assert_eq!(head.header("content-length"), Some(body.len().to_string().as_str()));

    let module = path_of(&document, "style.css")?.replace("style.css", "pkg/raft_wasm_bg.wasm");
    let module = get(&mut rest, &module, &[("accept-encoding", "br, gzip")]).await?;
    if module.status == StatusCode::OK {
        assert_eq!(module.header("content-encoding"), Some("br"));
        assert_eq!(module.header("content-type"), Some("application/wasm"));
        ensure!(unpacked(&module)?.starts_with(b"\0asm"), "a WebAssembly module");
    } else {
        // Without `cargo xtask page` there is none.
        assert_eq!(module.status, StatusCode::NOT_FOUND, "{}", module.text());
    }
    let old = get(&mut rest, "/assets/0123456789abcdef/style.css", &[]).await?;
    assert_eq!(old.status, StatusCode::NOT_FOUND);
    ensure!(old.text().contains("reload the page"), "{}", old.text());
    cluster.finish().await
}
