//! Charts as inline SVG. Their colours are CSS variables, so that a page's theme decides.

use std::borrow::Cow;

use daf_core::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plane<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Width and height of a chart in its own units; a page scales it.
const SIZE: (u32, u32) = (360, 250);

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
        let mut chart = frame(area, axes, x, y)?;
        for (number, series) in series.iter().enumerate() {
            let style = Ink::Series(number).stand_in().stroke_width(2);
            let points = series
                .points
                .iter()
                .copied()
                .filter(|(x, y)| x.is_finite() && y.is_finite());
            if number < COLOURS {
                chart
                    .draw_series(LineSeries::new(points, style))
                    .map_err(|error| failed(&error))?;
            } else {
                chart
                    .draw_series(DashedLineSeries::new(points, 6, 4, style))
                    .map_err(|error| failed(&error))?;
            }
        }
        draw_mark(&mut chart, mark, x, y)
    })?;
    let keys = series.iter().enumerate().map(|(number, series)| Key {
        name: series.name.clone(),
        colour: Ink::Series(number).css(),
        dashed: number >= COLOURS,
    });
    Ok((svg, keys.chain(mark_key(mark)).collect()))
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
        let mut chart = frame(area, axes, x, y)?;
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
/// Pixels under a profile for those names, and of a line of them.
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
    let svg = draw(PROFILE, |area| {
        let text = |size: i32| ("sans-serif", size).into_font().color(&Ink::Text.stand_in());
        let mut chart = ChartBuilder::on(area)
            .margin_top(8)
            .margin_right(8)
            .x_label_area_size(NAMES)
            .y_label_area_size(64)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)
            .map_err(|error| failed(&error))?;
        let digits = digits(y);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .y_labels(6)
            .y_desc(y_name)
            .y_label_formatter(&|value| number(*value, digits))
            .label_style(text(16))
            .axis_desc_style(text(16))
            .axis_style(Ink::Text.stand_in())
            .bold_line_style(Ink::Grid.stand_in())
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(|error| failed(&error))?;
        let width = (PROFILE.0 - 72) as usize / places.len().max(1);
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
            let ink = Ink::Series(number).stand_in();
            let style = ink.stroke_width(2);
            let at = |place: usize, value: f64| (place as f64 + shift, value);
            let known: Vec<(usize, (f64, f64))> = points
                .iter()
                .enumerate()
                .filter_map(|(place, point)| Some((place, (*point)?)))
                .collect();
            for run in known.chunk_by(|a, b| a.0 + 1 == b.0) {
                let line = run.iter().map(|(place, (mean, _))| at(*place, *mean));
                if number < COLOURS {
                    chart
                        .draw_series(LineSeries::new(line, style))
                        .map_err(|error| failed(&error))?;
                } else {
                    chart
                        .draw_series(DashedLineSeries::new(line, 6, 4, style))
                        .map_err(|error| failed(&error))?;
                }
            }
            let dots = known
                .iter()
                .map(|(place, (mean, _))| Circle::new(at(*place, *mean), 4, ink.filled()));
            chart.draw_series(dots).map_err(|error| failed(&error))?;
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
    let keys = series.iter().enumerate().map(|(number, (name, _))| Key {
        name: name.clone(),
        colour: Ink::Series(number).css(),
        dashed: number >= COLOURS,
    });
    Ok((svg, keys.collect()))
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

/// Axes, grid and labels.
fn frame<'a, 'b>(area: &Area<'b>, axes: &Axes, x: (f64, f64), y: (f64, f64)) -> Result<Plane<'a, 'b>>
where
    'b: 'a,
{
    let text = |size: i32| ("sans-serif", size).into_font().color(&Ink::Text.stand_in());
    let mut chart = ChartBuilder::on(area)
        .margin_top(8)
        .margin_right(16)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)
        .map_err(|error| failed(&error))?;
    let (x_digits, y_digits) = (digits(x), digits(y));
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(6)
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&|value| number(*value, x_digits))
        .y_label_formatter(&|value| number(*value, y_digits))
        .label_style(text(16))
        .axis_desc_style(text(16))
        .axis_style(Ink::Text.stand_in())
        .bold_line_style(Ink::Grid.stand_in())
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(|error| failed(&error))?;
    Ok(chart)
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

/// Digits after the point that tell six labels of a range apart; `None` for ranges that are better told by exponents.
fn digits((low, high): (f64, f64)) -> Option<usize> {
    let step = (high - low) / 6.0;
    let largest = low.abs().max(high.abs());
    (largest < 1e6 && step > 1e-5).then(|| (-step.log10()).ceil().max(0.0) as usize)
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
    fn labels_of_a_narrow_range_differ() {
        let range = (0.501, 0.503);
        let labels: Vec<_> = (0..6)
            .map(|i| number(range.0 + 0.0004 * f64::from(i), digits(range)))
            .collect();
        assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
        assert_eq!(number(-0.0, Some(1)), "0.0");
    }
}
