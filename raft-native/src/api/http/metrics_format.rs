//! The formats of metrics, and their negotiation.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, header};

/// A format of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// The Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that a client prefers. The default is the text format.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT).iter();
        let ranges = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        let (mut text, mut open_metrics) = (0.0_f32, 0.0_f32);
        for range in ranges {
            let range = MediaRange::of(range);
            match (range.name.as_str(), range.version.as_deref()) {
                ("application/openmetrics-text", None | Some("1.0.0")) => {
                    open_metrics = open_metrics.max(range.quality);
                }
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => {
                    text = text.max(range.quality);
                }
                _ => {}
            }
        }
        let prefers_open_metrics = open_metrics > 0.0 && open_metrics >= text;
        if prefers_open_metrics { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One element of an `Accept` header (RFC 9110, section 12.5.1).
struct MediaRange {
    name: String,
    version: Option<String>,
    quality: f32,
}

impl MediaRange {
    fn of(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut range = Self { name, version: None, quality: 1.0 };
        for (parameter, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match parameter.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value.to_owned()),
                "q" => range.quality = value.parse().unwrap_or(0.0),
                _ => {}
            }
        }
        range
    }
}

/// Converts OpenMetrics to the text format. In the text format, the metadata of a counter has the
/// name of its sample, with `_total`, and there are no units and no end marker.
pub(crate) fn to_text_format(open_metrics: &str) -> String {
    let described = |line: &'_ str| -> Option<(String, String, String)> {
        let mut words = line.strip_prefix("# ")?.splitn(3, ' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    let types = open_metrics.lines().filter_map(described);
    let counters: BTreeSet<String> = types
        .filter(|(what, _, kind)| what == "TYPE" && kind == "counter")
        .map(|(_, name, _)| name)
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        match described(line) {
            Some((what, name, rest)) if counters.contains(&name) => {
                text.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepted(accept: Option<&'static str>) -> Format {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        Format::accepted(&headers)
    }

    #[test]
    fn format_is_negotiated() {
        for accept in [
            None,
            Some("*/*"),
            Some("text/plain"),
            Some("text/html, */*;q=0.8"),
            Some("application/openmetrics-text;version=0.0.1"),
            Some("application/openmetrics-text;q=0"),
            Some("application/openmetrics-text;q=0.3, text/plain;version=0.0.4;q=0.5"),
        ] {
            assert_eq!(accepted(accept), Format::Text, "{accept:?}");
        }
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            // What Prometheus sends.
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
             version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        ] {
            assert_eq!(accepted(Some(accept)), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn counters_have_metadata_with_the_names_of_their_samples() {
        let open_metrics = "# HELP a A.\n# TYPE a counter\n# UNIT a seconds\na_total 1\n\
                            # HELP b B and a.\n# TYPE b gauge\nb 2\n# EOF\n";
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n\
                    # HELP b B and a.\n# TYPE b gauge\nb 2\n";
        assert_eq!(to_text_format(open_metrics), text);
    }
}
