//! Problem documents for request heads that hyper cannot parse.
//!
//! hyper answers such a head without the service, with an empty body, and offers no hook. So the
//! socket recognizes the empty response and replaces it.

use axum::http::StatusCode;
use bytes::Bytes;

use crate::api::problem::Problem;

/// Returns the replacement of a response, if the response is hyper's answer to an invalid head.
pub(crate) fn replacement(response: &[u8]) -> Option<Bytes> {
    let rest = response.strip_prefix(b"HTTP/1.1 ").or(response.strip_prefix(b"HTTP/1.0 "))?;
    let detail = match rest.get(..3)? {
        b"400" => "invalid request head; send METHOD PATH HTTP/1.1 and one header on each line",
        b"414" => "the path is too long; send less than 64 KiB",
        b"431" => "the request head is too long; send less than 64 KiB and 100 headers",
        b"505" => "HTTP version not supported; use HTTP/1.1 or HTTP/2",
        _ => return None,
    };
    let head = std::str::from_utf8(response.strip_suffix(b"\r\n\r\n")?).ok()?;
    let is_empty = head.lines().any(|line| line.eq_ignore_ascii_case("content-length: 0"));
    if !is_empty {
        return None;
    }
    let status = StatusCode::from_bytes(&rest[..3]).ok()?;
    Some(Problem::new(status, detail).to_http1())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_errors_are_replaced() {
        let replaced = replacement(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        let text = String::from_utf8(replaced.unwrap().to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("\"outcome\":\"not-done\""), "{body}");
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request\r\n",
            "HTTP/1.1 4",
            "",
        ] {
            assert_eq!(replacement(other.as_bytes()), None, "{other:?}");
        }
    }
}
