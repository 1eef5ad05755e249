//! Checks on prose: line width, relative links, sentence length, and the words that CONTRIBUTING.md
//! does not allow.
//!
//! The directories in [`FINISHED`] must have no finding. The other directories have limits, which
//! may only be lowered.

mod lines;
mod links;
mod sentences;
mod words;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Note;
use crate::workspace::Workspace;

/// The largest numbers of findings in a directory. Lower a limit with every improvement.
struct Limit {
    /// A top-level directory; empty for the files of the root.
    directory: &'static str,
    /// Lines of Markdown and comments that are wider than [`lines::WIDTH_MAX`].
    wide_lines: usize,
    /// Occurrences of [`words::BANNED`].
    words: usize,
}

const LIMITS: [Limit; 12] = [
    Limit { directory: "", wide_lines: 0, words: 0 },
    Limit { directory: "docs", wide_lines: 0, words: 0 },
    Limit { directory: "raft-core", wide_lines: 0, words: 0 },
    Limit { directory: "raft-history", wide_lines: 0, words: 0 },
    Limit { directory: "raft-kv", wide_lines: 0, words: 0 },
    Limit { directory: "raft-native", wide_lines: 0, words: 0 },
    Limit { directory: "raft-sim", wide_lines: 0, words: 0 },
    Limit { directory: "raft-storage", wide_lines: 0, words: 0 },
    Limit { directory: "raft-wasm", wide_lines: 0, words: 0 },
    Limit { directory: "tests", wide_lines: 0, words: 0 },
    Limit { directory: "www", wide_lines: 0, words: 0 },
    Limit { directory: "xtask", wide_lines: 0, words: 0 },
];

/// Directories whose sentences are checked, and which must not contain
/// [`words::BANNED_WHEN_FINISHED`]. The files of the root are checked as well.
const FINISHED: [&str; 8] = [
    "docs/",
    "raft-history/",
    "tests/bench-core/",
    "tests/differential/",
    "tests/e2e/",
    "tests/fuzz/",
    "tests/model/",
    "xtask/",
];

/// Extensions of the files that are read.
const EXTENSIONS: [&str; 6] = ["rs", "md", "js", "css", "html", "toml"];
/// Directories of build results, generated code and installed packages, at any depth.
const SKIPPED: [&str; 4] = ["target", "generated", "node_modules", "pkg"];
/// The folder that lists and tests the banned words.
const THIS_FOLDER: &str = "xtask/src/checks/prose/";

/// A source file by its path relative to the root, with `/` as the separator.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    fn is_markdown(&self) -> bool {
        self.extension() == "md"
    }

    fn is_finished(&self) -> bool {
        self.directory().is_empty() || FINISHED.iter().any(|start| self.path.starts_with(start))
    }

    /// The top-level directory; empty for a file of the root.
    fn directory(&self) -> &str {
        self.path.split_once('/').map_or("", |(directory, _)| directory)
    }
}

/// Runs all checks on prose.
pub fn run(workspace: &Workspace) -> Result<Note> {
    let mut sources = Vec::new();
    collect(workspace.root(), "", &mut sources)?;
    let (over, within) = counted(&sources, &LIMITS);
    let mut problems = links::broken(workspace.root(), &sources);
    problems.extend(over);
    for source in sources.iter().filter(|source| source.is_finished()) {
        problems.extend(sentences::too_long(source));
        if !source.path.starts_with(THIS_FOLDER) {
            problems.extend(words::banned(source, &words::BANNED_WHEN_FINISHED));
        }
    }
    if !problems.is_empty() {
        bail!("\n    {}", problems.join("\n    "));
    }
    Ok((!within.is_empty()).then(|| within.join(", ")))
}

/// The findings over the limits, and the counts of the findings within them.
fn counted(sources: &[Source], limits: &[Limit]) -> (Vec<String>, Vec<String>) {
    let (mut over, mut within) = (Vec::new(), Vec::new());
    for limit in limits {
        let inside = || sources.iter().filter(|source| source.directory() == limit.directory);
        let directory = if limit.directory.is_empty() { "." } else { limit.directory };
        let wide: Vec<_> = inside().flat_map(lines::too_wide).collect();
        let with_words = inside().filter(|source| !source.path.starts_with(THIS_FOLDER));
        let words: Vec<_> =
            with_words.flat_map(|source| words::banned(source, &words::BANNED)).collect();
        for (what, found, max) in
            [("wide lines", wide, limit.wide_lines), ("banned words", words, limit.words)]
        {
            let count = found.len();
            if count > max {
                over.push(format!("{directory}: {count} {what}, at most {max} are allowed"));
                over.extend(found);
            } else if count > 0 {
                within.push(format!("{directory}: {count} of {max} {what}"));
            }
        }
    }
    (over, within)
}

/// Reads all files below a directory, in the order of their names.
fn collect(directory: &Path, prefix: &str, sources: &mut Vec<Source>) -> Result<()> {
    let entries = fs::read_dir(directory)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
    names.sort();
    for name in names {
        let Some(name) = name.to_str() else {
            continue;
        };
        let (file, path) = (directory.join(name), format!("{prefix}{name}"));
        if name.starts_with('.') || SKIPPED.contains(&name) {
            continue;
        }
        if file.is_dir() {
            collect(&file, &format!("{path}/"), sources)?;
        } else if EXTENSIONS.iter().any(|extension| name.ends_with(&format!(".{extension}"))) {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {path}"))?;
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

/// The lines of a Markdown text outside of fenced code blocks, numbered from 1.
fn markdown_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this text.
    pub fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn findings_over_limit_are_listed() {
        let limit = |words| Limit { directory: "docs", wide_lines: 0, words };
        let sources = [source("docs/a.md", "Nobody.\n"), source("www/b.md", "Nobody.\n")];
        let (over, within) = counted(&sources, &[limit(0)]);
        assert_eq!(over, ["docs: 1 banned words, at most 0 are allowed", "docs/a.md:1: nobody"]);
        assert!(within.is_empty());
        let (over, within) = counted(&sources, &[limit(1)]);
        assert!(over.is_empty());
        assert_eq!(within, ["docs: 1 of 1 banned words"]);
    }

    #[test]
    fn fenced_blocks_are_not_prose() {
        let lines: Vec<_> = markdown_lines("one\n```sh\ntwo\n```\nthree\n").collect();
        assert_eq!(lines, [(1, "one"), (5, "three")]);
    }

    #[test]
    fn source_belongs_to_top_level_directory() {
        assert_eq!(source("docs/guide/protocol.md", "").directory(), "docs");
        assert_eq!(source("README.md", "").directory(), "");
    }
}
