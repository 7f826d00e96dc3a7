//! Latency and throughput over time, as an SVG file, with the moments of faults marked.

use std::fmt::Write as _;

use crate::drive::SecondSample;
use crate::fault::Mark;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const LATENCY: Panel = Panel { top: 60.0, height: 260.0 };
const THROUGHPUT: Panel = Panel { top: 360.0, height: 110.0 };
const HEIGHT: f64 = 520.0;
/// The lines of the latency panel: name and colour.
const LINES: [(&str, &str); 3] = [("max", "#c0392b"), ("p99", "#e67e22"), ("p50", "#2471a3")];
const THROUGHPUT_COLOUR: &str = "#1e8449";
const MARK_COLOUR: &str = "#7d3c98";

/// A part of the picture that has a scale of its own.
struct Panel {
    top: f64,
    height: f64,
}

impl Panel {
    /// Where a value between 0 (bottom) and 1 (top) is drawn.
    fn y(&self, share: f64) -> f64 {
        self.top + self.height * (1.0 - share.clamp(0.0, 1.0))
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// Draws the picture.
#[must_use]
pub fn svg(title: &str, samples: &[SecondSample], marks: &[Mark]) -> String {
    let lasted = samples.last().map_or(1.0, |sample| sample.at_s).max(1.0);
    let x = |at_s: f64| LEFT + (WIDTH - LEFT - RIGHT) * (at_s / lasted).clamp(0.0, 1.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{}</text>\n",
        escape(title)
    );
    latency_panel(&mut out, samples, &x);
    throughput_panel(&mut out, samples, &x);
    seconds(&mut out, lasted, &x);
    for mark in marks {
        let x = x(mark.at_s);
        line(
            &mut out,
            (x, LATENCY.top),
            (x, THROUGHPUT.bottom()),
            MARK_COLOUR,
            "stroke-dasharray=\"5 4\" class=\"fault\"",
        );
        let label = format!("{} at {:.1} s", escape(&mark.what), mark.at_s);
        // Near the right edge the text stands before the line.
        let (shift, anchor) = if x > WIDTH * 0.8 { (-4.0, "end") } else { (4.0, "start") };
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{MARK_COLOUR}\" text-anchor=\"{anchor}\">{label}</text>",
            x + shift,
            LATENCY.top + 12.0
        );
    }
    out.push_str("</svg>\n");
    out
}

fn latency_panel(out: &mut String, samples: &[SecondSample], x: &dyn Fn(f64) -> f64) {
    let seen = || samples.iter().filter(|sample| sample.max_ms > 0.0);
    let least = seen().map(|sample| sample.p50_ms).fold(f64::INFINITY, f64::min);
    let most = seen().map(|sample| sample.max_ms).fold(1.0, f64::max);
    // Whole powers of ten.
    let low = if least.is_finite() { least.max(0.001).log10().floor() } else { -1.0 };
    let high = most.log10().ceil().max(low + 1.0);
    let share = |ms: f64| (ms.max(0.001).log10() - low) / (high - low);
    let mut power = low;
    while power <= high {
        let y = LATENCY.y((power - low) / (high - low));
        line(out, (LEFT, y), (WIDTH - RIGHT, y), "#dddddd", "");
        label(out, LEFT - 8.0, y + 4.0, &format!("{} ms", 10f64.powf(power)));
        power += 1.0;
    }
    let values: [fn(&SecondSample) -> f64; 3] = [|s| s.max_ms, |s| s.p99_ms, |s| s.p50_ms];
    for (at, ((name, colour), value)) in LINES.iter().zip(values).enumerate() {
        // In a second in which nothing ended there is no latency: the line has a gap.
        for piece in steps(samples).split(|step| step.sample.max_ms <= 0.0).filter(|piece| !piece.is_empty()) {
            polyline(out, piece, x, |sample| LATENCY.y(share(value(sample))), colour);
        }
        let legend_x = LEFT + 60.0 * f64::from(u8::try_from(at).unwrap_or(0));
        let _ = writeln!(out, "<text x=\"{legend_x}\" y=\"46\" fill=\"{colour}\">{name}</text>");
    }
}

fn throughput_panel(out: &mut String, samples: &[SecondSample], x: &dyn Fn(f64) -> f64) {
    let most = samples.iter().map(|sample| sample.per_second).fold(1.0, f64::max);
    for (share, value) in [(0.0, 0.0), (1.0, most)] {
        let y = THROUGHPUT.y(share);
        line(out, (LEFT, y), (WIDTH - RIGHT, y), "#dddddd", "");
        label(out, LEFT - 8.0, y + 4.0, &format!("{value:.0}/s"));
    }
    polyline(out, &steps(samples), x, |sample| THROUGHPUT.y(sample.per_second / most), THROUGHPUT_COLOUR);
    let y = THROUGHPUT.top - 8.0;
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{y}\" fill=\"{THROUGHPUT_COLOUR}\">operations a second</text>");
}

/// About ten labels below both panels.
fn seconds(out: &mut String, lasted: f64, x: &dyn Fn(f64) -> f64) {
    let step = (lasted / 10.0).ceil().max(1.0);
    let mut at = 0.0;
    while at <= lasted {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{at:.0} s</text>",
            x(at),
            THROUGHPUT.bottom() + 22.0
        );
        at += step;
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, more: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" {more}/>",
        from.0, from.1, to.0, to.1
    );
}

/// A sample and the time that it is about.
struct Step<'a> {
    from_s: f64,
    sample: &'a SecondSample,
}

fn steps(samples: &[SecondSample]) -> Vec<Step<'_>> {
    let starts = std::iter::once(0.0).chain(samples.iter().map(|sample| sample.at_s));
    starts.zip(samples).map(|(from_s, sample)| Step { from_s, sample }).collect()
}

/// A line of steps: each sample is true for its whole second.
fn polyline(
    out: &mut String,
    steps: &[Step<'_>],
    x: &dyn Fn(f64) -> f64,
    y: impl Fn(&SecondSample) -> f64,
    colour: &str,
) {
    let ends = |step: &Step<'_>| [step.from_s, step.sample.at_s].map(|at_s| (x(at_s), y(step.sample)));
    let points: Vec<_> = steps.iter().flat_map(ends).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
        points.join(" ")
    );
}

fn label(out: &mut String, x: f64, y: f64, text: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<SecondSample> {
        let sample = |second: u8| SecondSample {
            at_s: f64::from(second),
            per_second: if second == 4 { 0.0 } else { 1_000.0 },
            errors: 0,
            p50_ms: if second == 4 { 0.0 } else { 1.0 },
            p99_ms: if second == 4 { 0.0 } else { 5.0 },
            max_ms: if second == 4 { 0.0 } else { 900.0 },
        };
        (1..=10).map(sample).collect()
    }

    #[test]
    fn the_moment_of_a_fault_is_marked_where_it_belongs() {
        let marks = [Mark { at_s: 5.0, what: "site-c killed".to_owned() }];
        let picture = svg("mixed", &samples(), &marks);
        let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
        let mark = picture.lines().find(|line| line.contains("class=\"fault\"")).expect("there is a mark");
        assert!(mark.contains(&format!("x1=\"{middle:.1}\"")), "{mark}");
        assert!(picture.contains("site-c killed at 5.0 s"));
        assert!(!svg("mixed", &samples(), &[]).contains("class=\"fault\""));
    }

    #[test]
    fn a_second_without_answers_is_a_gap_and_not_a_fast_second() {
        let picture = svg("a <b>", &samples(), &[]);
        // Three lines of latency in two pieces each, and the throughput.
        assert_eq!(picture.matches("<polyline").count(), 7);
        assert!(picture.contains("a &lt;b&gt;"));
    }

    #[test]
    fn nothing_measured_is_drawn_without_numbers_that_are_none() {
        let picture = svg("empty", &[], &[]);
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
}
