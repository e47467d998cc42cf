use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use daf_core::atomic::write_json;
use daf_core::calibration::Basis;
use daf_core::data::{MaskValues, Reading};
use daf_core::image::RgbImage;
use daf_core::image::imageops::{self, FilterType};
use daf_core::results::{FINDINGS, Findings};
use daf_core::{Dataset, Item, Split, overlay};
use daf_data::audit::{Count, Format, Size};
use daf_data::{Audit, Finding, audit};
use daf_pipeline::Pipeline;
use daf_pipeline::Run;

use crate::Context;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::pipeline::PipelineArgs;
use crate::progress::Counter;

/// Look a data set through
#[derive(Debug, clap::Args)]
pub(crate) struct Data {
    #[command(subcommand)]
    verb: DataVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DataVerb {
    Check(Check),
}

impl Data {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        match &self.verb {
            DataVerb::Check(verb) => verb.run(context),
        }
    }
}

/// Open every image and mask once: count them, and find what spoils training or measuring
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli data check pipeline.yaml
  daf-cli data check pipeline.yaml --sheet images.png
  daf-cli data check pipeline.yaml --json | jq '.findings[]'

The exit code is 1 if an image or mask cannot be read or the listing has faults;
what else is found is for you to judge.")]
struct Check {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Write a picture of images of every kind, with the outline of their masks
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Print everything that was found, not just the first of each kind
    #[arg(long)]
    all: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Findings of one kind, and sizes, that are printed unless all are asked for.
const SHOWN: usize = 5;
/// Findings of one kind that a training warns of.
const WARNED: usize = 3;

impl Check {
    fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(&context.environment)?;
        let dataset = pipeline.data.as_ref();
        if let Some(path) = &self.sheet {
            let inputs = Inputs::of(&pipeline).and(&self.pipeline.file, "the pipeline file");
            inputs.spare(path)?;
        }
        let report = look_through(&pipeline);
        let drawn_from = pipeline.check_image_files();
        if self.json {
            let text = serde_json::to_string_pretty(&report).map_err(Failure::work)?;
            writeln!(context.out, "{text}")?;
        } else {
            self.print(&report, context)?;
            if report.findings.is_empty() && drawn_from.is_ok() {
                writeln!(context.out, "\nnothing is wrong with it")?;
            }
        }
        if let Some(path) = &self.sheet {
            overlay::save(&sheet(dataset, pipeline.input.reading()), path)?;
            if !self.json {
                let rows = match report.counts.len() {
                    kinds if kinds > ROWS => format!("the first {ROWS} lines"),
                    _ => "the lines".to_owned(),
                };
                let path = path.display();
                writeln!(
                    context.out,
                    "\nsheet: {path}, its rows in the order of {rows} above"
                )?;
            }
        }
        let faults = report
            .findings
            .iter()
            .filter(|finding| finding.is_fault())
            .count();
        match faults {
            0 => Ok(drawn_from?),
            1 => Err(Failure::work(
                "one fault keeps the data set from being used as it is",
            )),
            many => Err(Failure::work(format!(
                "{many} faults keep the data set from being used as it is"
            ))),
        }
    }

    fn print(&self, report: &Audit, context: &mut Context) -> Result<(), Failure> {
        let out = &mut context.out;
        let name = |count: &Count| {
            let kind = count.defect.as_deref().unwrap_or("good");
            match &count.category {
                Some(category) => format!("{category}/{kind}"),
                None => kind.to_owned(),
            }
        };
        let width = report
            .counts
            .iter()
            .map(|count| name(count).chars().count())
            .max()
            .unwrap_or(0)
            .max(4);
        writeln!(out, "split  {:width$}  images  masks", "kind")?;
        for count in &report.counts {
            writeln!(
                out,
                "{:5}  {:width$}  {:>6}  {:>5}",
                count.split.name(),
                name(count),
                count.images,
                count.masks
            )?;
        }
        writeln!(out)?;
        for split in Split::ALL {
            let sizes: Vec<&Size> = report.sizes.iter().filter(|size| size.split == split).collect();
            let text = sizes
                .iter()
                .take(if self.all { usize::MAX } else { SHOWN })
                .map(|size| format!("{}×{} ({})", size.width, size.height, size.images));
            let more = sizes.len().saturating_sub(SHOWN);
            let rest = (!self.all && more > 0).then(|| format!("{more} more sizes"));
            let text: Vec<_> = text.chain(rest).collect();
            writeln!(out, "{:5}  width×height: {}", split.name(), text.join(", "))?;
            let formats: Vec<_> = report
                .formats
                .iter()
                .filter(|format| format.split == split)
                .map(
                    |Format {
                         format,
                         channels,
                         bits,
                         images,
                         ..
                     }| { format!("{format}, {channels} × {bits} bit ({images})") },
                )
                .collect();
            if !formats.is_empty() {
                writeln!(out, "       {}", formats.join("; "))?;
            }
        }
        // Masks in black and white need no word.
        if report
            .masks
            .keys()
            .any(|values| *values != MaskValues::BlackAndWhite)
        {
            let masks = report.masks.iter().map(|(values, masks)| match values {
                MaskValues::BlackAndWhite => format!("black and white ({masks})"),
                MaskValues::Labels => format!("numbers or colors, all of which but black count ({masks})"),
                MaskValues::Alpha => format!("drawn on a transparent ground ({masks})"),
            });
            writeln!(out, "masks  {}", masks.collect::<Vec<_>>().join("; "))?;
        }
        if !report.left_out.is_empty() {
            writeln!(out, "\n{}", report.left_out)?;
        }
        if report.findings.is_empty() {
            return Ok(());
        }
        let mut seen: HashMap<&str, usize> = HashMap::new();
        writeln!(out)?;
        for finding in &report.findings {
            let count = seen.entry(finding.kind()).or_default();
            *count += 1;
            if self.all {
                writeln!(out, "{finding:#}")?;
            } else if *count <= SHOWN {
                writeln!(out, "{finding}")?;
            }
        }
        let left: usize = seen.values().map(|count| count.saturating_sub(SHOWN)).sum();
        if left > 0 && !self.all {
            writeln!(out, "and {left} more of the same kinds; --all prints them")?;
        }
        Ok(())
    }
}

/// Opens every image and mask of a pipeline's data set, and shows how far that is.
fn look_through(pipeline: &Pipeline) -> Audit {
    let counter = Mutex::new(Counter::new("looking through the images"));
    let mut report = audit(pipeline.data.as_ref(), pipeline.input.reading(), &|done, all| {
        if let Ok(mut counter) = counter.lock() {
            counter.set(done, all);
        }
    });
    if let Ok(mut counter) = counter.lock() {
        counter.finish();
    }
    let train = report.counts.iter().filter(|count| count.split == Split::Train);
    let images: usize = train.map(|count| count.images).sum();
    if images > 0
        && let Some(reason) = Basis::of(&pipeline.validation, images, pipeline.method.learns()).doubt()
    {
        report.findings.push(Finding::Thresholds { reason });
    }
    report
}

/// Looks through the images that a run is about to work with, and warns of what spoils training or measuring. What cannot be
/// read among them is for the training to say, and so is a listing that fails; what cannot be read among the test images is told
/// now, since measuring comes long after.
pub(crate) fn examine(run: &Run) -> Vec<Findings> {
    let mut found: Vec<Findings> = Vec::new();
    let findings = look_through(run.pipeline()).findings;
    let learned = run.pipeline().items(Split::Train).unwrap_or_default();
    let learned: HashSet<&Path> = learned.iter().map(|item| item.image.as_path()).collect();
    // What is broken among the images to learn from ends the training before its first step.
    let of_test = |finding: &Finding| match finding {
        Finding::UnreadableImage { image, .. } | Finding::UnreadableMask { image, .. } => {
            !learned.contains(image.as_path())
        }
        _ => false,
    };
    let told = |finding: &&Finding| !finding.is_fault() || of_test(finding);
    for finding in findings.iter().filter(told) {
        let kind = finding.kind();
        let place = found.iter().position(|known| known.kind == kind);
        let place = place.unwrap_or_else(|| {
            found.push(Findings {
                kind: kind.to_owned(),
                count: 0,
                first: Vec::new(),
            });
            found.len() - 1
        });
        let of_kind = &mut found[place];
        of_kind.count += 1;
        if of_kind.count <= SHOWN {
            of_kind.first.push(finding.to_string());
        }
    }
    let mut left = 0;
    for Findings { count, first, .. } in &found {
        for sentence in first.iter().take(WARNED) {
            tracing::warn!("{sentence}");
        }
        left += count - first.len().min(WARNED);
    }
    if left > 0 {
        let config = run.dir().join("config.yaml");
        tracing::warn!(
            "and {left} more of the same kinds: `daf-cli data check {} --all` prints them",
            config.display()
        );
    }
    found
}

/// Leaves in a run what was found in its images, for its page.
pub(crate) fn keep(run: &Path, found: &[Findings]) -> Result<(), Failure> {
    Ok(write_json(&run.join(FINDINGS), &found)?)
}

/// Images of a kind on the sheet.
const COLUMNS: usize = 8;
/// Kinds on the sheet, at most.
const ROWS: usize = 24;
/// Pixels of the longer side of an image on the sheet.
const SIDE: u32 = 128;

/// Images of every split and kind, in the order of the report's counts, with the outline of their masks. What cannot be
/// read is left out.
fn sheet(dataset: &dyn Dataset, reading: Reading) -> RgbImage {
    let mut kinds: BTreeMap<(Split, Option<String>, Option<String>), Vec<Item>> = BTreeMap::new();
    for split in Split::ALL {
        for item in dataset.survey(split).items {
            let kind = (split, item.category.clone(), item.defect.clone());
            kinds.entry(kind).or_default().push(item);
        }
    }
    let picture = |item: &Item| {
        let mut small = overlay::scaled(&dataset.open(item, reading).ok()?.rgb, SIDE);
        if let Ok(Some(mask)) = dataset.mask(item) {
            let mask = imageops::resize(&mask, small.width(), small.height(), FilterType::Triangle);
            overlay::outline(&mut small, &mask);
        }
        Some(small)
    };
    let rows: Vec<Vec<RgbImage>> = kinds
        .values()
        .take(ROWS)
        .map(|items| {
            // Spread over the kind: neighbours often look alike.
            let step = items.len().div_ceil(COLUMNS).max(1);
            items.iter().step_by(step).filter_map(picture).collect()
        })
        .collect();
    overlay::sheet(&rows)
}
