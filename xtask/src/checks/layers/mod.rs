//! The folders of a crate form layers: their imports have no cycle.
//!
//! Each top-level folder below the source directory is one node of a graph. Each module in a single
//! file is a node as well, because a cycle can pass through it. Tests may import any module.

mod javascript;
mod rust;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::Note;
use crate::build::wasm_package::files;
use crate::workspace::{Workspace, read};

/// Source directories whose folders are checked, relative to the root.
const DIRECTORIES: [&str; 2] = ["raft-core/src", "raft-kv/src"];

/// A top-level folder, or the name of a top-level file without its extension.
type Node = String;

/// One file that imports from another node.
#[derive(PartialEq, Eq, Debug)]
struct Import {
    from: Node,
    to: Node,
    /// The path of the file relative to the source directory.
    file: String,
    line: usize,
}

/// A source file by its path relative to the source directory.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn node(&self) -> Node {
        let first = self.path.split('/').next().unwrap_or_default();
        first.rsplit_once('.').map_or(first, |(stem, _)| stem).to_owned()
    }

    fn is_in_folder(&self) -> bool {
        self.path.contains('/')
    }
}

pub fn run(workspace: &Workspace) -> Result<Note> {
    let mut problems = Vec::new();
    let mut folders = 0;
    for directory in DIRECTORIES {
        let sources = sources(workspace, directory)?;
        folders += self::folders(&sources).len();
        problems.extend(cycles(&sources).into_iter().map(|cycle| format!("{directory}: {cycle}")));
    }
    if !problems.is_empty() {
        bail!("\n    {}", problems.join("\n    "));
    }
    Ok(Some(format!("{folders} folders without an import cycle")))
}

/// Reads all source files except tests.
fn sources(workspace: &Workspace, directory: &str) -> Result<Vec<Source>> {
    let root = workspace.path(directory);
    let mut sources = Vec::new();
    for name in files(&root)? {
        let path = name.to_string_lossy().into_owned();
        let is_source = path.ends_with(".rs") || path.ends_with(".js");
        let is_test = path.split('/').any(|part| ["tests", "tests.rs"].contains(&part));
        if is_source && !is_test && !path.starts_with("pkg/") {
            sources.push(Source { text: read(&root.join(&path))?, path });
        }
    }
    Ok(sources)
}

fn folders(sources: &[Source]) -> BTreeSet<Node> {
    sources.iter().filter(|source| source.is_in_folder()).map(Source::node).collect()
}

/// The groups of folders that import each other, with the imports inside of each group.
fn cycles(sources: &[Source]) -> Vec<String> {
    let folders = folders(sources);
    let imports = imports(sources);
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in &imports {
        edges.entry(&import.from).or_default().insert(&import.to);
    }
    let reachable: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|node| (*node, reachable(node, &edges))).collect();
    let reaches =
        |one: &str, other: &str| reachable.get(one).is_some_and(|nodes| nodes.contains(other));
    let mut groups = BTreeSet::new();
    for folder in &folders {
        let is_mutual =
            |other: &&Node| other == &folder || reaches(folder, other) && reaches(other, folder);
        let group: Vec<&str> = folders.iter().filter(is_mutual).map(String::as_str).collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    let describe = |group: Vec<&str>| {
        let is_inside = |node: &str| reaches(group[0], node) && reaches(node, group[0]);
        let inside = imports.iter().filter(|it| is_inside(&it.from) && is_inside(&it.to));
        let lines = inside.map(|it| format!("{}:{}: {} -> {}", it.file, it.line, it.from, it.to));
        let lines: Vec<_> = lines.collect();
        format!("import cycle: {}\n      {}", group.join(", "), lines.join("\n      "))
    };
    groups.into_iter().map(describe).collect()
}

/// The nodes that a node imports directly or indirectly.
fn reachable<'a>(from: &str, edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        for next in edges.get(node).into_iter().flatten() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

/// The imports between different nodes.
fn imports(sources: &[Source]) -> Vec<Import> {
    let nodes: BTreeSet<Node> = sources.iter().map(Source::node).collect();
    let crate_items = rust::reexports(sources);
    let mut imports = Vec::new();
    for source in sources.iter().filter(|source| !rust::is_root(&source.path)) {
        let targets = if source.path.ends_with(".rs") {
            rust::targets(source)
        } else {
            javascript::targets(source)
        };
        for (line, target) in targets {
            let to = crate_items.get(&target).unwrap_or(&target);
            if nodes.contains(to) && *to != source.node() {
                imports.push(Import {
                    from: source.node(),
                    to: to.clone(),
                    file: source.path.clone(),
                    line,
                });
            }
        }
    }
    imports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn import_cycle_between_folders_is_found() {
        let sources = [
            source("lib.rs", "pub mod a;\npub use b::inner::Item;\n"),
            source("a/mod.rs", "use crate::Item;\n"),
            source("b/inner.rs", "use crate::{c::C, d};\n"),
            source("c.rs", "use crate::a::A;\n"),
            source("d/mod.rs", "fn f() {}\n"),
        ];
        assert_eq!(
            cycles(&sources),
            ["import cycle: a, b\n      a/mod.rs:1: a -> b\n      b/inner.rs:1: b -> c\n      \
              c.rs:1: c -> a"]
        );
        assert!(cycles(&sources[..3]).is_empty());
    }

    #[test]
    fn import_cycle_between_javascript_folders_is_found() {
        let sources = [
            source("views/ring.js", "import { a } from \"../model/frame.js\";\n"),
            source("model/frame.js", "import { b } from \"../views/ring.js\";\n"),
        ];
        assert_eq!(cycles(&sources).len(), 1);
    }
}
