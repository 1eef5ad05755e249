//! Proof that the feature `sabotage` costs nothing when it is disabled.
//!
//! With the feature, a test can disable a rule of raft-core. Where the core applies a rule, the
//! code contains the switch `enforces(Rule::…)`. This check compiles two copies of raft-core
//! without the feature. In the second copy, each switch is replaced by `true` at the same position.
//! Both copies must compile to the same assembly.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::Note;
use crate::step::Step;
use crate::workspace::{Workspace, create_directory, read};

/// The file that defines `enforces`. Its text is not changed.
const DEFINITION: &str = "sabotage.rs";

pub fn run(workspace: &Workspace) -> Result<Note> {
    let copy = workspace.target("sabotage/copy");
    let source = copy.join("raft-core/src");
    create_directory(&source)?;
    let manifest = only_core(&read(&workspace.path("Cargo.toml"))?)?;
    write(&copy.join("Cargo.toml"), &manifest)?;
    write(&copy.join("Cargo.lock"), &read(&workspace.path("Cargo.lock"))?)?;
    let core = "raft-core/Cargo.toml";
    write(&copy.join(core), &only_library(&read(&workspace.path(core))?))?;

    let original = workspace.path("raft-core/src");
    copy_source(&original, &source, &|text| Ok((text.to_owned(), 0)))?;
    let with_switches = assembly(workspace, &copy, "with-switches")?;
    let replaced = copy_source(&original, &source, &without_switches)?;
    ensure!(replaced > 0, "raft-core contains no switch of a rule");
    let without_switches = assembly(workspace, &copy, "without-switches")?;

    if let Some(difference) = difference(&with_switches, &without_switches) {
        bail!("a build without the feature `sabotage` contains code of a switch:\n{difference}");
    }
    let lines = with_switches.lines().count();
    Ok(Some(format!("{replaced} switches add nothing to {lines} lines of assembly")))
}

/// The manifest of the workspace with raft-core as the only member.
fn only_core(manifest: &str) -> Result<String> {
    let (before, rest) =
        manifest.split_once("members = [").context("Cargo.toml contains no members")?;
    let (_, after) = rest.split_once(']').context("the members in Cargo.toml have no end")?;
    let after: Vec<_> = after.lines().filter(|line| !line.starts_with("default-members")).collect();
    Ok(format!("{before}members = [\"raft-core\"]{}\n", after.join("\n")))
}

/// The manifest of a package without its examples, tests and benchmarks.
fn only_library(manifest: &str) -> String {
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

/// A change of a source text. Returns the new text and the number of changes.
type Change<'a> = &'a dyn Fn(&str) -> Result<(String, usize)>;

/// Makes the directory `to` a copy of `from` with a change in each Rust file. Files that do not
/// exist in `from` are removed. Returns the number of changes.
fn copy_source(from: &Path, to: &Path, change: Change) -> Result<usize> {
    create_directory(to)?;
    for stale in list(to)? {
        let path = to.join(&stale);
        match from.join(&stale) {
            original if original.is_dir() == path.is_dir() && original.exists() => {}
            _ if path.is_dir() => fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?,
            _ => fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?,
        }
    }
    let mut changes = 0;
    for name in list(from)? {
        let (original, copy) = (from.join(&name), to.join(&name));
        if original.is_dir() {
            changes += copy_source(&original, &copy, change)?;
            continue;
        }
        let text = read(&original)?;
        let is_changed =
            original.extension().is_some_and(|extension| extension == "rs") && name != DEFINITION;
        let (text, count) = if is_changed {
            change(&text).with_context(|| format!("in {}", original.display()))?
        } else {
            (text, 0)
        };
        changes += count;
        write(&copy, &text)?;
    }
    Ok(changes)
}

/// The names of the files and directories in a directory.
fn list(directory: &Path) -> Result<Vec<OsString>> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .with_context(|| format!("cannot list {}", directory.display()))
}

/// Replaces each switch by `true` and spaces. All other code keeps its position, because panics
/// contain their line and column.
fn without_switches(text: &str) -> Result<(String, usize)> {
    const SWITCH: &str = ".enforces(Rule::";
    let mut changed = text.to_owned();
    let mut count = 0;
    while let Some(dot) = changed.find(SWITCH) {
        let begin = path_begin(&changed[..dot]);
        let end = changed[dot..].find(')').context("a switch has no closing parenthesis")?;
        let end = dot + end + 1;
        let mut replacement = String::from("true");
        let rest = changed[begin..end].chars().skip(replacement.len());
        replacement.extend(rest.map(|c| if c == '\n' { '\n' } else { ' ' }));
        changed.replace_range(begin..end, &replacement);
        count += 1;
    }
    ensure!(
        !changed.contains("enforces("),
        "unknown form of a switch; write it as `….enforces(Rule::…)`"
    );
    Ok((changed, count))
}

/// The position at which the path at the end of `text` begins. A path such as `self.config` can
/// extend over several lines.
fn path_begin(text: &str) -> usize {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let before = text.trim_end().trim_end_matches(is_name);
    match before.trim_end().strip_suffix('.') {
        Some(path) => path_begin(path),
        None => before.len(),
    }
}

/// Compiles the copy in release mode as one codegen unit, and returns its assembly.
fn assembly(workspace: &Workspace, copy: &Path, name: &str) -> Result<String> {
    let file = workspace.target(&format!("sabotage/{name}.s"));
    Step::cargo(workspace, "rustc --quiet --release --lib --package raft-core --target-dir")?
        .arg(workspace.target("sabotage/build"))
        .args(["--", "--cap-lints", "allow", "--emit"])
        .arg(format!("asm={}", file.display()))
        .directory(copy)
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .run()?;
    read(&file)
}

/// The first lines that differ. The names of local labels are ignored, because the compiler chooses
/// their numbers freely.
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

/// The lines, with local labels numbered in the order in which they appear.
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

/// Writes a file unless it has this text already. An unchanged file is not compiled again.
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
        let text = "if a && self.config.enforces(Rule::OneVote) || !self\n    .config\n    \
                    .enforces(Rule::Other)\n{ x(self.enforces(Rule::Third), y) }\n";
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
        assert_eq!(only_library(manifest), expected);
    }

    #[test]
    fn unknown_switch_is_rejected() {
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
