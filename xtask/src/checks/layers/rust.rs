//! The imports of a Rust file: paths that begin with `crate`, `super` or `self`.

use std::collections::BTreeMap;

use super::{Node, Source};

/// Returns true for the root module of a crate.
pub fn is_root(path: &str) -> bool {
    ["lib.rs", "main.rs"].contains(&path)
}

/// The names that the root module exports, with the top-level modules that define them.
pub fn reexports(sources: &[Source]) -> BTreeMap<String, Node> {
    let mut names = BTreeMap::new();
    for root in sources.iter().filter(|source| is_root(&source.path)) {
        let tokens = tokens(&root.text);
        for at in 0..tokens.len() {
            if tokens[at].text == "use" {
                for path in paths(&tokens, at + 1) {
                    let first = path.iter().find(|name| !["crate", "self"].contains(name));
                    if let (Some(first), Some(last)) = (first, path.last()) {
                        names.insert((*last).to_owned(), (*first).to_owned());
                    }
                }
            }
        }
    }
    names
}

/// The first names of all imported paths, relative to the crate, with their lines.
pub fn targets(source: &Source) -> Vec<(usize, String)> {
    let module = module(&source.path);
    let tokens = tokens(&source.text);
    let mut targets = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_start = ["crate", "super", "self"].contains(&token.text)
            && tokens.get(at + 1).is_some_and(|next| next.text == "::")
            && at.checked_sub(1).is_none_or(|before| tokens[before].text != "::");
        if !is_start {
            continue;
        }
        for path in paths(&tokens, at) {
            if let Some(first) = resolve(&module, &path) {
                targets.push((token.line, first));
            }
        }
    }
    targets
}

/// The names of the modules that contain a file, from the crate to the file.
fn module(path: &str) -> Vec<&str> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').collect()
}

/// The first name of a path relative to the crate.
fn resolve(module: &[&str], path: &[&str]) -> Option<String> {
    let supers = path.iter().filter(|name| **name == "super").count();
    let mut rest = path.iter().filter(|name| !["crate", "super", "self"].contains(name));
    let base =
        if path[0] == "crate" { &[] } else { &module[..module.len().checked_sub(supers)?] };
    base.iter().copied().next().or(rest.next().copied()).map(str::to_owned)
}

/// The paths of the import tree that begins at a token, such as `crate::{a::B, c}`.
fn paths<'a>(tokens: &[Token<'a>], mut at: usize) -> Vec<Vec<&'a str>> {
    let mut prefix = Vec::new();
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            return tree(tokens, at + 1, &prefix).0;
        }
        prefix.push(token.text);
        if tokens.get(at + 1).is_none_or(|next| next.text != "::") {
            break;
        }
        at += 2;
    }
    vec![prefix]
}

/// The paths inside of braces, and the position after the closing brace.
fn tree<'a>(tokens: &[Token<'a>], mut at: usize, prefix: &[&'a str]) -> (Vec<Vec<&'a str>>, usize) {
    let mut paths = Vec::new();
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text {
            "{" => {
                let (inner, after) = tree(tokens, at, &path);
                paths.extend(inner);
                at = after;
                path.clear();
            }
            "," | "}" => {
                if path.len() > prefix.len() {
                    paths.push(path);
                }
                path = prefix.to_vec();
                if token.text == "}" {
                    break;
                }
            }
            "::" => {}
            // A new name: `a as b` is known as `b`, and only the first name decides the module.
            name => path.push(name),
        }
    }
    (paths, at)
}

/// A word or a separator of the code.
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// The words and separators of a text, without comments, strings and tests.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut tokens = Vec::new();
    for (line, code) in (1..).zip(text.lines()) {
        let code = code.split("//").next().unwrap_or_default();
        // The even parts are outside of strings.
        for part in code.split('"').step_by(2) {
            split(part, line, &mut tokens);
        }
    }
    tokens
}

fn split<'a>(mut code: &'a str, line: usize, tokens: &mut Vec<Token<'a>>) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while let Some(first) = code.chars().next() {
        let length = match first {
            _ if is_word(first) => code.find(|c| !is_word(c)).unwrap_or(code.len()),
            _ if code.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (text, rest) = code.split_at(length);
        if !text.trim().is_empty() {
            tokens.push(Token { text, line });
        }
        code = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        targets(&source).into_iter().map(|(_, target)| target).collect()
    }

    #[test]
    fn nested_imports_are_resolved() {
        let text = "use crate::{\n    a::{B, c::D},\n    e,\n};\nlet x = crate::f::g();\n";
        assert_eq!(found("z/mod.rs", text), ["a", "a", "e", "f"]);
    }

    #[test]
    fn relative_imports_are_resolved() {
        assert_eq!(found("a/b.rs", "use super::c::D;"), ["a"]);
        assert_eq!(found("a/b.rs", "use super::super::c::D;"), ["c"]);
        assert_eq!(found("a/mod.rs", "use super::c::D; use self::e::F;"), ["c", "a"]);
    }

    #[test]
    fn comments_strings_and_tests_are_ignored() {
        let text = "// crate::a::B\n\"crate::a\"\n#[cfg(test)]\nmod tests { use crate::a::B; }";
        assert!(found("z.rs", text).is_empty());
    }

    #[test]
    fn root_exports_are_known() {
        let text = "pub use a::b::{C, D as E};\npub use self::f::G;\n";
        let root = Source { path: "lib.rs".to_owned(), text: text.to_owned() };
        let names = reexports(&[root]);
        assert_eq!(names.get("C").map(String::as_str), Some("a"));
        assert_eq!(names.get("E").map(String::as_str), Some("a"));
        assert_eq!(names.get("G").map(String::as_str), Some("f"));
    }
}
