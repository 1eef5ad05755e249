//! The format of transcripts: a head, and commands, each followed by its indented trace.

use crate::cluster::{BrokenRule, Cluster};

/// A parsed transcript.
pub struct Transcript<'a> {
    lines: Vec<Line<'a>>,
}

enum Line<'a> {
    /// A comment, a line of the head, or an empty line.
    Words(&'a str),
    Command {
        number: usize,
        text: &'a str,
    },
}

/// The failure of a transcript, and its line, counted from 1.
pub struct Failure {
    pub line: usize,
    pub why: String,
}

/// The required paragraphs of the head.
const HEAD: [&str; 3] = ["# Seen: ", "# Why: ", "# Source: "];

impl<'a> Transcript<'a> {
    pub fn read(text: &'a str) -> Result<Self, Failure> {
        for part in HEAD {
            if !text.lines().any(|line| line.starts_with(part)) {
                let why = format!("the head has no line `{}…`", part.trim_end());
                return Err(Failure { line: 1, why });
            }
        }
        let is_trace = |text: &str| text.starts_with(' ');
        let lines = (1..).zip(text.lines()).filter(|(_, text)| !is_trace(text));
        let lines = lines.map(|(number, text)| match text.chars().next() {
            None | Some('#') => Line::Words(text),
            Some(_) => Line::Command { number, text },
        });
        Ok(Self { lines: lines.collect() })
    }

    /// Executes the commands. Returns the transcript with the new traces, and the first failure.
    pub fn play(&self, broken: BrokenRule) -> (String, Option<Failure>) {
        let mut cluster = Cluster::new(broken);
        let mut played = String::new();
        let mut expectations = 0;
        for line in &self.lines {
            let (Line::Words(text) | Line::Command { text, .. }) = line;
            played.push_str(text);
            played.push('\n');
            let Line::Command { number, text } = line else {
                continue;
            };
            expectations += usize::from(text.starts_with("expect") || text.starts_with("refused"));
            if let Err(why) = cluster.command(text) {
                let line = *number;
                return (played, Some(Failure { line, why }));
            }
            for trace in cluster.take_trace() {
                played.push_str("  ");
                played.push_str(&trace);
                played.push('\n');
            }
        }
        let nothing =
            (expectations == 0).then(|| Failure { line: 1, why: "it expects nothing".into() });
        (played, nothing)
    }
}

/// The first difference of two texts, with some lines before it.
pub fn first_difference(expected: &str, played: &str) -> String {
    let common = expected.lines().zip(played.lines());
    let same = common.take_while(|(left, right)| left == right).count();
    let show = |text: &str, sign: &str| {
        let lines = text.lines().skip(same).take(4);
        lines.map(|line| format!("{sign}{line}\n")).collect::<String>()
    };
    let before: String = expected
        .lines()
        .take(same)
        .skip(same.saturating_sub(3))
        .map(|line| format!(" {line}\n"))
        .collect();
    format!(
        "{}: the trace is another one\n{before}{}{}",
        same + 1,
        show(expected, "-"),
        show(played, "+")
    )
}
