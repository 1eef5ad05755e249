//! Text for terminals without control characters.
//!
//! A key or a value can contain any bytes. Printed unchanged, escape sequences could rewrite the
//! screen, set the title of the window or type into some terminals.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Replaces control characters and bytes that are not UTF-8 by escape sequences, such as `\n`,
/// `\u{1b}` and `\xff`.
pub(super) fn escaped(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |text: &str| !text.chars().any(needs_escape);
    if std::str::from_utf8(bytes).is_ok_and(is_plain) {
        return bytes.into();
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if needs_escape(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            // A `String` accepts all writes.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.into_bytes().into()
}

/// Bidirectional controls are not control characters, and reorder the text around them.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_text_is_unchanged() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            ("größer → 日本".as_bytes(), "größer → 日本"),
            (b"\x1b[2J", "\\u{1b}[2J"),
            (b"a\nb\tc\rd\0", "a\\nb\\tc\\rd\\u{0}"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{9b}31m\u{202e}".as_bytes(), "\\u{9b}31m\\u{202e}"),
        ] {
            assert_eq!(escaped(bytes), expected.as_bytes(), "{bytes:?}");
        }
    }
}
