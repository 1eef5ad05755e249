//! A violation as a page that can be opened in any browser.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Call, Contradiction, HistoryOperation};

/// How many operations of the order, and how many later ones, are shown.
const BEFORE_MAX: usize = 16;
const LATER_MAX: usize = 8;
const LEFT: usize = 90;
const LANE: usize = 34;
const SLOT: usize = 56;

/// The end of the picture is what a reader wants to see first: what is wider than the window begins
/// there.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em;max-width:75em;color:#1a1a1a;background:#fff}\
svg text{font:12px system-ui,sans-serif}table{border-collapse:collapse}td,th{text-align:left;padding:.15em .8em;border-bottom:1px solid #ccc}\
.scroll{overflow-x:auto;direction:rtl}.scroll svg{direction:ltr}.culprit td{font-weight:bold;color:#9b2d00}";

/// How an operation stands in the picture.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the longest order, at this position.
    At(usize),
    Culprit,
    Stuck,
    Later,
}

/// One self-contained page of HTML: the operations around the contradiction as bars on a lane for
/// each client, the end of the longest order, and the operation that cannot be placed.
#[must_use]
pub fn picture(contradiction: &Contradiction) -> String {
    let Contradiction { key, order, values, stuck, culprit, later } = contradiction;
    let hidden = order.len().saturating_sub(BEFORE_MAX);
    let mut shown: Vec<(&HistoryOperation, Place)> = order
        .iter()
        .enumerate()
        .skip(hidden)
        .map(|(position, operation)| (operation, Place::At(position + 1)))
        .collect();
    shown.extend(stuck.iter().map(|operation| {
        let is_culprit = operation == culprit;
        (operation, if is_culprit { Place::Culprit } else { Place::Stuck })
    }));
    shown.extend(later.iter().take(LATER_MAX).map(|operation| (operation, Place::Later)));
    let value = value_text(values.last().cloned().flatten().as_deref());
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Not linearizable: key {key}</title><style>{STYLE}</style></head><body>\
         <h1>Not linearizable: key <code>{key}</code></h1>\
         <p>No order of these operations explains what the clients saw. The longest order that explains a beginning of them has {} operations, \
         after which the key has <b>{value}</b>. Then <b>client {}, {}</b> has to come next, because it was answered first of those \
         under way, and {}.</p>",
        order.len(),
        culprit.client,
        escaped(&culprit.to_string()),
        if fits(culprit, values.last().and_then(Option::as_deref)) {
            "then no order explains the answers that follow"
        } else {
            "its answer does not fit"
        },
        key = escaped(key),
        value = escaped(&value),
    );
    page.push_str("<div class=\"scroll\">");
    page.push_str(&lanes(&shown));
    page.push_str("</div><p>Bars reach from question to answer, and fade out if none came. Numbers are the longest order. The red bar with a thick border cannot be placed; \
                   orange ones with a dashed border were under way and cannot come next either; grey ones were asked for later. Moments are evenly spaced, not to scale.</p>");
    page.push_str(&table(contradiction, hidden));
    page.push_str("</body></html>\n");
    page
}

fn lanes(shown: &[(&HistoryOperation, Place)]) -> String {
    let mut clients: Vec<u64> = shown.iter().map(|(operation, _)| operation.client).collect();
    clients.sort_unstable();
    clients.dedup();
    let moments = shown
        .iter()
        .flat_map(|(operation, _)| [Some(operation.invoked), operation.returned])
        .flatten();
    let mut ranks: BTreeMap<u64, usize> = moments.map(|moment| (moment, 0)).collect();
    for (rank, slot) in ranks.values_mut().enumerate() {
        *slot = rank;
    }
    let x = |moment: u64| LEFT + ranks.get(&moment).copied().unwrap_or(0) * SLOT;
    let width = LEFT + (ranks.len() + 1) * SLOT;
    let height = (clients.len() + 1) * LANE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" role=\"img\"><title>Operations by client and time</title>\
         <defs><linearGradient id=\"fade\"><stop offset=\"0.4\" stop-color=\"#fff\" stop-opacity=\"0\"/><stop offset=\"1\" stop-color=\"#fff\"/></linearGradient></defs>"
    );
    for (lane, client) in clients.iter().enumerate() {
        let y = lane * LANE + LANE / 2;
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{width}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ddd\"/><text x=\"4\" y=\"{}\">client {client}</text>",
            y + 4
        );
    }
    for (operation, place) in shown {
        let lane = clients.partition_point(|client| *client < operation.client);
        let (from, to) = (x(operation.invoked), operation.returned.map_or(width, x));
        let (fill, border, style) = match place {
            Place::At(_) => ("#cfe8dc", "#00694a", ""),
            Place::Culprit => ("#ffd9cc", "#9b2d00", " stroke-width=\"3\""),
            Place::Stuck => ("#fff0cc", "#8a5a00", " stroke-dasharray=\"4 2\""),
            Place::Later => ("#eee", "#777", ""),
        };
        let number = match place {
            Place::At(position) => format!("{position}: "),
            Place::Culprit => "✗ ".into(),
            Place::Stuck | Place::Later => String::new(),
        };
        let text = escaped(&format!("{number}{operation}"));
        let (y, length) = (lane * LANE + 4, (to.saturating_sub(from)).max(12));
        let _ = write!(
            svg,
            "<g><title>client {}, {} to {}: {text}</title><rect x=\"{from}\" y=\"{y}\" width=\"{length}\" height=\"{}\" rx=\"4\" fill=\"{fill}\" stroke=\"{border}\"{style}/>",
            operation.client,
            operation.invoked,
            operation.returned.map_or("never".into(), |at| at.to_string()),
            LANE - 8
        );
        if operation.returned.is_none() {
            let _ = write!(
                svg,
                "<rect x=\"{from}\" y=\"{y}\" width=\"{length}\" height=\"{}\" fill=\"url(#fade)\"/>",
                LANE - 8
            );
        }
        let _ = write!(
            svg,
            "<svg x=\"{from}\" y=\"{y}\" width=\"{length}\" height=\"{}\"><text x=\"5\" y=\"17\">{text}</text></svg></g>",
            LANE - 8
        );
    }
    svg.push_str("</svg>");
    svg
}

fn table(contradiction: &Contradiction, hidden: usize) -> String {
    let mut table = String::from(
        "<h2>The longest order</h2><table><tr><th>#</th><th>client</th><th>asked</th><th>answered</th><th>operation</th><th>value after it</th></tr>",
    );
    if hidden > 0 {
        let _ = write!(table, "<tr><td colspan=\"6\">… {hidden} before these</td></tr>");
    }
    let row = |table: &mut String,
               class: &str,
               number: &str,
               operation: &HistoryOperation,
               value: &str| {
        let _ = write!(
            table,
            "<tr class=\"{class}\"><td>{number}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            operation.client,
            operation.invoked,
            operation.returned.map_or("never".into(), |at| at.to_string()),
            escaped(&operation.to_string()),
            escaped(value)
        );
    };
    let ordered = contradiction.order.iter().zip(&contradiction.values);
    for (position, (operation, value)) in ordered.enumerate().skip(hidden) {
        let value = value_text(value.as_deref());
        row(&mut table, "", &(position + 1).to_string(), operation, &value);
    }
    row(&mut table, "culprit", "✗", &contradiction.culprit, "does not fit");
    table.push_str("</table>");
    table
}

/// Whether the answer could have been given at this value.
fn fits(operation: &HistoryOperation, value: Option<&str>) -> bool {
    match &operation.call {
        Call::Put { .. } | Call::Append { .. } | Call::Delete => true,
        Call::Get { found } => found.as_deref() == value,
        Call::Cas { expected, succeeded, .. } => (expected.as_deref() == value) == *succeeded,
    }
}

fn value_text(value: Option<&str>) -> String {
    value.map_or("no value".into(), |value| format!("{value:?}"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
