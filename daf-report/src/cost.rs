//! Picture of the costs of training and detecting against the size of the input.

use std::collections::BTreeSet;

use askama::Template;
use daf_core::{Error, Result};

use crate::plot::{Axes, Chart, Key, SIZE, Series, log_log};

/// Cost of one batch of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Work on the batch, e.g. `inference`.
    pub work: String,
    /// Images in the batch.
    pub batch: usize,
    /// Pixels of the network's input, for one image.
    pub pixels: f64,
    /// Time for the batch, in milliseconds.
    pub ms: f64,
    /// Largest resident memory of the process, in MiB, where it is known.
    pub mebibytes: Option<f64>,
}

#[derive(Template)]
#[template(path = "cost.svg", escape = "html")]
struct CostPicture<'a> {
    title: &'a str,
    notes: &'a [String],
    width: u32,
    height: u32,
    panel: (u32, u32),
    placed: Vec<(Chart, (u32, u32))>,
    legend: Vec<(Key, usize)>,
}

/// Units above the title of a chart, and from there to its end.
const GAP: u32 = 28;
/// Room left of the panels, whose labels reach to their edge.
const MARGIN: u32 = 8;
const ROW: u32 = SIZE.1 + GAP + 4;

/// Time and memory against pixels on logarithmic axes, a line for each size of batch, as an SVG file that
/// stands alone; its colors follow the reader's theme. `notes` are lines below the title.
///
/// # Errors
/// If the picture cannot be put together, of which no case is known.
pub fn cost(title: &str, notes: &[String], costs: &[Cost]) -> Result<String> {
    let batches: BTreeSet<usize> = costs.iter().map(|cost| cost.batch).collect();
    let mut works: Vec<&str> = Vec::new();
    for cost in costs {
        if !works.contains(&cost.work.as_str()) {
            works.push(&cost.work);
        }
    }
    let top = 44 + 18 * notes.len() as u32;
    let mut placed = Vec::new();
    let mut legend = Vec::new();
    for (row, work) in (0..).zip(&works) {
        let values: [(&str, &str, Quantity); 2] = [
            ("time", "ms per batch", |cost| Some(cost.ms)),
            ("memory", "peak, MiB", |cost| cost.mebibytes),
        ];
        for (column, (what, unit, value)) in (0..).zip(values) {
            let mut chart = chart(format!("{work}, {what}"), unit, &batches, costs, &|cost| {
                value(cost).filter(|_| cost.work == **work)
            });
            if let (true, Ok(plot)) = (legend.is_empty(), &mut chart.plot) {
                legend = std::mem::take(&mut plot.legend);
            }
            placed.push((chart, (MARGIN + column * SIZE.0, top + GAP + row * ROW)));
        }
    }
    let mut x = 16;
    let legend = legend.into_iter().map(|key| {
        let at = x;
        x += 60 + 8 * key.name.len();
        (key, at)
    });
    let picture = CostPicture {
        title,
        notes,
        width: MARGIN + 2 * SIZE.0,
        height: top + ROW * works.len() as u32 + 40,
        panel: SIZE,
        placed,
        legend: legend.collect(),
    };
    picture
        .render()
        .map_err(|error| Error::data("costs", format!("the picture could not be made: {error}")))
}

/// Quantity of a measurement that is drawn.
type Quantity = fn(&Cost) -> Option<f64>;

fn chart(
    title: String,
    unit: &'static str,
    batches: &BTreeSet<usize>,
    costs: &[Cost],
    value: &dyn Fn(&Cost) -> Option<f64>,
) -> Chart {
    let series: Vec<Series> = batches
        .iter()
        .map(|batch| {
            let of = costs.iter().filter(|cost| cost.batch == *batch);
            let mut points: Vec<_> = of
                .filter_map(|cost| Some((cost.pixels / 1e6, value(cost)?)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Series {
                name: format!("batch {batch}"),
                points,
            }
        })
        .collect();
    let axes = Axes {
        x: "megapixels per image",
        y: unit,
        ranges: None,
    };
    let description = format!("{title} against megapixels per image, for each size of batch");
    let plot = match series.iter().all(|series| series.points.is_empty()) {
        true => Err("nothing was measured".into()),
        false => Ok(log_log(&axes, &series)),
    };
    Chart {
        title: title.into(),
        description,
        plot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(work: &str, side: u32, batch: usize, mebibytes: Option<f64>) -> Cost {
        let pixels = f64::from(side).powi(2);
        Cost {
            work: work.into(),
            batch,
            pixels,
            ms: 1e-3 * pixels * batch as f64,
            mebibytes,
        }
    }

    #[test]
    fn every_work_has_time_and_memory_with_a_line_for_each_batch() {
        let mut costs = Vec::new();
        for side in [128, 256] {
            for batch in [1, 8] {
                costs.push(measured("training step", side, batch, Some(500.0)));
                costs.push(measured("inference", side, batch, None));
            }
        }
        let svg = cost("a < b", &["two cores".into()], &costs).unwrap();
        assert!(svg.starts_with("<svg ") && svg.contains("a &#60; b"));
        for text in [
            ">training step, time<",
            ">training step, memory<",
            ">inference, time<",
            ">inference, memory<",
            ">batch 1<",
            ">batch 8<",
            "not available: nothing was measured",
        ] {
            assert_eq!(svg.matches(text).count(), 1, "{text}");
        }
        // Colors come from the theme, nothing from elsewhere.
        assert!(
            svg.contains("--series-1: ")
                && svg.matches("http").count() == svg.matches("xmlns=\"http").count()
        );
    }

    #[test]
    fn nothing_measured_is_a_picture_too() {
        assert!(cost("nothing", &[], &[]).unwrap().contains("<svg "));
    }
}
