//! Cumulative distributions as a picture, in SVG.

use std::fmt::Write as _;

use crate::experiment::distribution::Distribution;

/// A panel of curves over one logarithmic axis of milliseconds.
#[derive(Clone, Debug)]
pub struct Panel<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// Where the axis begins and ends, in milliseconds.
    pub millis: (f64, f64),
    /// The curves.
    pub curves: Vec<Curve<'a>>,
}

/// A measured distribution and the points that were published of it.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    /// Its name.
    pub name: String,
    /// What was measured.
    pub times: &'a Distribution,
    /// Shares and milliseconds that were published.
    pub published: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
const PLOT_WIDTH: f64 = 560.0;
const PLOT_HEIGHT: f64 = 210.0;
/// Colours that people who are colour-blind tell apart (Okabe and Ito); the marks differ, too.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000"];
const DASHES: [&str; 6] = ["none", "6 3", "2 2", "8 2 2 2", "10 4", "4 4"];

/// Draws panels one below the other. Lines are measured, circles are published.
#[must_use]
pub fn draw(title: &str, panels: &[Panel<'_>]) -> String {
    let height = HEIGHT * panels.len() as f64;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\"><title>{}</title>\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
        escaped(title)
    );
    for (position, panel) in panels.iter().enumerate() {
        let _ = write!(svg, "<g transform=\"translate(0 {})\">", position as f64 * HEIGHT);
        draw_panel(&mut svg, panel);
        svg.push_str("</g>");
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel<'_>) {
    let (first, last) = panel.millis;
    let x = |millis: f64| {
        let share = (millis.max(first) / first).ln() / (last / first).ln();
        LEFT + PLOT_WIDTH * share.min(1.0)
    };
    let y = |share: f64| TOP + PLOT_HEIGHT * (1.0 - share);
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"24\" font-weight=\"bold\">{}</text>",
        escaped(panel.title)
    );
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (at, end) = (y(share), LEFT + PLOT_WIDTH);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>",
            LEFT - 6.0,
            at + 4.0,
            share * 100.0
        );
    }
    for millis in ticks(first, last) {
        let (at, bottom) = (x(millis), TOP + PLOT_HEIGHT);
        let _ = write!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{millis}</text>",
            bottom + 16.0
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">time without leader (ms)</text>",
        LEFT + PLOT_WIDTH / 2.0,
        TOP + PLOT_HEIGHT + 34.0
    );
    for (position, curve) in panel.curves.iter().enumerate() {
        let colour = COLOURS[position % COLOURS.len()];
        let dashes = DASHES[position % DASHES.len()];
        let points: Vec<_> = (0..=200)
            .map(|step| f64::from(step) / 200.0)
            .map(|share| format!("{:.1},{:.1}", x(curve.times.quantile(share)), y(share)))
            .collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" stroke-dasharray=\"{dashes}\"/>",
            points.join(" ")
        );
        for (share, millis) in &curve.published {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#fff\" stroke=\"{colour}\" stroke-width=\"1.4\"/>",
                x(*millis),
                y(*share)
            );
        }
        let (line, text) = (LEFT + PLOT_WIDTH + 12.0, TOP + 12.0 + position as f64 * 20.0);
        let _ = write!(
            svg,
            "<line x1=\"{line:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"1.6\" stroke-dasharray=\"{dashes}\"/>\
             <text x=\"{:.1}\" y=\"{text:.1}\">{}</text>",
            line + 26.0,
            text - 4.0,
            text - 4.0,
            line + 32.0,
            escaped(&curve.name)
        );
    }
}

/// 1, 2 and 5 times the powers of ten between the ends.
fn ticks(first: f64, last: f64) -> impl Iterator<Item = f64> {
    let powers = (0..7).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    powers.filter(move |tick| (first..=last).contains(tick))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curve_is_monotonic_and_labels_are_text() {
        let times = Distribution::new(vec![10_000, 20_000, 40_000]).unwrap();
        let curve = Curve { name: "a<b".into(), times: &times, published: vec![(0.5, 20.0)] };
        let panel = Panel { title: "x & y", millis: (10.0, 100.0), curves: vec![curve] };
        let svg = draw("t", &[panel]);
        assert!(svg.contains("a&lt;b") && svg.contains("x &amp; y"));
        let line = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<(f64, f64)> = line
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 >= pair[1].1));
        assert_eq!(points[0], (LEFT, TOP + PLOT_HEIGHT));
        // A published point on the measured curve lies on it.
        let circle = format!("cx=\"{:.1}\" cy=\"{:.1}\"", points[100].0, points[100].1);
        assert!(svg.contains(&circle), "{circle}");
    }
}
