//! The timeout of gRPC calls, which the client sends in `grpc-timeout`.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::api::refusal::with_outcome;

/// Ends a call with DEADLINE_EXCEEDED after the time in its header.
pub(crate) async fn enforce(request: Request, next: Next) -> Response {
    let Some(header) = request.headers().get("grpc-timeout") else {
        return next.run(request).await;
    };
    let Some(time) = header.to_str().ok().and_then(parse) else {
        let text = format!("invalid grpc-timeout: {header:?}; give up to 8 digits and a unit");
        return with_outcome(Status::invalid_argument(text), "not-done").into_http();
    };
    let deadline = Instant::now() + time;
    if Instant::now() >= deadline {
        let text =
            "timed out: the deadline had passed before the call started; use a longer timeout";
        return with_outcome(Status::deadline_exceeded(text), "not-done").into_http();
    }
    match timeout_at(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let text = "timed out: the call may or may not have been carried out, or may still be; \
                        use a longer timeout";
            with_outcome(Status::deadline_exceeded(text), "unknown").into_http()
        }
    }
}

/// Parses the header: up to 8 digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    const DIGITS_MAX: usize = 8;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_digits_and_unit() {
        assert_eq!(parse("1n"), Some(Duration::from_nanos(1)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "S", "1", "+1S", "-1S", "1.5S", "999999999S", "1s", "1 S", "1ü"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
