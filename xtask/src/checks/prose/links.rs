//! The relative links of the Markdown pages: file and heading must exist.

use std::collections::HashSet;
use std::path::Path;

use super::{Source, markdown_lines};

/// The links that lead nowhere. Pages outside of the root and `docs/` are templates or parts of the
/// crate documentation: `rustdoc` checks the latter.
pub fn broken(root: &Path, sources: &[Source]) -> Vec<String> {
    let pages = sources.iter().filter(|source| source.is_markdown());
    let mut problems = Vec::new();
    for page in pages.filter(|page| ["", "docs"].contains(&page.directory())) {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, target) in targets(&page.text) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { page.path.clone() } else { resolve(folder, path) };
            let target_page = sources.iter().find(|source| source.path == path);
            let problem = if !root.join(&path).exists() {
                "no such file"
            } else if !anchor.is_empty()
                && !target_page.is_some_and(|page| anchors(&page.text).contains(anchor))
            {
                "no such heading"
            } else {
                continue;
            };
            problems.push(format!("{}:{number}: {problem}: {target}", page.path));
        }
    }
    problems
}

/// The targets of the relative links of a page, with the numbers of their lines.
fn targets(text: &str) -> impl Iterator<Item = (usize, &str)> {
    markdown_lines(text).flat_map(|(number, line)| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains("://")).map(move |target| (number, target))
    })
}

/// A path relative to the root, from one that is relative to a folder.
fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The anchors of the headings of a page, as GitHub makes them.
fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for (_, line) in markdown_lines(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let repeated = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(repeated);
        anchors.extend(free.filter(|name| !anchors.contains(name)).take(1).collect::<Vec<_>>());
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::prose::tests::source;

    #[test]
    fn broken_links_are_found() {
        let sources = [
            source("docs/one.md", "[a](two.md#what-it-is) [b](#here)\n\n# Here\n"),
            source("docs/two.md", "## What it is?\n[c](one.md#there) [d](../three.md)\n"),
        ];
        let root = tempfile();
        let problems = broken(&root, &sources);
        assert_eq!(
            problems,
            [
                "docs/two.md:2: no such heading: one.md#there",
                "docs/two.md:2: no such file: ../three.md"
            ]
        );
    }

    /// A root with the files of the test.
    fn tempfile() -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("xtask-links-{}", std::process::id()));
        std::fs::create_dir_all(root.join("docs")).unwrap();
        std::fs::write(root.join("docs/one.md"), "").unwrap();
        std::fs::write(root.join("docs/two.md"), "").unwrap();
        root
    }

    #[test]
    fn repeated_headings_are_numbered() {
        let anchors = anchors("# A `b`, c\n## D\n## D\n```\n# no\n```\n");
        let expected = ["a-b-c", "d", "d-1"].map(str::to_owned);
        assert_eq!(anchors, HashSet::from(expected));
    }

    #[test]
    fn other_addresses_are_not_checked() {
        let text = "[a](https://example.com) [b](c.md)\n";
        assert_eq!(targets(text).collect::<Vec<_>>(), [(1, "c.md")]);
    }
}
