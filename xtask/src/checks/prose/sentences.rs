//! The length of sentences in Markdown and in comments of Rust files.

use super::Source;

/// The largest number of words of a sentence. A code span is one word. A colon or semicolon ends a
/// sentence.
pub const WORDS_MAX: usize = 25;

/// The sentences of a file that are too long.
pub fn too_long(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (line, paragraph) in paragraphs(source) {
        for sentence in sentences(&paragraph) {
            let words = sentence.split_whitespace().count();
            if words > WORDS_MAX {
                let start: Vec<_> = sentence.split_whitespace().take(6).collect();
                found.push(format!("{}:{line}: {words} words: {} …", source.path, start.join(" ")));
            }
        }
    }
    found
}

/// The paragraphs and list items of a file, with the numbers of their first lines. Headings, tables
/// and code blocks are not prose.
fn paragraphs(source: &Source) -> Vec<(usize, String)> {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let (mut is_open, mut in_code) = (false, false);
    for (number, line) in (1..).zip(source.text.lines()) {
        let text = match source.extension() {
            "md" => Some(line.trim()),
            "rs" => comment(line),
            _ => None,
        };
        let Some(text) = text else {
            is_open = false;
            continue;
        };
        if text.starts_with("```") {
            in_code ^= true;
            is_open = false;
        } else if in_code || text.is_empty() || text.starts_with(['#', '|', '<']) {
            is_open = false;
        } else if let (Some((_, paragraph)), true) =
            (paragraphs.last_mut(), is_open && !is_item(text))
        {
            paragraph.push(' ');
            paragraph.push_str(text);
        } else {
            paragraphs.push((number, text.trim_start_matches(is_marker).trim_start().to_owned()));
            is_open = true;
        }
    }
    paragraphs
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim())
}

fn is_marker(c: char) -> bool {
    c == '-' || c == '*'
}

/// Returns true if a line begins an item of a list.
fn is_item(text: &str) -> bool {
    let numbered = text.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    text.starts_with("- ") || text.starts_with("* ") || numbered
}

/// The sentences of a paragraph, with code spans as one word and without the targets of links.
fn sentences(paragraph: &str) -> Vec<String> {
    let without_code: String = paragraph
        .split('`')
        .enumerate()
        .map(|(index, part)| if index % 2 == 0 { part } else { "code" })
        .collect();
    let mut sentences = vec![String::new()];
    for word in without_code.split_whitespace() {
        // The target of a link is not prose.
        let word = word.split("](").next().unwrap_or(word);
        if let Some(sentence) = sentences.last_mut() {
            sentence.push_str(word);
            sentence.push(' ');
        }
        let end = word.trim_end_matches(['*', ')', '"', '”', ']', '_']);
        if end.ends_with(['.', '?', '!', ':', ';']) && end.len() > 1 {
            sentences.push(String::new());
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::prose::tests::source;

    #[test]
    fn long_sentence_is_found() {
        let long = format!("{}end.", "word ".repeat(25));
        let text = format!("# {long}\n\n| {long} |\n\n{long} Short one.\nNext.\n\n- {long}\n");
        let start = "word word word word word word …";
        assert_eq!(
            too_long(&source("a.md", &text)),
            [format!("a.md:5: 26 words: {start}"), format!("a.md:8: 26 words: {start}")]
        );
        let text = format!("    /// {long}\nlet {long}\n");
        assert_eq!(too_long(&source("a.rs", &text)), [format!("a.rs:1: 26 words: {start}")]);
    }

    #[test]
    fn punctuation_ends_sentence() {
        let count = |text: &str| sentences(text).iter().filter(|it| !it.is_empty()).count();
        assert_eq!(count("**One.** Two: three; four (five.) Six?"), 5);
        assert_eq!(count("See `a. b. c` and [the page](a.b.md) here."), 1);
    }
}
