//! The report: tables and a bar chart.

use std::fmt::Write as _;
use std::time::Duration;

use crate::allocation_counts::Counts;
use crate::bar_chart::{self, Group, per_second};
use crate::scaling::{CatchUp, Members, bytes_of_a_server};
use crate::throughput::{Among, Throughputs};
use crate::{CASES, CORES};

/// All measurements and counts.
pub struct Report {
    /// Commits per second.
    pub throughputs: Throughputs,
    /// The counts of every case and core.
    pub counts: Vec<Vec<Counts>>,
    /// The measurements by size of the cluster.
    pub members: Vec<Members>,
    /// The measurements by number of missing entries.
    pub catch_ups: Vec<CatchUp>,
    /// The number of measurements of each throughput.
    pub repetitions: usize,
}

impl Report {
    /// The page with all tables.
    #[must_use]
    pub fn page(&self) -> String {
        let repetitions = self.repetitions.to_string();
        let server = bytes_of_a_server().to_string();
        let parts: [(&str, &str); 7] = [
            ("{repetitions}", &repetitions),
            ("{throughputs}", &self.throughputs()),
            ("{counts}", &self.counts()),
            ("{remarks}", &remarks()),
            ("{bytes_of_a_server}", &server),
            ("{members}", &self.members()),
            ("{catch_ups}", &self.catch_ups()),
        ];
        let page = include_str!("report_template.md").to_owned();
        let fill = |page: String, (mark, text): (&str, &str)| page.replace(mark, text.trim_end());
        parts.into_iter().fold(page, fill)
    }

    /// All tables, for the terminal.
    #[must_use]
    pub fn tables(&self) -> String {
        let (throughputs, counts) = (self.throughputs(), self.counts());
        let (members, catch_ups) = (self.members(), self.catch_ups());
        let bytes = bytes_of_a_server();
        format!("{throughputs}\n{counts}\nA server has {bytes} bytes.\n\n{members}\n{catch_ups}")
    }

    /// The throughputs as a bar chart.
    #[must_use]
    pub fn chart(&self) -> String {
        let names: Vec<_> = CORES.iter().map(|core| core.name).collect();
        let groups = CASES.iter().enumerate().map(|(case, what)| Group {
            title: format!("{} bytes, {} in flight", what.bytes, what.in_flight),
            values: (0..CORES.len()).map(|core| self.throughputs.median(case, core)).collect(),
        });
        let groups: Vec<_> = groups.collect();
        bar_chart::draw("Commits per second", &names, &groups)
    }

    fn throughputs(&self) -> String {
        let mut table = heading("commits per second, median (range)");
        for (position, core) in CORES.iter().enumerate() {
            let cells = (0..CASES.len()).map(|case| {
                let (least, greatest) = self.throughputs.range(case, position);
                format!(
                    "{} ({}–{})",
                    per_second(self.throughputs.median(case, position)),
                    per_second(least),
                    per_second(greatest)
                )
            });
            row(&mut table, core.name, cells);
        }
        let groups: [(_, Among); 2] = [
            ("**raft-core ÷ fastest other that replicates commands**", |core| core.ships),
            ("**raft-core ÷ fastest other**", |_| true),
        ];
        for (title, among) in groups {
            let ratios = (0..CASES.len()).map(|case| {
                let (ratio, fastest) = self.throughputs.ratio(case, among);
                format!("**{ratio:.2}** ({})", CORES[fastest].name)
            });
            row(&mut table, title, ratios);
        }
        table
    }

    fn counts(&self) -> String {
        let mut table = heading("allocations / bytes allocated / messages per commit");
        for (position, core) in CORES.iter().enumerate() {
            let cells = self.counts.iter().map(|cores| {
                let counts = cores[position];
                let numbers = [counts.allocations, counts.bytes, counts.messages];
                numbers.map(brief).join(" / ")
            });
            row(&mut table, core.name, cells);
        }
        table
    }

    fn members(&self) -> String {
        let mut table = String::from(
            "| members | one acknowledgement at the leader | heartbeat round, all servers (messages) | election, all servers (messages) |\n\
             |---|---|---|---|\n",
        );
        for members in &self.members {
            let cells = [
                time(members.acknowledgement),
                format!("{} ({})", time(members.heartbeat_round), members.heartbeat_messages),
                format!("{} ({})", time(members.election), members.election_messages),
            ];
            row(&mut table, &members.members.to_string(), cells);
        }
        table
    }

    fn catch_ups(&self) -> String {
        let mut table = String::from(
            "| missing entries | time until all are applied | per entry | messages of all servers |\n\
             |---|---|---|---|\n",
        );
        for catch_up in &self.catch_ups {
            let each = catch_up.time.as_secs_f64() / catch_up.entries as f64;
            let cells = [
                time(catch_up.time),
                time(Duration::from_secs_f64(each)),
                catch_up.messages.to_string(),
            ];
            row(&mut table, &catch_up.entries.to_string(), cells);
        }
        table
    }
}

fn heading(what: &str) -> String {
    let mut table = String::new();
    let titles = CASES.map(|case| format!("{} B, {} in flight", case.bytes, case.in_flight));
    row(&mut table, what, titles);
    let _ = writeln!(table, "|{}", "---|".repeat(CASES.len() + 1));
    table
}

fn row(table: &mut String, first: &str, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<_> = cells.into_iter().collect();
    let _ = writeln!(table, "| {first} | {} |", cells.join(" | "));
}

fn remarks() -> String {
    let mut table = String::from("| core | calls |\n|---|---|\n");
    for core in CORES {
        row(&mut table, core.name, [core.remark.to_owned()]);
    }
    table
}

/// A number with about four significant digits.
fn brief(value: f64) -> String {
    if value >= 10.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

fn time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    match nanos {
        ..1e3 => format!("{nanos:.0} ns"),
        1e3..1e6 => format!("{:.1} µs", nanos / 1e3),
        _ => format!("{:.1} ms", nanos / 1e6),
    }
}
