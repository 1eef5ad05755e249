//! The rules of `raft-core` can be broken on purpose, under the feature `sabotage`; without it, the
//! switches cost nothing.
//!
//! Where the core applies a rule it asks `enforces(Rule::…)`. Two copies of it are compiled as they
//! ship: one as it is, and one in which each such question is replaced by the word `true`, in the
//! same place of the same line. Both must give the same assembly, instruction by instruction.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::Note;
use crate::step::Step;
use crate::workspace::Workspace;

/// Where the questions are answered, so nothing is replaced in it.
const ANSWERS: &str = "sabotage.rs";

pub fn run(workspace: &Workspace) -> Result<Note> {
    let copy = workspace.target("switches/copy");
    let source = copy.join("raft-core/src");
    fs::create_dir_all(&source).with_context(|| format!("cannot create {}", source.display()))?;
    let manifest = alone(&read(&workspace.path("Cargo.toml"))?)?;
    write(&copy.join("Cargo.toml"), &manifest)?;
    write(&copy.join("Cargo.lock"), &read(&workspace.path("Cargo.lock"))?)?;
    let core = "raft-core/Cargo.toml";
    write(&copy.join(core), &library_alone(&read(&workspace.path(core))?))?;

    copy_source(workspace, &source, |text| Ok((text.to_owned(), 0)))?;
    let as_it_is = assembly(workspace, &copy, "as-it-is")?;
    let replaced = copy_source(workspace, &source, without_switches)?;
    ensure!(replaced > 0, "nothing asks whether a rule is kept");
    let without = assembly(workspace, &copy, "without")?;

    if let Some(difference) = difference(&as_it_is, &without) {
        bail!("a switch of `sabotage` is left in a build without that feature:\n{difference}");
    }
    let lines = as_it_is.lines().count();
    Ok(Some(format!("{replaced} switches leave nothing in {lines} lines of assembly")))
}

/// The workspace's manifest with raft-core as the only member.
fn alone(manifest: &str) -> Result<String> {
    let (before, rest) = manifest.split_once("members = [").context("Cargo.toml has no members")?;
    let (_, after) = rest.split_once(']').context("the members never end")?;
    let after: Vec<_> = after.lines().filter(|line| !line.starts_with("default-members")).collect();
    Ok(format!("{before}members = [\"raft-core\"]{}\n", after.join("\n")))
}

/// A package's manifest without its examples, tests and the like.
fn library_alone(manifest: &str) -> String {
    let mut is_other = false;
    let mut library = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_other = line.starts_with("[[");
        }
        if !is_other {
            library.push_str(line);
            library.push('\n');
        }
    }
    library
}

/// Copies the core's source through `change`. Returns the number of changes.
fn copy_source(
    workspace: &Workspace,
    to: &Path,
    change: impl Fn(&str) -> Result<(String, usize)>,
) -> Result<usize> {
    copy_directory(&workspace.path("raft-core/src"), to, &change)
}

fn copy_directory(
    from: &Path,
    to: &Path,
    change: &impl Fn(&str) -> Result<(String, usize)>,
) -> Result<usize> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let files = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut changes = 0;
    for file in files {
        let file = file.with_context(|| format!("cannot read {}", from.display()))?;
        let (path, name) = (file.path(), file.file_name());
        if path.is_dir() {
            changes += copy_directory(&path, &to.join(name), change)?;
            continue;
        }
        let text = read(&path)?;
        let (text, count) = if name == ANSWERS || path.extension().is_none_or(|end| end != "rs") {
            (text, 0)
        } else {
            change(&text).with_context(|| format!("in {}", path.display()))?
        };
        changes += count;
        write(&to.join(name), &text)?;
    }
    Ok(changes)
}

/// Replaces each question for a rule by `true`, and what is left of its length by spaces, so that
/// nothing else moves: the program knows the lines and columns of its panics.
fn without_switches(text: &str) -> Result<(String, usize)> {
    const QUESTION: &str = ".enforces(Rule::";
    let mut changed = text.to_owned();
    let mut count = 0;
    while let Some(dot) = changed.find(QUESTION) {
        let begin = path_begin(&changed[..dot]);
        let end = changed[dot..].find(')').context("a question does not end")?;
        let end = dot + end + 1;
        let mut answer = String::from("true");
        let rest = changed[begin..end].chars().skip(answer.len());
        answer.extend(rest.map(|c| if c == '\n' { '\n' } else { ' ' }));
        changed.replace_range(begin..end, &answer);
        count += 1;
    }
    ensure!(!changed.contains("enforces("), "a question is not asked as `….enforces(Rule::…)`");
    Ok((changed, count))
}

/// Where the path at the end of `text` begins, such as `self.config`, perhaps over several lines.
fn path_begin(text: &str) -> usize {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let before = text.trim_end().trim_end_matches(is_name);
    match before.trim_end().strip_suffix('.') {
        Some(path) => path_begin(path),
        None => before.len(),
    }
}

/// Compiles the copy as it ships, in one piece, and returns its assembly.
fn assembly(workspace: &Workspace, copy: &Path, name: &str) -> Result<String> {
    let file = workspace.target(&format!("switches/{name}.s"));
    Step::cargo(workspace, "rustc --quiet --release --lib --package raft-core --target-dir")?
        .arg(workspace.target("switches/build"))
        .args(["--", "--cap-lints", "allow", "--emit"])
        .arg(format!("asm={}", file.display()))
        .directory(copy)
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .run()?;
    read(&file)
}

/// The first lines that differ, apart from the names of labels that are local to a file: the
/// compiler numbers some of them as it goes.
fn difference(left: &str, right: &str) -> Option<String> {
    const SHOWN: usize = 8;
    let (left, right) = (numbered(left), numbered(right));
    if left == right {
        return None;
    }
    let same = left.iter().zip(&right).take_while(|(l, r)| l == r).count();
    let mut difference = format!("line {} of the assembly\n", same + 1);
    for (sign, lines) in [('-', &left), ('+', &right)] {
        for line in lines.iter().skip(same).take(SHOWN) {
            let _ = writeln!(difference, "{sign}{line}");
        }
    }
    Some(difference)
}

/// The lines, with local labels called by the order in which they appear.
fn numbered(assembly: &str) -> Vec<String> {
    let mut labels = HashMap::new();
    let is_label = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$');
    assembly
        .lines()
        .map(|line| {
            let mut numbered = String::new();
            let mut rest = line;
            while let Some(at) = rest.find(".L") {
                let end = rest[at..].find(|c| !is_label(c));
                let (label, after) = rest[at..].split_at(end.unwrap_or(rest.len() - at));
                let next = labels.len();
                let number = *labels.entry(label.to_owned()).or_insert(next);
                let _ = write!(numbered, "{}.L{number}", &rest[..at]);
                rest = after;
            }
            numbered + rest
        })
        .collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes only what is new, so that nothing is compiled again that is the same.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switch_is_replaced_in_place() {
        let text = "if a && self.config.enforces(Rule::OneVote) || !self\n    .config\n    .enforces(Rule::Other)\n{ x(self.enforces(Rule::Third), y) }\n";
        let expected = format!(
            "if a && true{} || !true\n{}\n{}\n{{ x(true{}, y) }}\n",
            " ".repeat("self.config.enforces(Rule::OneVote)".len() - 4),
            " ".repeat("    .config".len()),
            " ".repeat("    .enforces(Rule::Other)".len()),
            " ".repeat("self.enforces(Rule::Third)".len() - 4),
        );
        let (changed, count) = without_switches(text).unwrap();
        assert_eq!((changed, count), (expected, 3));
    }

    #[test]
    fn manifest_is_reduced_to_library() {
        let manifest =
            "[package]\nname = \"a\"\n\n[[example]]\nname = \"b\"\n\n[lints]\nworkspace = true\n";
        let expected = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(library_alone(manifest), expected);
    }

    #[test]
    fn unrecognized_switch_is_an_error() {
        assert!(without_switches("config.enforces(rule)").is_err());
        assert!(without_switches("let enforces = enforces(rule);").is_err());
    }

    #[test]
    fn assembly_comparison_ignores_labels() {
        let left = "f:\n jmp .Lx.7\n.Lx.7:\n ret\n";
        assert_eq!(difference(left, &left.replace(".7", ".8")), None);
        assert!(difference(left, &left.replace("ret", "nop")).is_some());
        assert!(difference(left, "f:\n jmp .Lx\n.Ly:\n ret\n").is_some());
    }
}
