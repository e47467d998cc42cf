//! The charts of runs: several series each, of one run's images and pixels or of several runs.

use daf_core::results::{Curves, Record, Results};

use crate::plot::{Axes, Chart, Mark, Series, histogram, lines};

/// Reason for missing curves.
pub(crate) const NOT_EVALUATED: &str = "the run has not been evaluated";
const NO_CURVES: &str = "the curves need normal and anomalous images, those of pixels masks as well";
const NOT_TRAINED: &str = "no step of the training is on record";

/// A curve over all thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CurveKind {
    Roc,
    PrecisionRecall,
    Pro,
}

/// Level of the scores that a curve is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScoreLevel {
    Image,
    Pixel,
}

impl CurveKind {
    fn points(self, curves: &Curves, scores: ScoreLevel) -> Vec<(f64, f64)> {
        let points = match scores {
            ScoreLevel::Image => &curves.image,
            ScoreLevel::Pixel => &curves.pixel,
        };
        match self {
            Self::Roc => points.iter().map(|point| (point.fpr, point.tpr)).collect(),
            Self::Pro => points.iter().map(|point| (point.fpr, point.overlap)).collect(),
            // Average precision is the area under steps: between two thresholds precision cannot be had
            // linearly.
            Self::PrecisionRecall => {
                let steps = points
                    .windows(2)
                    .flat_map(|pair| [(pair[0].tpr, pair[1].precision), (pair[1].tpr, pair[1].precision)]);
                points
                    .first()
                    .map(|point| (point.tpr, point.precision))
                    .into_iter()
                    .chain(steps)
                    .collect()
            }
        }
    }

    const fn axes(self) -> Axes {
        match self {
            Self::Roc => Axes::unit("false-positive rate", "true-positive rate"),
            Self::PrecisionRecall => Axes::unit("recall", "precision"),
            Self::Pro => Axes::unit("false-positive rate", "mean overlap of regions"),
        }
    }
}

/// Curves of one kind, named.
pub(crate) fn curves<'r>(
    title: &'static str,
    kind: CurveKind,
    of: impl IntoIterator<Item = (String, &'r Results, ScoreLevel)>,
    mark: Option<&Mark>,
) -> Chart {
    let mut measured = false;
    let mut series = Vec::new();
    for (name, results, scores) in of {
        measured |= results.metrics.is_some();
        let points = kind.points(&results.curves, scores);
        if !points.is_empty() {
            series.push(Series { name, points });
        }
    }
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let description = format!("{title}: {}", names.join(", "));
    let plot = match (measured, series.is_empty()) {
        (false, _) => Err(NOT_EVALUATED.into()),
        (true, true) => Err(NO_CURVES.into()),
        (true, false) => Ok(lines(&kind.axes(), &series, mark)),
    };
    Chart {
        title: title.into(),
        description,
        plot,
    }
}

/// Image scores of normal and of anomalous images.
pub(crate) fn scores(results: &Results, threshold: Option<f64>) -> Chart {
    let of = |anomalous| {
        let images = results
            .predictions
            .iter()
            .filter(|image| image.is_anomalous() == anomalous);
        images.map(|image| image.score).collect::<Vec<_>>()
    };
    let groups = [("normal images", of(false)), ("images with a defect", of(true))];
    let mark = threshold.map(|at| Mark {
        name: "threshold".into(),
        at,
    });
    let [normal, anomalous] = groups.each_ref().map(|group| group.1.len());
    let description = format!("Scores of {normal} normal images and {anomalous} images with a defect");
    let axes = Axes {
        x: "image score",
        y: "images",
        ranges: None,
    };
    let plot = match results.predictions.is_empty() {
        true => Err(NOT_EVALUATED.into()),
        false => Ok(histogram(&axes, &groups, mark.as_ref())),
    };
    Chart {
        title: "Image scores".into(),
        description,
        plot,
    }
}

/// Points of a line at most; further steps are averaged.
const POINTS: usize = 300;

/// Name and steps of a training, and the value of a step that is drawn.
pub(crate) type Values<'r> = (String, &'r [Record], Box<dyn Fn(&Record) -> f64 + 'r>);

/// Values of the steps of trainings, averaged over neighboring steps where there are many.
pub(crate) fn history<'r>(
    title: &'static str,
    unit: &'static str,
    of: impl IntoIterator<Item = Values<'r>>,
) -> Chart {
    let mut series = Vec::new();
    for (name, records, value) in of {
        let length = records.len().div_ceil(POINTS).max(1);
        let points = records.chunks(length).map(|chunk| {
            let mean = |of: &dyn Fn(&Record) -> f64| chunk.iter().map(of).sum::<f64>() / chunk.len() as f64;
            (mean(&|record| record.step as f64), mean(&value))
        });
        let points: Vec<_> = points.collect();
        if !points.is_empty() {
            series.push(Series { name, points });
        }
    }
    let axes = Axes {
        x: "step",
        y: unit,
        ranges: None,
    };
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let description = format!("{title} of each step: {}", names.join(", "));
    let plot = match series.is_empty() {
        true => Err(NOT_TRAINED.into()),
        false => Ok(lines(&axes, &series, None)),
    };
    Chart {
        title: title.into(),
        description,
        plot,
    }
}

/// Loss terms by name, those of all stages (`cosine.layer1`, `cosine.layer2`) added up.
pub(crate) fn terms(records: &[Record]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in records.iter().flat_map(|record| &record.terms) {
        let name = stem(name);
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The sum of the terms of that name.
pub(crate) fn term(record: &Record, name: &str) -> f64 {
    let terms = record.terms.iter().filter(|(term, _)| stem(term) == name);
    terms.map(|(_, value)| value).sum()
}

fn stem(term: &str) -> &str {
    term.split('.').next().unwrap_or(term)
}
