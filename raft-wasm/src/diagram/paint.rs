//! The diagram on a canvas.

use raft_sim::Flight;
use web_sys::CanvasRenderingContext2d;

use crate::diagram::data::{Diagram, MarkKind, Stretch, is_heartbeat};
use crate::diagram::view::View;

/// The colours of the page, by its tokens.
#[derive(Clone, Debug)]
pub(crate) struct Colors {
    ink: String,
    faint: String,
    line: String,
    sunken: String,
    surface: String,
    fault: String,
    /// Of term 0 and of the six terms of the cycle.
    terms: Vec<String>,
    font: String,
}

/// Beyond this number of messages, heartbeats are left out.
const HEARTBEATS_MAX: usize = 1_500;
/// Beyond this number of other messages, only lost ones are drawn.
const MESSAGES_MAX: usize = 3_000;

impl Colors {
    /// The colours `ink`, `faint`, `line`, `sunken`, `surface` and `fault`, those of the terms 0 to
    /// 6, and a font. None if there are too few.
    pub(crate) fn new(tokens: Vec<String>) -> Option<Self> {
        let mut tokens = tokens.into_iter();
        let mut next = || tokens.next();
        let [ink, faint, line] = [next()?, next()?, next()?];
        let [sunken, surface, fault] = [next()?, next()?, next()?];
        let terms = (0..7).map(|_| next()).collect::<Option<Vec<_>>>()?;
        Some(Self { ink, faint, line, sunken, surface, fault, terms, font: next()? })
    }

    fn term(&self, term: u64) -> &str {
        let slot = if term == 0 { 0 } else { (term - 1) % 6 + 1 };
        &self.terms[slot as usize]
    }
}

/// Draws a diagram as it is at a moment. `selected` are messages that stand out.
pub(crate) fn paint(
    canvas: &CanvasRenderingContext2d,
    colors: &Colors,
    diagram: &Diagram,
    view: &View,
    now: u64,
    selected: &[f64],
) {
    canvas.clear_rect(0.0, 0.0, view.width, view.height);
    let painter = Painter { canvas, colors, view, now };
    painter.future();
    painter.grid();
    painter.messages(&diagram.flights);
    for stretch in &diagram.lanes {
        painter.stretch(stretch);
    }
    painter.marks(diagram);
    painter.selected(&diagram.flights, selected);
    painter.present();
}

struct Painter<'a> {
    canvas: &'a CanvasRenderingContext2d,
    colors: &'a Colors,
    view: &'a View,
    now: u64,
}

impl Painter<'_> {
    fn line(&self, [x1, y1, x2, y2]: [f64; 4]) {
        self.canvas.move_to(x1, y1);
        self.canvas.line_to(x2, y2);
    }

    fn dashes(&self, lengths: &[f64]) {
        let lengths: js_sys::Array =
            lengths.iter().map(|it| wasm_bindgen::JsValue::from(*it)).collect();
        // It fails for negative lengths only.
        let _ = self.canvas.set_line_dash(&lengths);
    }

    /// The part after the present moment.
    fn future(&self) {
        let x = self.view.x(self.now as f64).max(0.0);
        if x < self.view.width {
            self.canvas.set_fill_style_str(&self.colors.sunken);
            self.canvas.fill_rect(x, self.view.top, self.view.width - x, self.view.height);
        }
    }

    fn grid(&self) {
        let spacing = tick_spacing(self.view.to - self.view.from, self.view.width);
        self.canvas.begin_path();
        self.canvas.set_stroke_style_str(&self.colors.line);
        self.canvas.set_line_width(1.0);
        for at in ticks(self.view, spacing) {
            let x = self.view.x(at as f64).round() + 0.5;
            self.line([x, self.view.top, x, self.view.height]);
        }
        self.canvas.stroke();
    }

    fn messages(&self, flights: &[Flight]) {
        let calm = flights.len() > HEARTBEATS_MAX;
        let others = flights.iter().filter(|it| !is_heartbeat(it.kind)).count();
        let is_drawn = |it: &&Flight| {
            it.lost_at.is_some() || !calm || (!is_heartbeat(it.kind) && others <= MESSAGES_MAX)
        };
        self.canvas.set_line_width(1.0);
        // One path for each colour and kind of line: paths are what takes time.
        for slot in 0..=6_u64 {
            for is_response in [false, true] {
                let of_kind = |it: &&Flight| {
                    let own = if it.term == 0 { 0 } else { (it.term - 1) % 6 + 1 };
                    own == slot && it.kind.is_response() == is_response && it.lost_at.is_none()
                };
                let mut drawn = flights.iter().filter(is_drawn).filter(of_kind).peekable();
                if drawn.peek().is_none() {
                    continue;
                }
                self.canvas.set_global_alpha(if is_response { 0.45 } else { 0.85 });
                self.canvas.set_stroke_style_str(self.colors.term(slot));
                self.canvas.begin_path();
                drawn.for_each(|flight| self.line(self.view.line(flight, self.now).0));
                self.canvas.stroke();
            }
        }
        self.canvas.set_global_alpha(1.0);
        self.lost(flights);
    }

    fn lost(&self, flights: &[Flight]) {
        self.canvas.set_stroke_style_str(&self.colors.fault);
        self.dashes(&[3.0, 3.0]);
        self.canvas.begin_path();
        let lost = || flights.iter().filter(|flight| flight.lost_at.is_some());
        lost().for_each(|flight| self.line(self.view.line(flight, self.now).0));
        self.canvas.stroke();
        self.dashes(&[]);
        self.canvas.begin_path();
        for flight in lost() {
            let ([_, _, x, y], ended) = self.view.line(flight, self.now);
            if ended {
                self.line([x - 2.5, y - 2.5, x + 2.5, y + 2.5]);
            }
        }
        self.canvas.stroke();
    }

    fn stretch(&self, stretch: &Stretch) {
        let Stretch { node, from, to, state } = *stretch;
        let y = self.view.y(node);
        let (x1, x2) = (self.view.x(from as f64), self.view.x(to as f64));
        let thick = (self.view.lane * 0.44).clamp(2.0, 9.0);
        let (color, width, dashes): (_, _, &[f64]) = match (state.process, state.role) {
            (2, _) => (self.colors.faint.as_str(), 1.0, &[1.0, 4.0]),
            (1, _) => (self.colors.faint.as_str(), thick, &[2.0, 2.0]),
            (_, 3) => (self.colors.term(state.term), thick, &[]),
            (_, 2) => (self.colors.term(state.term), thick * 0.6, &[6.0, 3.0]),
            (_, 1) => (self.colors.term(state.term), thick * 0.6, &[2.0, 2.0]),
            _ => (self.colors.term(state.term), 1.75, &[]),
        };
        self.canvas.set_stroke_style_str(color);
        self.canvas.set_line_width(width);
        self.dashes(dashes);
        self.canvas.begin_path();
        self.line([x1, y, x2, y]);
        self.canvas.stroke();
        self.dashes(&[]);
        if state.process == 2 && stretch.from > self.view.from as u64 {
            self.cross(x1, y, thick * 0.7);
        }
    }

    fn cross(&self, x: f64, y: f64, arm: f64) {
        self.canvas.set_stroke_style_str(&self.colors.fault);
        self.canvas.set_line_width(2.0);
        self.canvas.begin_path();
        self.line([x - arm, y - arm, x + arm, y + arm]);
        self.line([x - arm, y + arm, x + arm, y - arm]);
        self.canvas.stroke();
    }

    fn marks(&self, diagram: &Diagram) {
        // The term that leads in a lane gives a commit its colour.
        let term_at = |node: u64, at: u64| {
            let lane = diagram.lanes.iter().find(|it| it.node == node && it.to >= at);
            lane.map_or(0, |it| it.state.term)
        };
        let mut labels = Labels { taken: Vec::new() };
        let mut last_commit = f64::MIN;
        for mark in diagram.marks.iter().rev() {
            let (x, y) = self.view.place(mark);
            match mark.kind {
                MarkKind::Commit if (x - last_commit).abs() > 6.0 => {
                    last_commit = x;
                    self.dot(x, y, self.colors.term(term_at(mark.node, mark.at)));
                }
                MarkKind::Violation => {
                    self.canvas.set_fill_style_str(&self.colors.fault);
                    self.canvas.fill_rect(x - 1.5, 0.0, 3.0, self.view.height);
                }
                MarkKind::Fault => {
                    self.canvas.set_fill_style_str(&self.colors.ink);
                    self.canvas.fill_rect(x - 1.0, self.view.top - 5.0, 2.0, 5.0);
                }
                MarkKind::Leader => {
                    let text = format!("n{} leads term {}", mark.node, mark.number);
                    self.canvas.set_fill_style_str(self.colors.term(mark.number));
                    self.canvas.fill_rect(x - 1.0, self.view.top - 5.0, 2.0, 5.0);
                    self.label(&mut labels, &text, x, self.colors.ink.as_str());
                }
                _ => {}
            }
        }
        let spacing = tick_spacing(self.view.to - self.view.from, self.view.width);
        for at in ticks(self.view, spacing) {
            let x = self.view.x(at as f64);
            self.label(&mut labels, &seconds(at, spacing), x, &self.colors.faint);
        }
    }

    /// A text above the lanes, if there is room for it.
    fn label(&self, labels: &mut Labels, text: &str, x: f64, color: &str) {
        self.canvas.set_font(&self.colors.font);
        let width = self.canvas.measure_text(text).map_or(0.0, |it| it.width());
        let x = x.clamp(0.0, (self.view.width - width).max(0.0));
        if labels.take(x, x + width) {
            self.canvas.set_fill_style_str(color);
            // It fails for no text.
            let _ = self.canvas.fill_text(text, x, self.view.top - 8.0);
        }
    }

    fn dot(&self, x: f64, y: f64, color: &str) {
        let radius = (self.view.lane * 0.28).clamp(2.0, 5.0);
        self.canvas.begin_path();
        // It fails for a negative radius only.
        let _ = self.canvas.arc(x, y, radius, 0.0, std::f64::consts::TAU);
        self.canvas.set_fill_style_str(&self.colors.surface);
        self.canvas.fill();
        self.canvas.set_stroke_style_str(color);
        self.canvas.set_line_width(2.0);
        self.canvas.stroke();
    }

    fn selected(&self, flights: &[Flight], selected: &[f64]) {
        self.canvas.set_stroke_style_str(&self.colors.ink);
        self.canvas.set_line_width(2.5);
        self.canvas.begin_path();
        let is_selected = |it: &&Flight| selected.contains(&(it.id as f64));
        for flight in flights.iter().filter(is_selected) {
            self.line(self.view.line(flight, self.now).0);
        }
        self.canvas.stroke();
    }

    fn present(&self) {
        let x = self.view.x(self.now as f64);
        if (0.0..=self.view.width).contains(&x) {
            self.canvas.set_fill_style_str(&self.colors.ink);
            self.canvas.fill_rect(x - 1.0, 0.0, 2.0, self.view.height);
        }
    }
}

/// The places of texts in a row.
struct Labels {
    taken: Vec<(f64, f64)>,
}

impl Labels {
    /// Takes a place if it is free.
    fn take(&mut self, from: f64, to: f64) -> bool {
        const GAP: f64 = 12.0;
        let is_free = self.taken.iter().all(|(start, end)| to + GAP < *start || from > *end + GAP);
        if is_free {
            self.taken.push((from, to));
        }
        is_free
    }
}

/// The distance of two ticks in microseconds: one, two or five of a power of ten.
fn tick_spacing(window: f64, width: f64) -> u64 {
    let least = (window / width.max(1.0) * 120.0).max(1.0) as u64;
    let mut power = 1_u64;
    while power.saturating_mul(10) <= least {
        power = power.saturating_mul(10);
    }
    let factor = [1, 2, 5].into_iter().find(|factor| factor * power >= least);
    factor.unwrap_or(10) * power
}

/// The moments of the ticks in a view.
fn ticks(view: &View, spacing: u64) -> impl Iterator<Item = u64> + use<> {
    let first = (view.from.max(0.0) as u64).div_ceil(spacing);
    (first..=view.to as u64 / spacing).map(move |tick| tick * spacing)
}

/// A moment in seconds, with as many digits as the distance of two ticks needs.
fn seconds(at: u64, spacing: u64) -> String {
    let digits = 6_usize.saturating_sub(spacing.max(1).ilog10() as usize);
    let (whole, rest) = (at / 1_000_000, format!("{:06}", at % 1_000_000));
    match &rest[..digits] {
        "" => format!("{whole} s"),
        part => format!("{whole}.{part} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_far_enough_apart_and_readable() {
        let spacing = tick_spacing(2_400_000.0, 1_200.0);
        assert_eq!(spacing, 500_000);
        assert_eq!(seconds(1_500_000, spacing), "1.5 s");
        assert_eq!(seconds(0, tick_spacing(3_600e6, 1_000.0)), "0 s");
        assert_eq!(seconds(100, 50), "0.00010 s");
    }

    #[test]
    fn labels_do_not_overlap() {
        let mut labels = Labels { taken: Vec::new() };
        assert!(labels.take(0.0, 50.0));
        assert!(!labels.take(55.0, 80.0));
        assert!(labels.take(70.0, 80.0));
    }
}
