//! Charts as inline SVG. Their colors are CSS variables, so that a page's theme decides.

use std::borrow::Cow;

/// Width and height of a chart in its own units; a page scales it.
pub(crate) const SIZE: (u32, u32) = (360, 250);

/// Number of colors for series; further ones begin anew, dashed.
pub(crate) const COLORS: usize = 8;

const TEXT: &str = "currentColor";
const GRID: &str = "var(--grid)";
const MARK: &str = "var(--mark)";

/// A chart with what stands around it.
#[derive(Debug, askama::Template)]
#[template(path = "chart.html")]
pub(crate) struct Chart {
    pub(crate) title: Cow<'static, str>,
    /// For those who cannot see it.
    pub(crate) description: String,
    /// The drawing, or the reason why there is none.
    pub(crate) plot: Result<Plot, String>,
}

/// A line of a legend.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) color: String,
    pub(crate) is_dashed: bool,
}

/// A named line through points.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A dashed line across a chart at a value of its abscissa.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) at: f64,
}

/// Names and ranges of the axes; a range that is not given is that of the series.
#[derive(Debug, Default)]
pub(crate) struct Axes {
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) ranges: Option<[(f64, f64); 2]>,
}

impl Axes {
    /// Axes of two shares.
    pub(crate) const fn unit(x: &'static str, y: &'static str) -> Self {
        Self {
            x,
            y,
            ranges: Some([(0.0, 1.0), (0.0, 1.02)]),
        }
    }
}

/// One dimension of a plot.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    is_logarithmic: bool,
}

/// Labels of an axis, at most.
const LABELS: usize = 6;

impl Scale {
    const fn linear((low, high): (f64, f64)) -> Self {
        Self {
            low,
            high,
            is_logarithmic: false,
        }
    }

    /// A logarithmic scale with room for all values, which are over 0.
    fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = span(values.map(f64::log10));
        let room = 0.06 * (high - low);
        Self {
            low: 10_f64.powf(low - room),
            high: 10_f64.powf(high + room),
            is_logarithmic: true,
        }
    }

    /// The share of the scale that lies below a value.
    fn share(self, value: f64) -> f64 {
        // Halves, whose differences are finite.
        let even = |value: f64| {
            if self.is_logarithmic {
                value.log10()
            } else {
                value / 2.0
            }
        };
        (even(value) - even(self.low)) / (even(self.high) - even(self.low))
    }

    /// Round values with their labels, at most so many.
    fn ticks(self, most: usize) -> Vec<(f64, String)> {
        if self.is_logarithmic {
            let ticks = self.logarithmic_ticks(most).into_iter();
            return ticks
                .map(|(value, power)| (value, label(value, power, value)))
                .collect();
        }
        let (low, high) = (self.low, self.high);
        let first = ((high / 2.0 - low / 2.0) / most as f64).log10().floor() as i32;
        let steps = (first..first + 3).flat_map(|power| [1.0, 2.0, 5.0].map(|factor| (factor, power)));
        let multiples = steps.map(|(factor, power)| {
            let step = factor * 10_f64.powi(power);
            (
                (low / step - 1e-6).ceil(),
                (high / step + 1e-6).floor(),
                step,
                power,
            )
        });
        let fits = |(first, last, ..): &(f64, f64, f64, i32)| last - first < most as f64;
        let Some((first, last, step, power)) = multiples.into_iter().find(fits) else {
            return Vec::new();
        };
        let values = (0..=(last - first) as usize).map(|number| (first + number as f64) * step + 0.0);
        let largest = low.abs().max(high.abs());
        values
            .map(|value| (value, label(value, power, largest)))
            .collect()
    }

    /// Powers of ten, with numbers between them if there are not more than `most` then; each with its power.
    fn logarithmic_ticks(self, most: usize) -> Vec<(f64, i32)> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let within = |factors: &[f64], step: usize| {
            let powers = (first..=last).step_by(step);
            let all = powers.flat_map(|power| {
                let factors = factors.iter();
                factors.map(move |factor| (factor * 10_f64.powi(power), power))
            });
            all.filter(|(value, _)| (self.low..=self.high).contains(value))
                .collect::<Vec<_>>()
        };
        [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]]
            .into_iter()
            .map(|factors| within(factors, 1))
            .find(|ticks| ticks.len() <= most)
            .unwrap_or_else(|| within(&[1.0], ((last - first) as usize).div_ceil(most.max(1)).max(1)))
    }
}

/// A multiple of a power of ten in full, or with an exponent where the largest value or the power is far from
/// 1.
fn label(value: f64, power: i32, largest: f64) -> String {
    if largest < 1e6 && power >= -5 {
        let digits = power.min(0).unsigned_abs() as usize;
        return format!("{value:.digits$}");
    }
    if value == 0.0 {
        return "0".into();
    }
    let digits = value.abs().log10().floor() - f64::from(power);
    let digits = digits.clamp(0.0, 15.0) as usize;
    format!("{value:.digits$e}")
}

/// The range of the finite values, never empty.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        return (0.0, 1.0);
    }
    // As wide as numbers of this size can still be told apart.
    let least = low.abs().max(high.abs()) * 1e-9;
    if high - low > least {
        (low, high)
    } else {
        (low - 0.5_f64.max(least), high + 0.5_f64.max(least))
    }
}

/// Axes with what is drawn between them, and the legend.
#[derive(Debug, askama::Template)]
#[template(path = "plot.svg", escape = "html")]
pub(crate) struct Plot {
    size: (u32, u32),
    x: Scale,
    y: Scale,
    /// Left, top, right and bottom of the axes.
    area: [f64; 4],
    paths: Vec<Path>,
    texts: Vec<Text>,
    pub(crate) legend: Vec<Key>,
}

#[derive(Debug)]
struct Path {
    d: String,
    style: String,
}

#[derive(Debug)]
struct Text {
    place: String,
    style: String,
    words: String,
}

/// Units beside a plot for the labels of its axis, on the other side, and over it.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 8.0;
/// Units below a plot for the labels of its axis.
const BELOW: f64 = 44.0;

impl Plot {
    /// Axes, grid and labels; an axis without a name has none of them but its line. `below` units are left
    /// under it.
    fn new(size: (u32, u32), below: f64, axes: &Axes, x: Scale, y: Scale) -> Self {
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let area = [LEFT, TOP, width - RIGHT, height - below];
        let mut plot = Self {
            size,
            x,
            y,
            area,
            paths: Vec::new(),
            texts: Vec::new(),
            legend: Vec::new(),
        };
        let [left, top, right, bottom] = area;
        let (mut grid, mut frame) = (String::new(), format!("M{left} {top}V{bottom}H{right}"));
        for (value, label) in y.ticks(LABELS) {
            let (_, y) = plot.at((0.0, value));
            grid += &format!("M{left} {y:.1}H{right}");
            frame += &format!("M{left} {y:.1}h-5");
            plot.write((left - 9.0, y + 4.5), "end", TEXT, label);
        }
        let named = if axes.x.is_empty() {
            Vec::new()
        } else {
            x.ticks(LABELS)
        };
        for (value, label) in named {
            let (x, _) = plot.at((value, 0.0));
            grid += &format!("M{x:.1} {top}V{bottom}");
            frame += &format!("M{x:.1} {bottom}v5");
            plot.write((x, bottom + 18.0), "middle", TEXT, label);
        }
        plot.draw(grid, GRID, 1, "");
        plot.draw(frame, TEXT, 1, "");
        plot.write(((left + right) / 2.0, height - 5.0), "middle", TEXT, axes.x);
        plot.write((14.0, (top + bottom) / 2.0), "middle", TEXT, axes.y);
        if let Some(name) = plot.texts.last_mut() {
            name.place += " rotate(-90)";
        }
        plot
    }

    /// Where a value lies, in units.
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [left, top, right, bottom] = self.area;
        (
            left + self.x.share(x) * (right - left),
            bottom - self.y.share(y) * (bottom - top),
        )
    }

    fn draw(&mut self, d: String, color: &str, width: u32, more: &str) {
        let style = format!("stroke:{color};stroke-width:{width};{more}");
        self.paths.push(Path { d, style });
    }

    fn write(&mut self, (x, y): (f64, f64), anchor: &str, color: &str, words: impl Into<String>) {
        self.texts.push(Text {
            place: format!("translate({x:.1} {y:.1})"),
            style: format!("text-anchor:{anchor};fill:{color}"),
            words: words.into(),
        });
    }

    /// The line of a series; one that shares its color with an earlier one is dashed.
    fn draw_line(&mut self, number: usize, points: &[(f64, f64)]) {
        let points = points.iter().map(|point| self.at(*point));
        let points = points.filter(|(x, y)| x.is_finite() && y.is_finite());
        let d = points.zip(std::iter::once('M').chain(std::iter::repeat('L')));
        let d = d
            .map(|((x, y), command)| format!("{command}{x:.1} {y:.1}"))
            .collect();
        let dashes = if number < COLORS {
            ""
        } else {
            "stroke-dasharray:6 4"
        };
        self.draw(d, &series_color(number), 2, dashes);
    }

    /// A dot at each of some points, all of which are finite.
    fn draw_dots(&mut self, number: usize, points: &[(f64, f64)]) {
        let dots = points.iter().map(|point| self.at(*point));
        let d = dots.map(|(x, y)| format!("M{x:.1} {y:.1}h0")).collect();
        self.draw(d, &series_color(number), 8, "stroke-linecap:round");
    }

    fn draw_mark(&mut self, mark: Option<&Mark>) {
        let Some(mark) = mark else { return };
        self.legend.push(Key {
            name: mark.name.clone(),
            color: MARK.into(),
            is_dashed: true,
        });
        if !(self.x.low..=self.x.high).contains(&mark.at) {
            return;
        }
        let [left, top, right, bottom] = self.area;
        let (x, _) = self.at((mark.at, 0.0));
        self.draw(format!("M{x:.1} {bottom}V{top}"), MARK, 2, "stroke-dasharray:5 4");
        // On the side that has more room, below the middle, where curves of shares seldom are.
        let (anchor, shift) = match x > (left + right) / 2.0 {
            true => ("end", -6.0),
            false => ("start", 6.0),
        };
        let height = bottom - 0.4 * (bottom - top);
        self.write((x + shift, height), anchor, MARK, mark.name.as_str());
    }

    fn name_series<'n>(&mut self, names: impl Iterator<Item = &'n String>) {
        let keys = names.enumerate().map(|(number, name)| Key {
            name: name.clone(),
            color: series_color(number),
            is_dashed: number >= COLORS,
        });
        self.legend.extend(keys);
    }
}

fn series_color(number: usize) -> String {
    format!("var(--series-{})", number % COLORS)
}

/// Lines through points.
pub(crate) fn lines(axes: &Axes, series: &[Series], mark: Option<&Mark>) -> Plot {
    let points = || series.iter().flat_map(|series| &series.points);
    let [x, y] = axes.ranges.unwrap_or_else(|| {
        let (low, high) = span(points().map(|point| point.1));
        [span(points().map(|point| point.0)), (low.min(0.0), high * 1.05)]
    });
    let mut plot = Plot::new(SIZE, BELOW, axes, Scale::linear(x), Scale::linear(y));
    for (number, series) in series.iter().enumerate() {
        plot.draw_line(number, &series.points);
    }
    plot.name_series(series.iter().map(|series| &series.name));
    plot.draw_mark(mark);
    plot
}

/// Measured points and lines between them, both axes logarithmic: what is not over 0 is left out.
pub(crate) fn log_log(axes: &Axes, series: &[Series]) -> Plot {
    let is_shown = |(x, y): &(f64, f64)| [x, y].iter().all(|value| value.is_finite() && **value > 0.0);
    let points = || {
        series
            .iter()
            .flat_map(|series| &series.points)
            .filter(|point| is_shown(point))
    };
    let x = Scale::logarithmic(points().map(|point| point.0));
    let y = Scale::logarithmic(points().map(|point| point.1));
    let mut plot = Plot::new(SIZE, BELOW, axes, x, y);
    for (number, series) in series.iter().enumerate() {
        let points: Vec<_> = series.points.iter().copied().filter(is_shown).collect();
        plot.draw_line(number, &points);
        plot.draw_dots(number, &points);
    }
    plot.name_series(series.iter().map(|series| &series.name));
    plot
}

/// Counts of values in bins over their common range.
pub(crate) fn histogram(axes: &Axes, groups: &[(&str, Vec<f64>)], mark: Option<&Mark>) -> Plot {
    const BINS: usize = 32;
    let values = groups.iter().flat_map(|(_, values)| values).copied();
    let (low, high) = span(values.chain(mark.map(|mark| mark.at)));
    let width = (high - low) / BINS as f64;
    let counts: Vec<[usize; BINS]> = groups
        .iter()
        .map(|(_, values)| {
            let mut counts = [0; BINS];
            for value in values.iter().filter(|value| value.is_finite()) {
                counts[(((value - low) / width) as usize).min(BINS - 1)] += 1;
            }
            counts
        })
        .collect();
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let y = Scale::linear((0.0, most as f64 * 1.05));
    let mut plot = Plot::new(SIZE, BELOW, axes, Scale::linear((low, high)), y);
    let bottom = plot.area[3];
    for (number, counts) in counts.iter().enumerate() {
        let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let bars = bars.map(|(bin, count)| {
            let left = low + width * bin as f64;
            let (right, _) = plot.at((left + width, 0.0));
            let (left, top) = plot.at((left, *count as f64));
            format!("M{left:.1} {bottom}V{top:.1}H{right:.1}V{bottom}z")
        });
        let (bars, color) = (bars.collect(), series_color(number));
        plot.draw(bars, &color, 1, &format!("fill:{color};fill-opacity:0.4"));
    }
    let keys = groups.iter().enumerate().map(|(number, (name, values))| Key {
        name: format!("{name} ({})", values.len()),
        color: series_color(number),
        is_dashed: false,
    });
    plot.legend.extend(keys);
    plot.draw_mark(mark);
    plot
}

/// Width and height of a profile, whose places have names.
const PROFILE: (u32, u32) = (480, 290);
/// Units under a profile for those names, and of a line of them.
const NAMES: f64 = 66.0;
const NAME_LINE: f64 = 16.0;

/// One for each place: the value and how far it spreads, where it is known.
pub(crate) type Points = Vec<Option<(f64, f64)>>;

/// Values at named places with how far they spread; a line is broken where a value is missing.
pub(crate) fn profile(y_name: &'static str, places: &[String], series: &[(String, Points)]) -> Plot {
    let ends = series.iter().flat_map(|(_, points)| points).flatten();
    let (low, high) = span(ends.flat_map(|(mean, spread)| [mean - spread, mean + spread]));
    let room = 0.06 * (high - low);
    let x = Scale::linear((-0.5, places.len() as f64 - 0.5));
    let y = Scale::linear((low - room, high + room));
    let axes = Axes {
        y: y_name,
        ..Axes::default()
    };
    let mut plot = Plot::new(PROFILE, NAMES, &axes, x, y);
    let [left, _, right, bottom] = plot.area;
    // A letter is about seven units wide.
    let letters = (right - left) as usize / places.len().max(1) / 7;
    for (place, name) in places.iter().enumerate() {
        let (middle, _) = plot.at((place as f64, 0.0));
        for (number, line) in (1..).zip(broken(name, letters)) {
            plot.write(
                (middle, bottom + NAME_LINE * f64::from(number)),
                "middle",
                TEXT,
                line,
            );
        }
    }
    // Beside each other, so that the spreads can be told apart.
    let step = 0.5 / series.len().max(1) as f64;
    for (number, (_, points)) in series.iter().enumerate() {
        let shift = step * (number as f64 - (series.len() as f64 - 1.0) / 2.0);
        let known = points.iter().enumerate().filter_map(|(place, point)| {
            let point = point.filter(|(mean, spread)| mean.is_finite() && spread.is_finite())?;
            Some((place, point))
        });
        let known: Vec<(usize, (f64, f64))> = known.collect();
        let mut whiskers = String::new();
        for run in known.chunk_by(|a, b| a.0 + 1 == b.0) {
            let mut line = Vec::new();
            for (place, (mean, spread)) in run {
                let x = *place as f64 + shift;
                line.push((x, *mean));
                let ((x, low), (_, high)) = (plot.at((x, mean - spread)), plot.at((x, mean + spread)));
                whiskers += &format!("M{x:.1} {low:.1}V{high:.1}");
            }
            plot.draw_line(number, &line);
            plot.draw_dots(number, &line);
        }
        plot.draw(whiskers, &series_color(number), 1, "");
    }
    plot.name_series(series.iter().map(|(name, _)| name));
    plot
}

/// A name in lines of about so many letters, broken between its words; what does not fit in three lines is
/// cut off.
fn broken(name: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in name.split_inclusive([' ', '-', '_', '/']) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.trim_end().chars().count() <= letters => {
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.truncate(3);
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::*;

    fn series(points: &[(f64, f64)]) -> Vec<Series> {
        vec![Series {
            name: "a".into(),
            points: points.to_vec(),
        }]
    }

    /// The SVG, none of whose numbers is missing.
    fn svg(plot: &Plot) -> String {
        let svg = plot.render().unwrap();
        assert!(
            svg.contains("<svg") && !svg.contains("NaN") && !svg.contains("inf"),
            "{svg}"
        );
        svg
    }

    #[test]
    fn charts_have_the_colors_of_the_theme_only() {
        let mark = Mark {
            name: "limit".into(),
            at: 0.3,
        };
        let plot = lines(
            &Axes::unit("x", "y"),
            &series(&[(0.0, 0.0), (1.0, 1.0)]),
            Some(&mark),
        );
        let svg = svg(&plot);
        assert!(
            svg.contains("var(--series-0)") && svg.contains("currentColor") && svg.contains("var(--mark)")
        );
        assert!(!svg.contains('#') && !svg.contains("rgb("), "{svg}");
        assert_eq!(plot.legend.len(), 2);
    }

    #[test]
    fn a_line_goes_from_corner_to_corner_of_its_axes() {
        let axes = Axes {
            ranges: Some([(0.0, 1.0), (0.0, 1.0)]),
            ..Axes::unit("x", "y")
        };
        let plot = lines(&axes, &series(&[(0.0, 0.0), (1.0, 1.0)]), None);
        assert!(svg(&plot).contains("d=\"M76.0 206.0L344.0 8.0\""), "{plot:?}");
    }

    #[test]
    fn ranges_that_no_axis_can_have_are_widened() {
        let odd = [
            vec![],
            vec![(0.0, 0.0)],
            vec![(0.0, f64::NAN), (f64::INFINITY, 1.0)],
            vec![(1e300, 1e300), (-1e300, -1e300)],
            vec![(5.0, 1e-300), (5.0, 2e-300)],
            vec![(1e17, 3.0), (1e17 + 64.0, 3.0)],
            vec![(f64::MIN_POSITIVE / 4.0, 1e300), (0.0, f64::MIN_POSITIVE)],
        ];
        for points in odd {
            let axes = Axes::unit("x", "y");
            let of_points = Axes {
                ranges: None,
                ..Axes::unit("x", "y")
            };
            svg(&lines(&axes, &series(&points), None));
            svg(&lines(&of_points, &series(&points), None));
            let values = points.iter().map(|point| point.1).collect();
            svg(&histogram(&axes, &[("a", values)], None));
            let spread = points.into_iter().map(Some).collect();
            svg(&profile("y", &["a b".into()], &[("a".into(), spread)]));
        }
    }

    fn labels(scale: Scale, most: usize) -> Vec<String> {
        let ticks = scale.ticks(most).into_iter();
        ticks.map(|(_, label)| label).collect()
    }

    #[test]
    fn logarithmic_axes_have_round_labels_whatever_their_range() {
        let labels = |values: [f64; 2], most| labels(Scale::logarithmic(values.into_iter()), most);
        assert_eq!(
            labels([0.016, 1.05], 6),
            ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]
        );
        assert_eq!(labels([0.016, 1.05], 4), ["0.03", "0.1", "0.3", "1"]);
        // There is a little room at both ends.
        assert_eq!(labels([4.0, 9000.0], 6), ["10", "100", "1000", "10000"]);
        assert!((3..=6).contains(&labels([1e-8, 1e8], 6).len()));
        let odd = [
            vec![],
            vec![(1.0, 2.0)],
            vec![(0.0, -1.0), (f64::NAN, 1.0), (1e-300, 1e300)],
            vec![(f64::INFINITY, 1.0), (2.0, f64::INFINITY)],
        ];
        for points in odd {
            svg(&log_log(&Axes::default(), &series(&points)));
        }
    }

    #[test]
    fn labels_have_the_digits_that_tell_them_apart() {
        let labels = |range| labels(Scale::linear(range), LABELS);
        assert_eq!(labels((0.0, 5.25)), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(labels((0.0, 1.02)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels((-0.3, 0.2)), ["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2"]);
        assert_eq!(
            labels((1.0e7, 1.2e7)),
            ["1.00e7", "1.05e7", "1.10e7", "1.15e7", "1.20e7"]
        );
        assert_eq!(labels((0.0, 3e-7)), ["0", "1e-7", "2e-7", "3e-7"]);
        let narrow = labels((0.501, 0.503));
        assert!(
            narrow.len() > 2 && narrow.windows(2).all(|pair| pair[0] != pair[1]),
            "{narrow:?}"
        );
    }
}
