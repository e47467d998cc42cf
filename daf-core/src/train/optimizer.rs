//! Optimizers whose state can be saved: tch offers no way to read that of its own.

use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::config::Optimizer;
use crate::part::method::Store;

/// The trainable variables of a model and what the optimizer remembers of each.
#[derive(Debug)]
pub(crate) struct OptimizerState {
    rule: Optimizer,
    /// Sorted by name.
    slots: Vec<Slot>,
    /// Finished steps.
    steps: u64,
}

#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    moments: Vec<Tensor>,
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

impl OptimizerState {
    pub(crate) fn new(rule: &Optimizer, stores: &[Store]) -> Self {
        let mut slots: Vec<Slot> = stores
            .iter()
            .filter(|store| !store.frozen)
            .flat_map(|store| {
                named_parameters(store.vars).map(|(name, p)| (format!("{}.{name}", store.name), p))
            })
            .map(|(name, parameter)| {
                let moments = match rule {
                    Optimizer::Adamw { .. } => vec![parameter.zeros_like(), parameter.zeros_like()],
                    Optimizer::Sgd { .. } => vec![parameter.zeros_like()],
                };
                Slot {
                    name,
                    parameter,
                    moments,
                }
            })
            .collect();
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            rule: rule.clone(),
            slots,
            steps: 0,
        }
    }

    pub(crate) fn zero_grad(&mut self) {
        for slot in &mut self.slots {
            slot.parameter.zero_grad();
        }
    }

    /// The first parameter whose gradient is not finite. Costs one value read by the host unless there is one.
    pub(crate) fn not_finite(&self) -> Option<&str> {
        let gradients = || {
            self.slots
                .iter()
                .map(|slot| (slot, slot.parameter.grad()))
                .filter(|(_, g)| g.defined())
        };
        let sums: Vec<Tensor> = gradients()
            .map(|(_, gradient)| gradient.sum(Kind::Float))
            .collect();
        if sums.is_empty()
            || Tensor::stack(&sums, 0)
                .sum(Kind::Double)
                .double_value(&[])
                .is_finite()
        {
            return None;
        }
        let broken = |gradient: &Tensor| !gradient.sum(Kind::Float).double_value(&[]).is_finite();
        gradients()
            .find(|(_, gradient)| broken(gradient))
            .map(|(slot, _)| slot.name.as_str())
    }

    /// Changes the parameters by their gradients, at the rate of the rule times `factor`.
    pub(crate) fn step(&mut self, factor: f64) {
        self.steps += 1;
        let (rule, steps) = (&self.rule, self.steps);
        tch::no_grad(|| {
            for slot in &mut self.slots {
                let gradient = slot.parameter.grad();
                if gradient.defined() {
                    slot.step(rule, &gradient, factor, steps);
                }
            }
        });
    }

    /// Everything that a checkpoint must keep, except [`steps`](Self::steps).
    pub(crate) fn tensors(&self) -> Vec<(String, Tensor)> {
        let named = |slot: &Slot| {
            let name = slot.name.clone();
            slot.moments
                .iter()
                .enumerate()
                .map(move |(k, m)| (format!("{name}#{k}"), m.shallow_clone()))
                .collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(named).collect()
    }

    /// Takes over saved tensors; says what is wrong with them otherwise.
    pub(crate) fn restore(&mut self, saved: &[(String, Tensor)], steps: u64) -> Result<(), String> {
        let saved: std::collections::HashMap<_, _> =
            saved.iter().map(|(name, t)| (name.as_str(), t)).collect();
        for (name, mut moment) in self.tensors() {
            let tensor = saved
                .get(name.as_str())
                .ok_or_else(|| format!("`{name}` is missing"))?;
            if tensor.size() != moment.size() {
                return Err(format!(
                    "`{name}` should be {:?} but is {:?}",
                    moment.size(),
                    tensor.size()
                ));
            }
            moment.copy_(tensor);
        }
        self.steps = steps;
        Ok(())
    }
}

impl Slot {
    fn step(&mut self, rule: &Optimizer, gradient: &Tensor, factor: f64, steps: u64) {
        let parameter = &mut self.parameter;
        match (rule, &mut self.moments[..]) {
            (
                Optimizer::Adamw {
                    learning_rate,
                    weight_decay,
                },
                [mean, square],
            ) => {
                let rate = learning_rate * factor;
                let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(steps).unwrap_or(i32::MAX));
                *parameter *= 1.0 - rate * weight_decay;
                let _ = mean.lerp_(gradient, 1.0 - BETAS.0);
                *square *= BETAS.1;
                *square += gradient.square() * (1.0 - BETAS.1);
                let deviation = square.sqrt() / correction(BETAS.1).sqrt() + EPSILON;
                *parameter -= (&*mean / deviation) * (rate / correction(BETAS.0));
            }
            (
                Optimizer::Sgd {
                    learning_rate,
                    momentum,
                    weight_decay,
                },
                [velocity],
            ) => {
                *velocity *= *momentum;
                *velocity += gradient + &*parameter * *weight_decay;
                *parameter -= &*velocity * (learning_rate * factor);
            }
            _ => unreachable!("`new` gives each rule its moments"),
        }
    }
}

/// The trainable variables of a store with their names.
fn named_parameters(vars: &VarStore) -> impl Iterator<Item = (String, Tensor)> {
    vars.variables()
        .into_iter()
        .filter(|(_, variable)| variable.requires_grad())
}
