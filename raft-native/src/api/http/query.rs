//! Query parameters: `?name=value&…`. A value can be any bytes, because a key can be.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::api::problem::Problem;

/// The query parameters that the handler has not taken. After the last one, the handler calls
/// [`Parameters::finish`].
pub(crate) struct Parameters(Vec<(String, Vec<u8>)>);

impl Parameters {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, Vec<u8>)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            // A plus is a space in a query, as forms and URLSearchParams write it.
            let [name, value] = [name, value].map(|text| text.replace('+', " "));
            let name = String::from_utf8(decoded(&name)?).map_err(|_| {
                Problem::bad_request("invalid parameter name: not UTF-8; encode it as UTF-8")
            })?;
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(Problem::bad_request(format!(
                    "duplicate parameter: {name:?}; send it once"
                )));
            }
            parameters.push((name, decoded(&value)?));
        }
        Ok(Self(parameters))
    }

    /// Takes a value as bytes.
    pub(crate) fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        let position = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(position).1)
    }

    /// Takes a value that must be UTF-8 text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let text = self.bytes(name).map(String::from_utf8).transpose();
        text.map_err(|_| {
            Problem::bad_request(format!("invalid parameter {name}: not UTF-8; encode it as UTF-8"))
        })
    }

    /// Takes a value that must be an unsigned integer.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let number = self.text(name)?.map(|text| text.parse()).transpose();
        number.map_err(|_| {
            Problem::bad_request(format!(
                "invalid parameter {name}: not a number; give an unsigned integer"
            ))
        })
    }

    /// Refuses unknown parameters, instead of ignoring them.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Problem::bad_request(format!("unknown parameter: {name:?}; remove it")))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

/// Decodes percent-encoded bytes. A `%` without two digits is refused, so that a key has only one
/// spelling.
pub(crate) fn decoded(text: &str) -> Result<Vec<u8>, Problem> {
    let follows = |rest: &str| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if text.split('%').skip(1).all(follows) {
        Ok(percent_decode_str(text).collect())
    } else {
        Err(Problem::bad_request(
            "invalid percent-encoding: a % without two hexadecimal digits; write %25 for %",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_decode_bytes_numbers_and_text() {
        let mut parameters = Parameters::parse("prefix=a%2Fb+%FF&limit=7&flag&c=%C3%BC").unwrap();
        assert_eq!(parameters.bytes("prefix"), Some(b"a/b \xff".to_vec()));
        assert_eq!(parameters.number("limit").unwrap(), Some(7));
        assert_eq!(parameters.text("flag").unwrap().as_deref(), Some(""));
        assert_eq!(parameters.text("c").unwrap().as_deref(), Some("ü"));
        assert_eq!(parameters.text("other").unwrap(), None);
        assert!(parameters.finish().is_ok());
    }

    #[test]
    fn invalid_parameters_are_refused() {
        assert!(Parameters::parse("a=1&a=2").is_err());
        assert!(Parameters::parse("a=%f").is_err());
        assert!(Parameters::parse("a=%zz").is_err());
        assert!(Parameters::parse("%ff=1").is_err());
        let mut parameters = Parameters::parse("text=%ff&number=-1").unwrap();
        assert!(parameters.text("text").is_err());
        assert!(parameters.number("number").is_err());
        assert!(Parameters::parse("left=1").unwrap().finish().is_err());
    }

    #[test]
    fn key_parameter_is_canonical() {
        assert_eq!(decoded("100%25").unwrap(), b"100%");
        for wrong in ["100%", "%", "%1", "%1g", "%%25", "a%ü"] {
            assert!(decoded(wrong).is_err(), "{wrong}");
        }
    }
}
