//! Negotiation of the content coding by `Accept-Encoding` (RFC 9110, section 12.5.3).

use axum::http::{HeaderMap, header};

/// A content coding in which this node stores files. The order is the order of preference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    Brotli,
    Gzip,
    Identity,
}

impl Coding {
    const ALL: [Self; 3] = [Self::Brotli, Self::Gzip, Self::Identity];

    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }

    fn is_named(self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.name())
            || (self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip"))
    }
}

/// The codings that the client accepts, by descending weight. `Identity` is always the last one,
/// even if the client refuses it: an uncompressed file is more useful than an error.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<Coding> {
    let weights = Weights::read(headers);
    let mut accepted: Vec<(Coding, u16)> = Coding::ALL
        .into_iter()
        .map(|coding| (coding, weights.of(coding)))
        .filter(|&(_, weight)| weight > 0)
        .collect();
    // The sort is stable, so equal weights keep the order of preference.
    accepted.sort_by_key(|&(_, weight)| std::cmp::Reverse(weight));
    let mut codings: Vec<Coding> = accepted.into_iter().map(|(coding, _)| coding).collect();
    if !codings.contains(&Coding::Identity) {
        codings.push(Coding::Identity);
    }
    codings
}

/// The codings in the header and their weights in thousandths.
struct Weights(Vec<(String, u16)>);

impl Weights {
    fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT_ENCODING).into_iter();
        let elements =
            values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        Self(elements.filter_map(element).collect())
    }

    /// The weight of a coding. A coding without an entry has the weight of `*`. `identity` is
    /// acceptable unless the client excludes it.
    fn of(&self, coding: Coding) -> u16 {
        let find = |matches: &dyn Fn(&str) -> bool| {
            self.0.iter().find(|(name, _)| matches(name)).map(|&(_, weight)| weight)
        };
        find(&|name| coding.is_named(name)).or_else(|| find(&|name| name == "*")).unwrap_or(
            // The smallest weight: any coding in the header has precedence.
            u16::from(coding == Coding::Identity),
        )
    }
}

/// Parses `br`, `gzip;q=0.5` or `*; q=0`. Returns `None` for an invalid element.
fn element(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1000;
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("q") {
            let value: f32 = value.trim().parse().ok()?;
            if !(0.0..=1.0).contains(&value) {
                return None;
            }
            weight = (value * 1000.0).round() as u16;
        }
    }
    Some((name.to_owned(), weight))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::Coding::{Brotli, Gzip, Identity};
    use super::*;

    fn codings(values: &[&'static str]) -> Vec<Coding> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        accepted(&headers)
    }

    #[test]
    fn missing_header_selects_identity() {
        assert_eq!(codings(&[]), [Identity]);
        assert_eq!(codings(&[""]), [Identity]);
    }

    #[test]
    fn equal_weights_prefer_the_smallest_form() {
        assert_eq!(codings(&["gzip, deflate, br, zstd"]), [Brotli, Gzip, Identity]);
        assert_eq!(codings(&["gzip", "BR"]), [Brotli, Gzip, Identity]);
        assert_eq!(codings(&["*"]), [Brotli, Gzip, Identity]);
    }

    #[test]
    fn weights_decide_before_preference() {
        assert_eq!(codings(&["br;q=0.5, gzip;q=0.8"]), [Gzip, Brotli, Identity]);
        assert_eq!(codings(&["identity, br;q=0.9"]), [Identity, Brotli]);
        assert_eq!(codings(&["gzip; Q=0.001"])[0], Gzip);
    }

    #[test]
    fn weight_zero_excludes_a_coding() {
        assert_eq!(codings(&["br;q=0, gzip"]), [Gzip, Identity]);
        assert_eq!(codings(&["*, br;q=0.000"]), [Gzip, Identity]);
        assert_eq!(codings(&["*;q=0"]), [Identity]);
        assert_eq!(codings(&["br, identity;q=0"]), [Brotli, Identity]);
    }

    #[test]
    fn invalid_element_is_ignored() {
        assert_eq!(codings(&["br;q=2, gzip;q=x, ;, deflate"]), [Identity]);
        assert_eq!(codings(&["br;level, gzip"]), [Gzip, Identity]);
    }
}
