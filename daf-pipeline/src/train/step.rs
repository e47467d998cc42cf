//! One step of a training.

use tch::{Kind, Tensor};

use super::OptimizerState;
use daf_core::{Batch, Error, Model, Result, threads};

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From the batch to the losses.
    Forward,
    /// From the losses to the gradients.
    Backward,
    /// From the gradients to other parameters.
    Optimizer,
}

/// Position of a step, for errors.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The name of the method.
    pub method: &'a str,
    /// Counted from 0.
    pub epoch: u64,
    /// Counted from 0, over all epochs.
    pub step: u64,
}

/// Learns from a batch: changes the model's parameters at the optimizer's rate times `factor`, and returns the terms of the
/// loss. `ended` is told of each part once the device has been asked for it; a GPU may still be at work on it.
///
/// # Errors
/// [`Error::Diverged`] if a term or a gradient is not finite; the parameters stay as they are then.
pub fn step(
    model: &dyn Model,
    optimizer: &mut OptimizerState,
    batch: &Batch,
    factor: f64,
    place: Place<'_>,
    ended: impl FnMut(Phase),
) -> Result<Vec<(String, f64)>> {
    threads::with_all_threads(|| learn(model, optimizer, batch, factor, place, ended))
}

fn learn(
    model: &dyn Model,
    optimizer: &mut OptimizerState,
    batch: &Batch,
    factor: f64,
    place: Place<'_>,
    mut ended: impl FnMut(Phase),
) -> Result<Vec<(String, f64)>> {
    let Place { method, epoch, step } = place;
    let diverged = |term: String| Error::Diverged { epoch, step, term };
    let losses = model.losses(batch).map_err(|source| Error::Part {
        kind: daf_core::Kind::Method,
        name: method.into(),
        at: format!("epoch {epoch}, step {step}"),
        source,
    })?;
    if losses.is_empty() {
        return Err(diverged("a loss (the method gives no term)".into()));
    }
    let tensors: Vec<&Tensor> = losses.iter().map(|(_, loss)| loss).collect();
    let total = Tensor::f_stack(&tensors, 0)?.sum(Kind::Float);
    ended(Phase::Forward);

    optimizer.zero_grad();
    total.backward();
    // All that the host wants to know is read in one go: a GPU has to finish its work each time.
    let gradients = optimizer.gradient_sum();
    let numbers: Vec<Tensor> = (tensors.into_iter().chain(&gradients))
        .map(|number| number.detach().to_kind(Kind::Double))
        .collect();
    let numbers = Vec::<f64>::try_from(Tensor::f_stack(&numbers, 0)?)?;
    ended(Phase::Backward);

    let gradients = numbers.get(losses.len()).copied().unwrap_or(0.0);
    let names = losses.into_iter().map(|(name, _)| name);
    let terms: Vec<(String, f64)> = names.zip(numbers).collect();
    if let Some((term, _)) = terms.iter().find(|(_, value)| !value.is_finite()) {
        return Err(diverged(format!("the loss `{term}`")));
    }
    if !gradients.is_finite() {
        let name = optimizer.not_finite().unwrap_or("all parameters together");
        return Err(diverged(format!("the gradient of {name}")));
    }
    optimizer.step(factor);
    ended(Phase::Optimizer);
    Ok(terms)
}
