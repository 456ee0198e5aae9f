//! Curves as SVG: no more than a bench's figures need.

use std::fmt::Write;

/// A diagram of curves over a horizontal axis that grows by powers.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) across: &'static str,
    pub(super) up: &'static str,
    /// Of the horizontal axis: first and last power of ten.
    pub(super) powers: (i32, i32),
    /// Of the vertical axis, which begins at zero.
    pub(super) most: f64,
    /// Names, and points from left to right.
    pub(super) curves: Vec<(String, Vec<(f64, f64)>)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const LINES: u32 = 5;

/// Told apart by those who see few colours, too (Okabe and Ito).
const COLOURS: [&str; 7] = ["#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"];

impl Plot {
    /// The picture.
    pub(super) fn svg(&self) -> String {
        let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            right + 160.0,
            bottom + 60.0
        );
        let mut text = |x: f64, y: f64, anchor: &str, words: &str| {
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
        };
        text(LEFT + WIDTH / 2.0, TOP - 15.0, "middle", &self.title);
        text(LEFT + WIDTH / 2.0, bottom + 45.0, "middle", self.across);
        text(LEFT, TOP - 5.0, "end", self.up);
        for (at, (name, _)) in self.curves.iter().enumerate() {
            text(right + 40.0, TOP + 20.0 * at as f64 + 15.0, "start", name);
        }
        let powers: Vec<f64> = (self.powers.0..=self.powers.1).map(|power| 10f64.powi(power)).collect();
        let levels: Vec<f64> =
            (0..=LINES).map(|line| self.most * f64::from(line) / f64::from(LINES)).collect();
        for power in &powers {
            text(self.x(*power), bottom + 20.0, "middle", &power.to_string());
        }
        for level in &levels {
            text(LEFT - 8.0, self.y(*level) + 4.0, "end", &level.to_string());
        }
        let mut line = |points: &[(f64, f64)], colour: &str, width: f64| {
            let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let points = points.join(" ");
            let _ = writeln!(
                svg,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
            );
        };
        for power in &powers {
            line(&[(self.x(*power), TOP), (self.x(*power), bottom)], "#ddd", 1.0);
        }
        for level in &levels {
            line(&[(LEFT, self.y(*level)), (right, self.y(*level))], "#ddd", 1.0);
        }
        for (at, (_, points)) in self.curves.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let points: Vec<_> = points.iter().map(|(x, y)| (self.x(*x), self.y(*y))).collect();
            line(&points, colour, 2.0);
            let y = TOP + 20.0 * at as f64 + 10.0;
            line(&[(right + 10.0, y), (right + 35.0, y)], colour, 2.0);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn x(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.powers.0), f64::from(self.powers.1));
        let part = (value.max(f64::MIN_POSITIVE).log10() - first) / (last - first);
        LEFT + WIDTH * part.clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (1.0 - (value / self.most).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_drawn_within_the_frame() {
        let curves = vec![("low".to_owned(), vec![(0.0, -1.0), (1e9, 2.0)]), ("high".to_owned(), vec![])];
        let plot = Plot { title: "t".to_owned(), across: "a", up: "u", powers: (-1, 2), most: 1.0, curves };
        let svg = plot.svg();
        assert!(svg.contains(">low</text>") && svg.contains(">high</text>"));
        assert!(svg.contains("<polyline points=\"70.0,440.0 710.0,40.0\""), "{svg}");
    }
}
