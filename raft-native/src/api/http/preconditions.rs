//! Conditional requests: `If-Match` and `If-None-Match` (RFC 9110, section 13) on the revision of
//! a key. The entity tag of a key is its `mod_revision` in quotes.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use raft_kv::{Compare, Operand, Relation};

use crate::api::problem::Problem;

/// The preconditions of a request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// The value of one of the two headers.
#[derive(Debug, PartialEq)]
enum Tags {
    /// `*`, which matches any existing key.
    Any,
    Listed(Vec<Tag>),
}

#[derive(Debug, PartialEq)]
struct Tag {
    is_weak: bool,
    /// The revision in the tag, or `None` if no key can have this tag.
    revision: Option<i64>,
}

/// The decision about a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    Proceed,
    NotModified,
    Failed,
}

impl Conditions {
    /// Parses the preconditions in the headers of a request.
    ///
    /// # Errors
    ///
    /// [`Problem`] if a header is not a list of entity tags.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            if_match: tags(headers, &header::IF_MATCH)?,
            if_none_match: tags(headers, &header::IF_NONE_MATCH)?,
        })
    }

    /// Returns true if the request has no conditions.
    pub(crate) fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Evaluates the preconditions of a read in the order of section 13.2.2. `mod_revision` is the
    /// revision of the last change of the key.
    pub(crate) fn of_read(&self, mod_revision: i64) -> Read {
        if self.if_match.as_ref().is_some_and(|tags| !tags.match_strongly(mod_revision)) {
            Read::Failed
        } else if self.if_none_match.as_ref().is_some_and(|tags| tags.match_weakly(mod_revision)) {
            Read::NotModified
        } else {
            Read::Proceed
        }
    }

    /// Returns true if a write may replace a key that was last changed at `mod_revision`.
    pub(crate) fn allow_write(&self, mod_revision: i64) -> bool {
        self.of_read(mod_revision) == Read::Proceed
    }

    /// The first revision in `If-Match`, if the write depends on the revision of the key.
    ///
    /// # Errors
    ///
    /// [`NeverMatches`] if `If-Match` has no revision that a key can have.
    pub(crate) fn first_expected(&self) -> Result<Option<i64>, NeverMatches> {
        match &self.if_match {
            None | Some(Tags::Any) => Ok(None),
            Some(Tags::Listed(tags)) => {
                let first = tags.iter().find_map(Tag::strong);
                first.map(Some).ok_or(NeverMatches)
            }
        }
    }

    /// The comparisons of a write that requires that the key was last changed at `expected`, and
    /// that all other preconditions hold.
    pub(crate) fn compare(&self, key: &Bytes, expected: Option<i64>) -> Vec<Compare> {
        let compare = |relation, revision| {
            Compare::key(key.clone(), relation, Operand::ModRevision(revision))
        };
        let mut compares = Vec::new();
        match (&self.if_match, expected) {
            (Some(Tags::Any), _) => compares.push(compare(Relation::Greater, 0)),
            (_, Some(expected)) => compares.push(compare(Relation::Equal, expected)),
            (_, None) => {}
        }
        match &self.if_none_match {
            Some(Tags::Any) => compares.push(compare(Relation::Equal, 0)),
            Some(Tags::Listed(tags)) => {
                let revisions = tags.iter().filter_map(|tag| tag.revision);
                compares.extend(revisions.map(|revision| compare(Relation::NotEqual, revision)));
            }
            None => {}
        }
        compares
    }
}

/// `If-Match` names no revision that a key can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NeverMatches;

impl Tags {
    /// Strong comparison: a weak tag never matches.
    fn match_strongly(&self, mod_revision: i64) -> bool {
        match self {
            Self::Any => mod_revision != 0,
            Self::Listed(tags) => tags.iter().any(|tag| tag.strong() == Some(mod_revision)),
        }
    }

    fn match_weakly(&self, mod_revision: i64) -> bool {
        match self {
            Self::Any => mod_revision != 0,
            Self::Listed(tags) => tags.iter().any(|tag| tag.revision == Some(mod_revision)),
        }
    }
}

impl Tag {
    fn new(is_weak: bool, opaque: &[u8]) -> Self {
        let text = str::from_utf8(opaque).ok();
        let revision = text.and_then(|text| text.parse().ok().filter(|r: &i64| *r > 0));
        // Tags are compared character by character: "07" is not "7".
        let revision = revision.filter(|revision| Some(revision.to_string().as_str()) == text);
        Self { is_weak, revision }
    }

    fn strong(&self) -> Option<i64> {
        self.revision.filter(|_| !self.is_weak)
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
    let value = lines.join(&b',');
    if value.trim_ascii() == b"*" {
        return Ok(Some(Tags::Any));
    }
    let listed = list(&value).filter(|tags| !tags.is_empty());
    listed.map(|tags| Some(Tags::Listed(tags))).ok_or_else(|| {
        let value = String::from_utf8_lossy(&value).into_owned();
        Problem::bad_request(format!(
            "invalid {name}: {value:?}; give * or revisions in quotes, such as \"7\", separated by commas"
        ))
    })
}

/// Reads `[W/]"…", [W/]"…"`; `None` if it is something else.
fn list(mut rest: &[u8]) -> Option<Vec<Tag>> {
    const LISTED_MAX: usize = 100;
    let mut tags = Vec::new();
    loop {
        // Empty elements of a list are skipped (RFC 9110, section 5.6.1.2).
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            return Some(tags);
        }
        let (is_weak, quoted) = match rest {
            [b'W', b'/', quoted @ ..] => (true, quoted),
            quoted => (false, quoted),
        };
        let quoted = quoted.strip_prefix(b"\"")?;
        let end = quoted.iter().position(|byte| *byte == b'"')?;
        let opaque = &quoted[..end];
        let is_legal = |byte: &u8| *byte == 0x21 || (0x23..=0x7e).contains(byte) || *byte >= 0x80;
        if !opaque.iter().all(is_legal) || tags.len() == LISTED_MAX {
            return None;
        }
        tags.push(Tag::new(is_weak, opaque));
        rest = quoted[end + 1..].trim_ascii_start();
        if !rest.is_empty() && rest[0] != b',' {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(lines: &[(&'static str, &'static str)]) -> Result<Conditions, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Conditions::of(&headers)
    }

    #[test]
    fn lists_weak_tags_and_star_follow_rfc_9110() {
        for (lines, expected) in [
            (&[][..], Read::Proceed),
            (&[("if-match", "*")], Read::Proceed),
            (&[("if-match", "\"7\"")], Read::Proceed),
            (&[("if-match", "\"1\", ,\"a,b\",\"7\"")], Read::Proceed),
            (&[("if-match", "\"1\""), ("if-match", "\"7\"")], Read::Proceed),
            (&[("if-match", "W/\"7\"")], Read::Failed),
            (&[("if-match", "\"07\"")], Read::Failed),
            (&[("if-match", "\"0\"")], Read::Failed),
            (&[("if-match", "\"x\", \"\"")], Read::Failed),
            (&[("if-none-match", "*")], Read::NotModified),
            (&[("if-none-match", "\"1\", W/\"7\"")], Read::NotModified),
            (&[("if-none-match", "\"8\"")], Read::Proceed),
            (&[("if-match", "\"7\""), ("if-none-match", "\"7\"")], Read::NotModified),
            (&[("if-match", "\"8\""), ("if-none-match", "\"7\"")], Read::Failed),
        ] {
            assert_eq!(conditions(lines).unwrap().of_read(7), expected, "{lines:?}");
        }
    }

    #[test]
    fn malformed_lists_are_refused() {
        for value in [
            "",
            ",",
            "7",
            "\"",
            "soon",
            "\"7",
            "\"7\"8",
            "\"7\" \"8\"",
            "w/\"7\"",
            "*, \"7\"",
            "\"a b\"",
        ] {
            for name in ["if-match", "if-none-match"] {
                assert!(conditions(&[(name, value)]).is_err(), "{name}: {value}");
            }
        }
    }

    #[test]
    fn only_strong_tags_are_expected_by_write() {
        let expected = |value| conditions(&[("if-match", value)]).unwrap().first_expected();
        assert_eq!(expected("*"), Ok(None));
        assert_eq!(expected("W/\"1\", \"2\""), Ok(Some(2)));
        assert_eq!(expected("W/\"1\", \"0\", \"x\""), Err(NeverMatches));
    }
}
