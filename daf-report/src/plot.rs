//! Charts as inline SVG. Their colours are CSS variables, so that a page's theme decides.

use std::borrow::Cow;
use std::ops::Range;

use daf_core::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plane<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// Width and height of a chart in its own units; a page scales it.
pub(crate) const SIZE: (u32, u32) = (360, 250);

/// Number of colours for series; further ones begin anew, dashed.
pub(crate) const COLOURS: usize = 8;

/// What is drawn with a colour of the page's theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Text,
    Grid,
    Mark,
    Series(usize),
}

impl Ink {
    const ALL: [Self; 3 + COLOURS] = {
        let mut all = [Self::Text; 3 + COLOURS];
        all[1] = Self::Grid;
        all[2] = Self::Mark;
        let mut i = 0;
        while i < COLOURS {
            all[3 + i] = Self::Series(i);
            i += 1;
        }
        all
    };

    /// The colour it has while plotters draws. plotters knows no CSS, so [`themed`] exchanges these afterwards.
    const fn stand_in(self) -> RGBColor {
        match self {
            Self::Text => RGBColor(1, 2, 0),
            Self::Grid => RGBColor(1, 2, 1),
            Self::Mark => RGBColor(1, 2, 2),
            Self::Series(number) => RGBColor(1, 2, 16 + (number % COLOURS) as u8),
        }
    }

    /// The colour as CSS has it.
    pub(crate) fn css(self) -> String {
        match self {
            Self::Text => "currentColor".into(),
            Self::Grid => "var(--grid)".into(),
            Self::Mark => "var(--mark)".into(),
            Self::Series(number) => format!("var(--series-{})", number % COLOURS),
        }
    }
}

/// A chart with what stands around it.
#[derive(Debug, askama::Template)]
#[template(path = "chart.html")]
pub(crate) struct Chart {
    pub(crate) title: Cow<'static, str>,
    /// For those who cannot see it.
    pub(crate) description: String,
    /// The SVG element, or why there is none.
    pub(crate) svg: std::result::Result<String, String>,
    pub(crate) legend: Vec<Key>,
}

impl Chart {
    /// A chart of `drawn`, or the reason why there is nothing to draw.
    pub(crate) fn new(
        title: impl Into<Cow<'static, str>>,
        description: String,
        drawn: std::result::Result<Result<Drawn>, String>,
    ) -> Result<Self> {
        let (svg, legend) = match drawn {
            Ok(drawn) => drawn.map(|(svg, legend)| (Ok(svg), legend))?,
            Err(reason) => (Err(reason), Vec::new()),
        };
        Ok(Self {
            title: title.into(),
            description,
            svg,
            legend,
        })
    }
}

/// An SVG element and its legend.
pub(crate) type Drawn = (String, Vec<Key>);

/// A line of a legend.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) colour: String,
    pub(crate) dashed: bool,
}

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
    /// Of two shares.
    pub(crate) const fn unit(x: &'static str, y: &'static str) -> Self {
        Self {
            x,
            y,
            ranges: Some([(0.0, 1.0), (0.0, 1.02)]),
        }
    }
}

/// Lines through points.
pub(crate) fn lines(axes: &Axes, series: &[Series], mark: Option<&Mark>) -> Result<Drawn> {
    let points = || series.iter().flat_map(|series| &series.points);
    let [x, y] = axes.ranges.unwrap_or_else(|| {
        let (low, high) = span(points().map(|point| point.1));
        [span(points().map(|point| point.0)), (low.min(0.0), high * 1.05)]
    });
    let svg = draw(SIZE, |area| {
        let mut chart = frame(area, axes, BELOW, Scale::linear(x), Scale::linear(y))?;
        for (number, series) in series.iter().enumerate() {
            draw_line(&mut chart, number, &series.points)?;
        }
        draw_mark(&mut chart, mark, x, y)
    })?;
    let names = series.iter().map(|series| &series.name);
    Ok((svg, keys(names).chain(mark_key(mark)).collect()))
}

/// Measured points and lines between them, both axes logarithmic: what is not over 0 is left out.
pub(crate) fn log_log(axes: &Axes, series: &[Series]) -> Result<Drawn> {
    let series: Vec<(&String, Vec<(f64, f64)>)> = series
        .iter()
        .map(|series| {
            let points = series.points.iter().copied();
            (
                &series.name,
                points.filter(|(x, y)| *x > 0.0 && *y > 0.0).collect(),
            )
        })
        .collect();
    let points = || series.iter().flat_map(|(_, points)| points);
    let x = Scale::logarithmic(points().map(|point| point.0));
    let y = Scale::logarithmic(points().map(|point| point.1));
    let svg = draw(SIZE, |area| {
        let mut chart = frame(area, axes, BELOW, x, y)?;
        for (number, (_, points)) in series.iter().enumerate() {
            draw_line(&mut chart, number, points)?;
            draw_dots(&mut chart, number, points)?;
        }
        Ok(())
    })?;
    Ok((svg, keys(series.iter().map(|(name, _)| *name)).collect()))
}

/// Counts of values in bins over their common range.
pub(crate) fn histogram(axes: &Axes, groups: &[(&str, Vec<f64>)], mark: Option<&Mark>) -> Result<Drawn> {
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
    let (x, y) = ((low, high), (0.0, most as f64 * 1.05));
    let svg = draw(SIZE, |area| {
        let mut chart = frame(area, axes, BELOW, Scale::linear(x), Scale::linear(y))?;
        for (number, counts) in counts.iter().enumerate() {
            let colour = Ink::Series(number).stand_in();
            for style in [colour.mix(0.4).filled(), colour.stroke_width(1)] {
                let bars = counts
                    .iter()
                    .enumerate()
                    .filter(|(_, count)| **count > 0)
                    .map(|(bin, count)| {
                        let left = low + width * bin as f64;
                        Rectangle::new([(left, 0.0), (left + width, *count as f64)], style)
                    });
                chart.draw_series(bars).map_err(|error| failed(&error))?;
            }
        }
        draw_mark(&mut chart, mark, x, y)
    })?;
    let keys = groups.iter().enumerate().map(|(number, (name, values))| Key {
        name: format!("{name} ({})", values.len()),
        colour: Ink::Series(number).css(),
        dashed: false,
    });
    Ok((svg, keys.chain(mark_key(mark)).collect()))
}

/// Width and height of a profile, whose places have names.
const PROFILE: (u32, u32) = (480, 290);
/// Units under a profile for those names, and of a line of them.
const NAMES: u32 = 66;
const NAME_LINE: i32 = 16;

/// One for each place: the value and how far it spreads, where it is known.
pub(crate) type Points = Vec<Option<(f64, f64)>>;

/// Values at named places with how far they spread; a line is broken where a value is missing.
pub(crate) fn profile(y_name: &'static str, places: &[String], series: &[(String, Points)]) -> Result<Drawn> {
    let ends = series.iter().flat_map(|(_, points)| points).flatten();
    let (low, high) = span(ends.flat_map(|(mean, spread)| [mean - spread, mean + spread]));
    let room = 0.06 * (high - low);
    let (x, y) = ((-0.5, places.len() as f64 - 0.5), (low - room, high + room));
    let axes = Axes {
        y: y_name,
        ..Axes::default()
    };
    let svg = draw(PROFILE, |area| {
        let mut chart = frame(area, &axes, NAMES, Scale::linear(x), Scale::linear(y))?;
        let width = (PROFILE.0 - LEFT - RIGHT) as usize / places.len().max(1);
        for (place, name) in places.iter().enumerate() {
            let (left, top) = chart.backend_coord(&(place as f64, y.0));
            let style = text(14).pos(Pos::new(HPos::Center, VPos::Top));
            for (line, words) in broken(name, width / 7).into_iter().zip(0..) {
                let at = (left, top + 8 + words * NAME_LINE);
                area.draw(&Text::new(line, at, style.clone()))
                    .map_err(|error| failed(&error))?;
            }
        }
        // Beside each other, so that the spreads can be told apart.
        let step = 0.5 / series.len().max(1) as f64;
        for (number, (_, points)) in series.iter().enumerate() {
            let shift = step * (number as f64 - (series.len() as f64 - 1.0) / 2.0);
            let at = |place: usize, value: f64| (place as f64 + shift, value);
            let known: Vec<(usize, (f64, f64))> = points
                .iter()
                .enumerate()
                .filter_map(|(place, point)| Some((place, (*point)?)))
                .collect();
            for run in known.chunk_by(|a, b| a.0 + 1 == b.0) {
                let line: Vec<_> = run.iter().map(|(place, (mean, _))| at(*place, *mean)).collect();
                draw_line(&mut chart, number, &line)?;
                draw_dots(&mut chart, number, &line)?;
            }
            let ink = Ink::Series(number).stand_in();
            let whiskers =
                known
                    .iter()
                    .filter(|(_, (_, spread))| *spread > 0.0)
                    .map(|(place, (mean, spread))| {
                        PathElement::new(
                            vec![at(*place, mean - spread), at(*place, mean + spread)],
                            ink.stroke_width(1),
                        )
                    });
            chart.draw_series(whiskers).map_err(|error| failed(&error))?;
        }
        Ok(())
    })?;
    Ok((svg, keys(series.iter().map(|(name, _)| name)).collect()))
}

/// A name in lines of about so many letters, broken between its words; what does not fit in three lines is cut off.
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

fn draw(size: (u32, u32), content: impl FnOnce(&Area) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        content(&area)?;
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(themed(&svg, size))
}

/// One dimension of a chart.
#[derive(Debug, Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Digits after the point of its labels; `None` for those that are better told by exponents.
    digits: Option<usize>,
}

/// Labels of an axis, at most.
const LABELS: usize = 6;

impl Scale {
    fn linear((low, high): (f64, f64)) -> Self {
        Self {
            low,
            high,
            logarithmic: false,
            digits: digits(&RangedCoordf64::from(low..high).key_points(LABELS)),
        }
    }

    /// With room for all values, which are over 0.
    fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = span(values.map(f64::log10));
        let room = 0.06 * (high - low);
        Self {
            low: 10_f64.powf(low - room),
            high: 10_f64.powf(high + room),
            logarithmic: true,
            digits: None,
        }
    }

    /// Where a value lies on an even axis.
    fn even(self, value: f64) -> f64 {
        if self.logarithmic { value.log10() } else { value }
    }

    /// Powers of ten, with numbers between them if there are not more than `most` then.
    fn ticks(self, most: usize) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let within = |factors: &[f64], step: usize| {
            let powers = (first..=last).step_by(step);
            let all = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
            all.filter(|value| (self.low..=self.high).contains(value))
                .collect::<Vec<_>>()
        };
        [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]]
            .into_iter()
            .map(|factors| within(factors, 1))
            .find(|ticks| ticks.len() <= most)
            .unwrap_or_else(|| within(&[1.0], ((last - first) as usize).div_ceil(most.max(1)).max(1)))
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.even(self.low)..self.even(self.high)).map(&self.even(*value), limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if self.logarithmic {
            self.ticks(hint.max_num_points())
        } else {
            RangedCoordf64::from(self.low..self.high).key_points(hint)
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        let digits = if self.logarithmic {
            // Each has its own number of them.
            digits(&[0.0, *value])
        } else {
            self.digits
        };
        number(*value, digits)
    }
}

fn text<'a>(size: i32) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&Ink::Text.stand_in())
}

/// Units beside a chart for the labels of its axis, and on the other side.
const LEFT: u32 = 76;
const RIGHT: u32 = 16;
/// Units below a chart for the labels of its axis.
const BELOW: u32 = 44;

/// Axes, grid and labels; an axis without a name has none of them but its line, in `below` units.
fn frame<'a, 'b>(area: &Area<'b>, axes: &Axes, below: u32, x: Scale, y: Scale) -> Result<Plane<'a, 'b>>
where
    'b: 'a,
{
    let mut chart = ChartBuilder::on(area)
        .margin_top(8)
        .margin_right(RIGHT)
        .x_label_area_size(below)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(x, y)
        .map_err(|error| failed(&error))?;
    let mut mesh = chart.configure_mesh();
    if axes.x.is_empty() {
        mesh.disable_x_mesh().x_labels(0);
    } else {
        mesh.x_labels(LABELS).x_desc(axes.x);
    }
    mesh.y_labels(LABELS)
        .y_desc(axes.y)
        .label_style(text(16))
        .axis_desc_style(text(16))
        .axis_style(Ink::Text.stand_in())
        .bold_line_style(Ink::Grid.stand_in())
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(|error| failed(&error))?;
    Ok(chart)
}

/// The line of a series; those that share a colour with an earlier one are dashed.
fn draw_line(chart: &mut Plane, number: usize, points: &[(f64, f64)]) -> Result<()> {
    let style = Ink::Series(number).stand_in().stroke_width(2);
    let points = points.iter().copied();
    let points = points.filter(|(x, y)| x.is_finite() && y.is_finite());
    if number < COLOURS {
        chart
            .draw_series(LineSeries::new(points, style))
            .map_err(|error| failed(&error))?;
    } else {
        chart
            .draw_series(DashedLineSeries::new(points, 6, 4, style))
            .map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn draw_dots(chart: &mut Plane, number: usize, points: &[(f64, f64)]) -> Result<()> {
    let ink = Ink::Series(number).stand_in();
    let dots = points.iter().map(|point| Circle::new(*point, 4, ink.filled()));
    chart.draw_series(dots).map_err(|error| failed(&error))?;
    Ok(())
}

fn keys<'s>(names: impl Iterator<Item = &'s String>) -> impl Iterator<Item = Key> {
    names.enumerate().map(|(number, name)| Key {
        name: name.clone(),
        colour: Ink::Series(number).css(),
        dashed: number >= COLOURS,
    })
}

fn draw_mark(chart: &mut Plane, mark: Option<&Mark>, x: (f64, f64), y: (f64, f64)) -> Result<()> {
    let Some(mark) = mark.filter(|mark| (x.0..=x.1).contains(&mark.at)) else {
        return Ok(());
    };
    let ink = Ink::Mark.stand_in();
    let line = DashedLineSeries::new([(mark.at, y.0), (mark.at, y.1)], 5, 4, ink.stroke_width(2));
    chart.draw_series(line).map_err(|error| failed(&error))?;
    // On the side that has more room.
    let left = mark.at > (x.0 + x.1) / 2.0;
    let side = if left { HPos::Right } else { HPos::Left };
    let style = ("sans-serif", 16)
        .into_font()
        .color(&ink)
        .pos(Pos::new(side, VPos::Top));
    let offset = if left { -6 } else { 6 };
    // Below the middle, where curves of shares seldom are.
    let height = y.0 + 0.4 * (y.1 - y.0);
    let label = EmptyElement::at((mark.at, height)) + Text::new(mark.name.clone(), (offset, 0), style);
    chart.draw_series([label]).map_err(|error| failed(&error))?;
    Ok(())
}

fn mark_key(mark: Option<&Mark>) -> Option<Key> {
    mark.map(|mark| Key {
        name: mark.name.clone(),
        colour: Ink::Mark.css(),
        dashed: true,
    })
}

/// Puts the theme's colours in place of the stand-ins, and drops the fixed size.
fn themed(svg: &str, size: (u32, u32)) -> String {
    let size = format!("width=\"{}\" height=\"{}\" ", size.0, size.1);
    let svg = svg.replacen(&size, "", 1);
    Ink::ALL.into_iter().fold(svg, |svg, ink| {
        let RGBColor(r, g, b) = ink.stand_in();
        svg.replace(&format!("#{r:02X}{g:02X}{b:02X}"), &ink.css())
    })
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

/// Digits after the point with which evenly spaced values are written in full; `None` for very large and very small steps.
fn digits(values: &[f64]) -> Option<usize> {
    let [first, second, ..] = values else {
        return Some(0);
    };
    let step = second - first;
    let largest = values
        .iter()
        .fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let full = |digits: &usize| {
        let scaled = step * 10_f64.powi(*digits as i32);
        scaled > 0.5 && (scaled - scaled.round()).abs() < 1e-3
    };
    (largest < 1e6 && step > 1e-5).then(|| (0..6).find(full).unwrap_or(6))
}

fn number(value: f64, digits: Option<usize>) -> String {
    match digits {
        Some(digits) => {
            let text = format!("{value:.digits$}");
            // -0 and -0.00
            if text.trim_matches(['-', '0', '.']).is_empty() {
                text.trim_start_matches('-').to_owned()
            } else {
                text
            }
        }
        None => format!("{value:.0e}"),
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::data("report", format!("a chart could not be drawn: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(f64, f64)]) -> Vec<Series> {
        vec![Series {
            name: "a".into(),
            points: points.to_vec(),
        }]
    }

    #[test]
    fn charts_have_the_colours_of_the_theme_only() {
        let mark = Mark {
            name: "limit".into(),
            at: 0.3,
        };
        let (svg, keys) = lines(
            &Axes::unit("x", "y"),
            &series(&[(0.0, 0.0), (1.0, 1.0)]),
            Some(&mark),
        )
        .unwrap();
        assert!(
            svg.contains("var(--series-0)") && svg.contains("currentColor") && svg.contains("var(--mark)")
        );
        let colours = svg.matches("#").count();
        assert_eq!(colours, 0, "{svg}");
        assert_eq!(keys.len(), 2);
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
        ];
        for points in odd {
            let axes = Axes::default();
            assert!(
                lines(&axes, &series(&points), None).unwrap().0.contains("<svg"),
                "{points:?}"
            );
            let values = points.iter().map(|point| point.1).collect();
            assert!(
                histogram(&axes, &[("a", values)], None)
                    .unwrap()
                    .0
                    .contains("<svg"),
                "{points:?}"
            );
        }
    }

    #[test]
    fn logarithmic_axes_have_round_labels_whatever_their_range() {
        let labels = |values: [f64; 2], most| {
            let scale = Scale::logarithmic(values.into_iter());
            let ticks = scale.ticks(most).into_iter();
            ticks.map(|tick| scale.format_ext(&tick)).collect::<Vec<_>>()
        };
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
        ];
        for points in odd {
            assert!(
                log_log(&Axes::default(), &series(&points))
                    .unwrap()
                    .0
                    .contains("<svg"),
                "{points:?}"
            );
        }
    }

    #[test]
    fn labels_have_the_digits_that_tell_them_apart() {
        let labels = |range| {
            let scale = Scale::linear(range);
            let ticks = scale.key_points(LABELS).into_iter();
            ticks.map(|tick| scale.format_ext(&tick)).collect::<Vec<_>>()
        };
        assert_eq!(labels((0.0, 5.25)), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(labels((0.0, 1.02)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let narrow = labels((0.501, 0.503));
        assert!(
            narrow.len() > 2 && narrow.windows(2).all(|pair| pair[0] != pair[1]),
            "{narrow:?}"
        );
        assert_eq!(number(-0.0, Some(1)), "0.0");
    }
}
