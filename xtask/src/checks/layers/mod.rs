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

/// A source directory whose folders are checked.
struct Directory {
    /// The path relative to the root.
    path: &'static str,
    /// Imports from the first to the second folder or file that still close a cycle. Only remove
    /// entries. An entry that is no longer needed fails the check.
    allowed: &'static [(&'static str, &'static str)],
}

// raft-sim is missing: its components are methods of `World`, so they import `world`.
const DIRECTORIES: [Directory; 6] = [
    // `api` names types that `state` and `log` define, and the errors of `Raft`.
    Directory { path: "raft-core/src", allowed: &[] },
    Directory { path: "raft-history/src", allowed: &[] },
    // Lower layers use types that `apply` defines.
    Directory {
        path: "raft-kv/src",
        allowed: &[
            ("outcome", "apply"),
            ("read", "apply"),
            ("validate", "apply"),
            ("wire", "apply"),
        ],
    },
    Directory { path: "raft-native/src", allowed: &[] },
    Directory { path: "raft-storage/src", allowed: &[] },
    Directory { path: "www", allowed: &[] },
];

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
    let mut count = 0;
    for Directory { path, allowed } in DIRECTORIES {
        let sources = sources(workspace, path)?;
        count += folders(&sources).len();
        let found = problems_of(&sources, allowed);
        problems.extend(found.into_iter().map(|problem| format!("{path}: {problem}")));
    }
    if !problems.is_empty() {
        bail!("\n    {}", problems.join("\n    "));
    }
    Ok(Some(format!("{count} folders")))
}

/// The import cycles without the allowed imports, and the unnecessary permissions.
fn problems_of(sources: &[Source], allowed: &[(&str, &str)]) -> Vec<String> {
    let folders = folders(sources);
    let mut imports = imports(sources);
    let is_allowed = |it: &Import| allowed.contains(&(it.from.as_str(), it.to.as_str()));
    let unused = allowed.iter().filter(|(from, to)| {
        !imports.iter().any(|import| import.from == *from && import.to == *to)
    });
    let unused: Vec<_> = unused
        .map(|(from, to)| format!("no import needs this entry: {from} -> {to}; remove the entry"))
        .collect();
    imports.retain(|import| !is_allowed(import));
    cycles(&folders, &imports).into_iter().chain(unused).collect()
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
fn cycles(folders: &BTreeSet<Node>, imports: &[Import]) -> Vec<String> {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports {
        edges.entry(&import.from).or_default().insert(&import.to);
    }
    let reachable: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|node| (*node, reachable(node, &edges))).collect();
    let reaches =
        |one: &str, other: &str| reachable.get(one).is_some_and(|nodes| nodes.contains(other));
    let mut groups = BTreeSet::new();
    for folder in folders {
        let is_mutual =
            |other: &&Node| *other == folder || reaches(folder, other) && reaches(other, folder);
        let group: Vec<&str> = folders.iter().filter(is_mutual).map(String::as_str).collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    let describe = |group: Vec<&str>| {
        let is_inside = |node: &str| reaches(group[0], node) && reaches(node, group[0]);
        let mut edges: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for import in imports.iter().filter(|it| is_inside(&it.from) && is_inside(&it.to)) {
            let place = format!("{}:{}", import.file, import.line);
            edges.entry((&import.from, &import.to)).or_default().push(place);
        }
        let lines = edges.into_iter().map(|((from, to), places)| {
            format!("\n      {from} -> {to}: {} imports, first {}", places.len(), places[0])
        });
        format!("import cycle: {}{}", group.join(", "), lines.collect::<String>())
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
        let cycle = "import cycle: a, b\n      a -> b: 1 imports, first a/mod.rs:1\n      \
                     b -> c: 1 imports, first b/inner.rs:1\n      c -> a: 1 imports, first c.rs:1";
        assert_eq!(problems_of(&sources, &[]), [cycle]);
        assert!(problems_of(&sources[..3], &[]).is_empty());
    }

    #[test]
    fn allowed_import_must_exist() {
        let sources =
            [source("a/mod.rs", "use crate::b::B;\n"), source("b/mod.rs", "use crate::a::A;\n")];
        assert!(problems_of(&sources, &[("a", "b")]).is_empty());
        assert_eq!(problems_of(&sources, &[("a", "b"), ("a", "c")]).len(), 1);
    }

    #[test]
    fn import_cycle_between_javascript_folders_is_found() {
        let sources = [
            source("views/ring.js", "import { a } from \"../model/frame.js\";\n"),
            source("model/frame.js", "import { b } from \"../views/ring.js\";\n"),
        ];
        assert_eq!(problems_of(&sources, &[]).len(), 1);
    }
}
