//! A bar chart in SVG.

use std::fmt::Write as _;

/// A group of bars with a common scale.
pub struct Group {
    /// The title.
    pub title: String,
    /// The values in the order of the names.
    pub values: Vec<f64>,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 170.0;
const PLOT_WIDTH: f64 = 490.0;
const BAR: f64 = 14.0;
const TITLE: f64 = 34.0;
/// The palette of Okabe and Ito, which colour-blind readers can distinguish. Each bar also has a
/// name.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000"];

/// Draws the groups one below the other. Each group has a scale of its own.
pub fn draw(title: &str, names: &[&str], groups: &[Group]) -> String {
    let group_height = TITLE + names.len() as f64 * BAR;
    let height = 16.0 + groups.len() as f64 * group_height;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"11\"><title>{title}</title>\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (position, group) in groups.iter().enumerate() {
        let top = position as f64 * group_height + TITLE;
        let longest = group.values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{}</text>",
            top - 8.0,
            group.title
        );
        for (row, (name, value)) in names.iter().zip(&group.values).enumerate() {
            let y = top + row as f64 * BAR;
            let length = PLOT_WIDTH * value / longest;
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 10.0,
                BAR - 3.0,
                COLOURS[row % COLOURS.len()],
                LEFT + length + 5.0,
                y + 10.0,
                per_second(*value),
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// A number of commits per second as text.
pub fn per_second(value: f64) -> String {
    if value >= 1e6 { format!("{:.2} M", value / 1e6) } else { format!("{:.0} k", value / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_proportional() {
        let group = Group { title: "one".into(), values: vec![2e6, 500e3] };
        let svg = draw("t", &["a", "b"], &[group]);
        assert!(svg.contains(&format!("width=\"{PLOT_WIDTH:.1}\"")));
        assert!(svg.contains(&format!("width=\"{:.1}\"", PLOT_WIDTH / 4.0)));
        assert!(svg.contains(">2.00 M<") && svg.contains(">500 k<"));
    }
}
