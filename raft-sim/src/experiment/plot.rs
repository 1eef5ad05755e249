//! Plots of cumulative distributions, in SVG.

use std::fmt::Write as _;

use crate::experiment::distribution::Distribution;

/// A panel of curves with a logarithmic axis of milliseconds.
#[derive(Clone, Debug)]
pub struct Panel<'a> {
    /// The title of the panel.
    pub title: &'a str,
    /// The ends of the axis, in milliseconds.
    pub millis: (f64, f64),
    /// The curves of the panel.
    pub curves: Vec<Curve<'a>>,
}

/// A measured distribution, and published points of it.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    /// The name of the curve.
    pub name: String,
    /// The measured distribution.
    pub times: &'a Distribution,
    /// The published points: shares and milliseconds.
    pub published: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
const PLOT_WIDTH: f64 = 560.0;
const PLOT_HEIGHT: f64 = 210.0;
/// Colours that colour-blind people can distinguish (Okabe and Ito). The dashes differ, too.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000"];
const DASHES: [&str; 6] = ["none", "6 3", "2 2", "8 2 2 2", "10 4", "4 4"];

/// Draws panels one below the other. Lines are measured values, circles are published values.
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
    let scale = Scale { first: panel.millis.0, last: panel.millis.1 };
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"24\" font-weight=\"bold\">{}</text>",
        escaped(panel.title)
    );
    draw_axes(svg, scale);
    for (position, curve) in panel.curves.iter().enumerate() {
        draw_curve(svg, scale, position, curve);
        draw_legend(svg, position, curve);
    }
}

/// The position of a point on a panel.
#[derive(Clone, Copy)]
struct Scale {
    /// The ends of the axis, in milliseconds.
    first: f64,
    last: f64,
}

impl Scale {
    fn x(self, millis: f64) -> f64 {
        let share = (millis.max(self.first) / self.first).ln() / (self.last / self.first).ln();
        LEFT + PLOT_WIDTH * share.min(1.0)
    }

    fn y(share: f64) -> f64 {
        TOP + PLOT_HEIGHT * (1.0 - share)
    }
}

fn draw_axes(svg: &mut String, scale: Scale) {
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (at, end) = (Scale::y(share), LEFT + PLOT_WIDTH);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>",
            LEFT - 6.0,
            at + 4.0,
            share * 100.0
        );
    }
    for millis in ticks(scale.first, scale.last) {
        let (at, bottom) = (scale.x(millis), TOP + PLOT_HEIGHT);
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
}

/// The colour and the dashes of a curve.
fn style(position: usize) -> (&'static str, &'static str) {
    (COLOURS[position % COLOURS.len()], DASHES[position % DASHES.len()])
}

fn draw_curve(svg: &mut String, scale: Scale, position: usize, curve: &Curve<'_>) {
    let (colour, dashes) = style(position);
    let points: Vec<_> = (0..=200)
        .map(|step| f64::from(step) / 200.0)
        .map(|share| format!("{:.1},{:.1}", scale.x(curve.times.quantile(share)), Scale::y(share)))
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
            scale.x(*millis),
            Scale::y(*share)
        );
    }
}

fn draw_legend(svg: &mut String, position: usize, curve: &Curve<'_>) {
    let (colour, dashes) = style(position);
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

/// The multiples of powers of ten by 1, 2 and 5 between the ends of the axis.
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
