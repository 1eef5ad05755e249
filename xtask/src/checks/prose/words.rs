//! Words that plain technical English does not need.

use super::{Source, markdown_lines};

/// A word matches if it is equal to one of these, or begins with one that ends with `*`.
pub const BANNED: [&str; 8] =
    ["whoever", "somebody", "nobody", "mended", "anew", "reckon*", "heir", "of late"];

/// Further words that a finished directory must not contain.
pub const BANNED_WHEN_FINISHED: [&str; 7] =
    ["told", "everybody", "anybody", "whom", "for ever", "in vain", "no sense"];

/// The banned words of a file. Code in Markdown is not prose.
pub fn banned(source: &Source, list: &[&str]) -> Vec<String> {
    let lines: Vec<_> = if source.is_markdown() {
        let lines = markdown_lines(&source.text);
        lines.map(|(number, line)| (number, without_code(line))).collect()
    } else {
        (1..).zip(source.text.lines().map(str::to_owned)).collect()
    };
    let found = lines.iter().flat_map(|(number, line)| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let words: Vec<_> = words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
        let pairs = words.windows(2).map(|pair| pair.join(" "));
        let all: Vec<_> = words.iter().cloned().chain(pairs).collect();
        all.into_iter().filter(|word| is_banned(word, list)).map(move |word| (*number, word))
    });
    found.map(|(number, word)| format!("{}:{number}: {word}", source.path)).collect()
}

fn is_banned(word: &str, list: &[&str]) -> bool {
    list.iter().any(|banned| match banned.strip_suffix('*') {
        Some(start) => word.starts_with(start) && !word.contains(' '),
        None => word == *banned,
    })
}

/// A line without its code spans.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::prose::tests::source;

    #[test]
    fn banned_words_are_found_as_whole_words() {
        let text = "Nobody reckons, of late, with `nobody`, nobody_knows or their anewness.";
        assert_eq!(
            banned(&source("a.md", text), &BANNED),
            ["a.md:1: nobody", "a.md:1: reckons", "a.md:1: of late"]
        );
        assert_eq!(banned(&source("a.rs", "// `heir`"), &BANNED), ["a.rs:1: heir"]);
    }
}
