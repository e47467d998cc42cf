use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daf_core::{Synthesis, overlay};
use daf_pipeline::Pipeline;
use daf_pipeline::samples::{Sample, Samples, picture};
use serde_json::json;

use crate::Context;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::pipeline::PipelineArgs;
use crate::progress::Counter;

/// Look at synthetic defects, and at what they cost
#[derive(Debug, clap::Args)]
pub(crate) struct Synth {
    #[command(subcommand)]
    verb: SynthVerb,
}

#[derive(Debug, clap::Subcommand)]
enum SynthVerb {
    Preview(Preview),
    Bench(Bench),
}

impl Synth {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        match &self.verb {
            SynthVerb::Preview(verb) => verb.run(context),
            SynthVerb::Bench(verb) => verb.run(context),
        }
    }
}

/// Draw training samples: the normal image, the damaged one, and that with the outline of the mask
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli synth preview pipeline.yaml -o sheet.png
  daf-cli synth preview pipeline.yaml -n 48 --set synthesizer.type=cutpaste -o cutpaste.png

The samples are the first ones that a training with the same settings sees; the
same settings give the same picture, byte by byte.")]
struct Preview {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// How many samples
    #[arg(short = 'n', long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    number: u32,
    /// The picture to write: .png, .jpg, .bmp or .tiff
    #[arg(short, long, value_name = "FILE", default_value = "synth.png")]
    output: PathBuf,
}

impl Preview {
    fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(&context.environment)?;
        let inputs = Inputs::of(&pipeline).and(&self.pipeline.file, "the pipeline file");
        inputs.spare(&self.output)?;
        let samples = samples(&pipeline)?;
        let mut counter = Counter::new("synthesizing");
        let number = self.number as usize;
        let (mut drawn, mut shares, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for done in 0..number {
            let (epoch, place) = (done / samples.len(), done % samples.len());
            let index = samples.order(epoch as u64)[place];
            let sample = samples.sample(epoch as u64, index)?;
            // Once more, now that images and textures are in memory.
            let started = Instant::now();
            samples.sample(epoch as u64, index)?;
            times.push(started.elapsed().as_secs_f64());
            shares.extend(share(&sample));
            drawn.push(sample);
            counter.set(done + 1, number);
        }
        counter.finish();
        overlay::save(&picture(&drawn), &self.output)?;

        let out = &mut context.out;
        let damaged = shares.len();
        writeln!(out, "damaged           {damaged} of {number}")?;
        if damaged == 0 {
            tracing::warn!("the synthesizer made no defect in any of these samples");
        } else {
            shares.sort_by(f64::total_cmp);
            let percent = |share: f64| 100.0 * share;
            writeln!(
                out,
                "anomalous pixels  {:.2} % on average, {:.2} % median, {:.2} to {:.2} %",
                percent(shares.iter().sum::<f64>() / damaged as f64),
                percent(shares[damaged / 2]),
                percent(shares[0]),
                percent(shares[damaged - 1])
            )?;
        }
        times.sort_by(f64::total_cmp);
        writeln!(
            out,
            "time per sample   {:.2} ms on average, {:.2} ms median",
            1e3 * times.iter().sum::<f64>() / number as f64,
            1e3 * times[number / 2]
        )?;
        Ok(writeln!(out, "sheet             {}", self.output.display())?)
    }
}

/// Share of the pixels that are damaged; `None` for an image that was left as it is.
fn share(sample: &Sample) -> Option<f64> {
    match &sample.outcome {
        Some(Synthesis::Anomalous(synthetic)) => {
            let pixels = synthetic.mask.as_raw();
            Some(pixels.iter().filter(|v| **v > 0).count() as f64 / pixels.len() as f64)
        }
        _ => None,
    }
}

/// Measure how many samples a second the synthesizer makes of images in memory
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli synth bench pipeline.yaml
  daf-cli synth bench pipeline.yaml --threads 1,4,8 --seconds 10 --json")]
struct Bench {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Numbers of threads to measure with; by default one and one per core
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Seconds per measurement, of which there are five for each number of threads
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Print one JSON object per number of threads
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0.01 to 3600".into()),
    }
}

/// Measurements for each number of threads.
const REPEATS: usize = 5;

impl Bench {
    fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(&context.environment)?;
        let name = pipeline
            .synthesizer
            .as_ref()
            .map_or("none", |part| part.typetag_name());
        let samples = samples(&pipeline)?;
        // Images and textures come into memory first.
        let known = samples.len().min(256);
        for epoch in 0..4 {
            for index in 0..known {
                samples.sample(epoch, index)?;
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads: Vec<usize> = match &self.threads[..] {
            [] if cores == 1 => vec![1],
            [] => vec![1, cores],
            given => given.iter().map(|count| usize::from(*count)).collect(),
        };
        let size = pipeline.input.size;
        if !self.json {
            writeln!(context.out, "{name} at {size}, images in memory\n")?;
            writeln!(
                context.out,
                "threads  samples/s  (least to most)    ms/sample  speed-up"
            )?;
        }
        let mut single = None;
        for count in threads {
            let mut rates = Vec::with_capacity(REPEATS);
            for repeat in 0..REPEATS {
                rates.push(rate(
                    &samples,
                    known,
                    count,
                    repeat,
                    Duration::from_secs_f64(self.seconds),
                )?);
            }
            rates.sort_by(f64::total_cmp);
            let (least, median, most) = (rates[0], rates[REPEATS / 2], rates[REPEATS - 1]);
            let per_thread = 1e3 * count as f64 / median;
            let single = *single.get_or_insert(median / count as f64);
            if self.json {
                let line = json!({
                    "synthesizer": name, "height": size.height(), "width": size.width(), "threads": count,
                    "samples_per_second": { "least": least, "median": median, "most": most },
                });
                writeln!(context.out, "{line}")?;
            } else {
                writeln!(
                    context.out,
                    "{count:>7}  {median:>9.0}  {:<17}  {per_thread:>9.3}  {:>8.2}",
                    format!("({least:.0} to {most:.0})"),
                    median / single
                )?;
            }
            context.out.flush()?;
        }
        Ok(())
    }
}

/// Samples per second of a number of threads.
fn rate(
    samples: &Arc<Samples>,
    known: usize,
    threads: usize,
    repeat: usize,
    time: Duration,
) -> Result<f64, Failure> {
    let made = AtomicU64::new(0);
    let started = Instant::now();
    let work = |thread: usize| -> daf_core::Result<()> {
        for number in (thread..).step_by(threads) {
            samples.sample((4 + repeat + number / known) as u64, number % known)?;
            made.fetch_add(1, Ordering::Relaxed);
            // Only now: a rate of no sample at all says nothing, however late a thread starts.
            if started.elapsed() >= time {
                break;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| Failure::work("the synthesizer panicked; its message is above"))?
                .map_err(Failure::from)
        })
    })?;
    Ok(made.into_inner() as f64 / started.elapsed().as_secs_f64())
}

/// The pipeline's training samples, all of which are damaged.
fn samples(pipeline: &Pipeline) -> Result<Arc<Samples>, Failure> {
    if pipeline.synthesizer.is_none() {
        return Err(Failure::usage(
            "synthesizer: the pipeline has none, so there is nothing to look at; `daf-cli list synthesizer` shows what \
             there is",
        ));
    }
    let normals = pipeline.normals()?;
    Ok(Arc::new(pipeline.samples(normals.train, 0.0)?))
}
