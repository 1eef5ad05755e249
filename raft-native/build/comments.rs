//! Removes comments from the scripts and styles of the page: a visitor has no use for them.

/// Removes the comments that stand on lines of their own, the indentation and the empty lines. Code
/// and strings stay as they are, because a comment behind code is kept, and no script of the page
/// has a string of several lines.
pub fn without_comments(name: &str, bytes: &[u8]) -> Vec<u8> {
    let is_code = [".js", ".css"].iter().any(|extension| name.ends_with(extension));
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|_| is_code) else {
        return bytes.to_vec();
    };
    let mut kept = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        let begins = !inside && line.starts_with("/*");
        if inside || begins {
            let end = line.find("*/");
            inside = end.is_none();
            // Code behind a comment.
            let rest = end.map_or("", |end| line[end + 2..].trim_start());
            if !rest.is_empty() {
                kept.push_str(rest);
                kept.push('\n');
            }
        } else if !(line.is_empty() || line.starts_with("//") && name.ends_with(".js")) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept.into_bytes()
}
