//! `--within`: a training of as many steps as a time allows.

use std::time::Duration;

use daf_pipeline::Pipeline;
use daf_pipeline::train::Pace;
use indicatif::HumanDuration;

use crate::Context;
use crate::failure::Failure;

/// A time as the command line gives it: `90s`, `10m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("expected a time such as 90s, 10m or 1h30m, found `{text}`");
    let mut seconds = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(refused)?;
        let number: f64 = rest[..end].parse().map_err(|_| refused())?;
        let unit = rest[end..].trim_start();
        let letters = unit
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(unit.len());
        seconds += number
            * match &unit[..letters] {
                "s" | "sec" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                _ => return Err(refused()),
            };
        rest = unit[letters..].trim_start();
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(refused()),
    }
}

/// A training of fewer than this share of the steps that its pipeline asks for is warned of.
const TOO_FEW: f64 = 0.25;

/// Gives the training of a pipeline as many steps as fit into `budget`, counted from the start of the command; never more than it asks for. Says
/// what was measured and chosen.
pub(crate) fn shorten(
    pipeline: &mut Pipeline,
    budget: Duration,
    tests: usize,
    context: &mut Context,
) -> Result<(), Failure> {
    let method = pipeline.method.typetag_name();
    if !pipeline.method.learns() {
        return context.remark(&format!(
            "--within: method {method} has no training steps, so there is nothing to shorten"
        ));
    }
    let images = pipeline.normals().map_err(Failure::usage)?.train.len();
    let asked = pipeline.trainer.total_steps(images);
    let pace = Pace::measure(pipeline, &context.environment.weight_folders(), tests)?;
    let spent = context.started.elapsed().as_secs_f64();
    let within = HumanDuration(budget);
    let Some(fitting) = pace.steps_within(budget.as_secs_f64() - spent) else {
        let least =
            Duration::try_from_secs_f64(spent + pace.rest + 100.0 * pace.step).unwrap_or(Duration::MAX);
        return Err(Failure::usage(format!(
            "--within: {within} are too short: what is left after {:.0} s of loading and measuring does not hold one step of {:.2} s \
             and the rest of the run, about {:.0} s; {} would hold 100 steps, and `recipe: balanced` needs none",
            spent,
            pace.step,
            pace.rest,
            HumanDuration(least)
        )));
    };
    let all = pace.step * asked as f64 + pace.rest + spent;
    if fitting >= asked {
        return context.remark(&format!(
            "--within {within}: all {asked} steps fit, {:.2} s each; the run takes about {}",
            pace.step,
            human(all)
        ));
    }
    pipeline.trainer.shorten(fitting);
    context.remark(&format!(
        "--within {within}: {fitting} of the {asked} steps that the pipeline asks for, {:.2} s each, and about {:.0} s for the rest \
         of the run; config.yaml records trainer.steps: {fitting}",
        pace.step, pace.rest
    ))?;
    if (fitting as f64) < TOO_FEW * asked as f64 {
        context.remark(&format!(
            "that is {:.0} % of them, too few for what the pipeline was made for: expect it to find less. All would take about {}; \
             `recipe: balanced` needs no steps",
            (100.0 * fitting as f64 / asked as f64).max(1.0),
            human(all)
        ))?;
    }
    Ok(())
}

fn human(seconds: f64) -> HumanDuration {
    HumanDuration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        for (text, seconds) in [
            ("90s", 90.0),
            ("10m", 600.0),
            ("10 min", 600.0),
            ("1h30m", 5400.0),
            ("0.5h", 1800.0),
        ] {
            assert_eq!(duration(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "-5m",
            "5 days",
            "0s",
            "1e9999h",
            "99999999999999999999999h",
            "5m3",
        ] {
            assert!(duration(text).unwrap_err().contains("10m"), "{text}");
        }
    }
}
