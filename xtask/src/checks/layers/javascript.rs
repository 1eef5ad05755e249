//! The imports of a JavaScript file: relative addresses of modules.

use super::Source;

/// The top-level folders or files of all imported modules, with their lines.
pub fn targets(source: &Source) -> Vec<(usize, String)> {
    let folder: Vec<&str> = source.path.split('/').rev().skip(1).collect();
    let folder: Vec<&str> = folder.into_iter().rev().collect();
    let mut targets = Vec::new();
    for (line, text) in (1..).zip(source.text.lines()) {
        let is_comment = ["//", "*", "/*"].iter().any(|mark| text.trim_start().starts_with(mark));
        let address = text.split("from \"").nth(1).and_then(|rest| rest.split('"').next());
        if let (Some(address), false) = (address, is_comment) {
            targets.extend(resolve(&folder, address).map(|target| (line, target)));
        }
    }
    targets
}

/// The first part of an address relative to the source directory.
fn resolve(folder: &[&str], address: &str) -> Option<String> {
    let ups = address.split('/').filter(|part| *part == "..").count();
    let mut rest = address.split('/').filter(|part| ![".", ".."].contains(part));
    let base = &folder[..folder.len().checked_sub(ups)?];
    let first = base.first().copied().or_else(|| rest.next())?;
    Some(first.strip_suffix(".js").unwrap_or(first).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_addresses_are_resolved() {
        let text = "import { a } from \"./b.js\";\nexport { c } from \"../d/e.js\";\n\
                    import f from \"../g.js\";\n * import from \"../h/i.js\"\n";
        let source = Source { path: "views/ring.js".to_owned(), text: text.to_owned() };
        let expected = [(1, "views"), (2, "d"), (3, "g")].map(|(at, name)| (at, name.to_owned()));
        assert_eq!(targets(&source), expected);
    }
}
