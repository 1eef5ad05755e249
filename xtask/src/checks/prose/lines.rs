//! The width of Markdown and comments.

use super::{Source, markdown_lines};

/// The largest width of a line, in characters.
pub const WIDTH_MAX: usize = 100;

/// The lines of Markdown and comments that are too wide. Rows of tables and code blocks may be
/// wider; targets of links and addresses do not count.
pub fn too_wide(source: &Source) -> Vec<String> {
    let lines: Vec<_> = if source.is_markdown() {
        markdown_lines(&source.text).collect()
    } else {
        let is_comment = |line: &str| is_comment(source.extension(), line.trim_start());
        (1..).zip(source.text.lines()).filter(|(_, line)| is_comment(line)).collect()
    };
    let lines = lines.into_iter().filter(|(_, line)| !is_table_row(line));
    lines
        .filter_map(|(number, line)| {
            let width = width(line);
            (width > WIDTH_MAX).then(|| format!("{}:{number}: {width} characters", source.path))
        })
        .collect()
}

/// Whether a line, without its indentation, is a comment or continues one.
fn is_comment(extension: &str, line: &str) -> bool {
    match extension {
        "rs" => line.starts_with("//"),
        "js" => ["//", "/*", "* ", "*/"].iter().any(|mark| line.starts_with(mark)),
        "css" => ["/*", "* ", "*/"].iter().any(|mark| line.starts_with(mark)),
        "html" => line.starts_with("<!--"),
        "toml" => line.starts_with('#'),
        _ => false,
    }
}

fn is_table_row(line: &str) -> bool {
    line.trim_start_matches(['/', '!', ' ']).starts_with('|')
}

/// The characters of a line without the targets of links and without addresses.
fn width(line: &str) -> usize {
    let mut width = 0;
    let mut rest = line;
    while let Some(start) = rest.find("](") {
        width += rest[..start].chars().count() + 1;
        rest = &rest[start + 2..];
        rest = rest.find(')').map_or("", |end| &rest[end + 1..]);
    }
    let address = |word: &&str| word.contains("://");
    let addresses: usize = rest.split(' ').filter(address).map(|word| word.chars().count()).sum();
    width + rest.chars().count() - addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::prose::tests::source;

    #[test]
    fn wide_prose_is_found() {
        let wide = "word ".repeat(21);
        let markdown = format!("{wide}\n| {wide} |\n```\n{wide}\n```\n");
        assert_eq!(too_wide(&source("a.md", &markdown)), ["a.md:1: 105 characters"]);
        let code = format!("let text = \"{wide}\";\n    /// {wide}\n/// | {wide} |\n");
        assert_eq!(too_wide(&source("a.rs", &code)), ["a.rs:2: 113 characters"]);
    }

    #[test]
    fn link_targets_do_not_count() {
        assert_eq!(width("see [this](where/it/is.md), or that"), "see [this], or that".len());
        assert_eq!(width("at https://example.com/page now"), "at  now".len());
    }
}
