//! A report of a violation as an HTML page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Call, Contradiction, HistoryOperation};

/// The largest number of operations of the order in the report.
const BEFORE_MAX: usize = 16;
/// The largest number of later operations in the report.
const LATER_MAX: usize = 8;
/// The width of the names of the clients, in pixels.
const LEFT: usize = 90;
/// The height of the lane of a client, in pixels.
const LANE: usize = 34;
/// The distance between two consecutive times, in pixels.
const SLOT: usize = 56;

/// The style of the page. `direction:rtl` scrolls a wide diagram to its end, where the
/// contradiction is.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em;max-width:75em;color:#1a1a1a;background:#fff}\
svg text{font:12px system-ui,sans-serif}table{border-collapse:collapse}td,th{text-align:left;padding:.15em .8em;border-bottom:1px solid #ccc}\
.scroll{overflow-x:auto;direction:rtl}.scroll svg{direction:ltr}.culprit td{font-weight:bold;color:#9b2d00}";

/// The role of an operation in the report.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The operation has this position in the longest order.
    At(usize),
    /// The operation must come next, but it cannot.
    Culprit,
    /// The operation was in progress and cannot come next.
    Stuck,
    /// The operation was requested later.
    Later,
}

/// Renders a contradiction as one HTML page without external resources.
///
/// The page shows the operations around the contradiction as bars, with one lane for each client.
/// The report lists the end of the longest order, and marks the operation that cannot come next.
#[must_use]
pub fn html_report(contradiction: &Contradiction) -> String {
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
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Not linearizable: key {key}</title><style>{STYLE}</style></head><body>\
         <h1>Not linearizable: key <code>{key}</code></h1>\
         <p>No order of these operations explains all responses. The longest order of a prefix has \
         {} operations. The value after them is <b>{value}</b>. The next operation must be \
         <b>client {}, {}</b>, because it returned first of the operations in progress. {}.</p>",
        order.len(),
        culprit.client,
        escaped(&culprit.to_string()),
        if matches(culprit, values.last().and_then(Option::as_deref)) {
            "No order of the later operations then explains their responses"
        } else {
            "Its response does not match the value"
        },
        key = escaped(key),
        value = escaped(&value),
    );
    page.push_str("<div class=\"scroll\">");
    page.push_str(&lanes(&shown));
    page.push_str(
        "</div><p>A bar extends from the request to the response, and fades out without a \
         response. The numbers are the longest order. The red bar with a thick border cannot come \
         next. Orange bars with a dashed border were in progress and cannot come next either. Grey \
         operations were requested later. The distances are not to scale.</p>",
    );
    page.push_str(&table(contradiction, hidden));
    page.push_str("</body></html>\n");
    page
}

/// The operations as bars, with one lane for each client.
fn lanes(shown: &[(&HistoryOperation, Place)]) -> String {
    let mut clients: Vec<u64> = shown.iter().map(|(operation, _)| operation.client).collect();
    clients.sort_unstable();
    clients.dedup();
    let times = shown
        .iter()
        .flat_map(|(operation, _)| [Some(operation.invoked), operation.returned])
        .flatten();
    let mut ranks: BTreeMap<u64, usize> = times.map(|time| (time, 0)).collect();
    for (rank, slot) in ranks.values_mut().enumerate() {
        *slot = rank;
    }
    let x = |time: u64| LEFT + ranks.get(&time).copied().unwrap_or(0) * SLOT;
    let width = LEFT + (ranks.len() + 1) * SLOT;
    let height = (clients.len() + 1) * LANE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" role=\"img\">\
         <title>Operations by client and time</title><defs><linearGradient id=\"fade\">\
         <stop offset=\"0.4\" stop-color=\"#fff\" stop-opacity=\"0\"/>\
         <stop offset=\"1\" stop-color=\"#fff\"/></linearGradient></defs>"
    );
    for (lane, client) in clients.iter().enumerate() {
        let y = lane * LANE + LANE / 2;
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{width}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ddd\"/>\
             <text x=\"4\" y=\"{}\">client {client}</text>",
            y + 4
        );
    }
    for (operation, place) in shown {
        let lane = clients.partition_point(|client| *client < operation.client);
        let (from, to) = (x(operation.invoked), operation.returned.map_or(width, x));
        bar(&mut svg, operation, *place, lane, from, to.saturating_sub(from).max(12));
    }
    svg.push_str("</svg>");
    svg
}

/// Draws the bar of one operation. The bar fades out if the operation has no response.
fn bar(
    svg: &mut String,
    operation: &HistoryOperation,
    place: Place,
    lane: usize,
    x: usize,
    width: usize,
) {
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
    let (y, height) = (lane * LANE + 4, LANE - 8);
    let bounds = format!("x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"");
    let HistoryOperation { client, invoked, returned, .. } = operation;
    let returned = returned.map_or("never".into(), |time| time.to_string());
    let _ = write!(
        svg,
        "<g><title>client {client}, {invoked} to {returned}: {text}</title>\
         <rect {bounds} rx=\"4\" fill=\"{fill}\" stroke=\"{border}\"{style}/>",
    );
    if operation.returned.is_none() {
        let _ = write!(svg, "<rect {bounds} fill=\"url(#fade)\"/>");
    }
    let _ = write!(svg, "<svg {bounds}><text x=\"5\" y=\"17\">{text}</text></svg></g>");
}

/// The end of the longest order as a table.
fn table(contradiction: &Contradiction, hidden: usize) -> String {
    let mut table = String::from(
        "<h2>The longest order</h2><table><tr><th>#</th><th>client</th><th>request</th><th>response</th><th>operation</th><th>value afterwards</th></tr>",
    );
    if hidden > 0 {
        let _ = write!(table, "<tr><td colspan=\"6\">… {hidden} earlier operations</td></tr>");
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
    row(&mut table, "culprit", "✗", &contradiction.culprit, "cannot come next");
    table.push_str("</table>");
    table
}

/// Returns true if the response matches this value.
fn matches(operation: &HistoryOperation, value: Option<&str>) -> bool {
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
