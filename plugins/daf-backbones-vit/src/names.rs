//! Names of weights: those of Hugging Face's `Dinov2Model` as DINOv2's authors have them.

use std::collections::HashMap;

use daf_core::tch::Tensor;

/// Parts of a name as Hugging Face has it and as DINOv2 does.
const PARTS: [(&str, &str); 9] = [
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("encoder.layer", "blocks"),
    ("attention.output.dense", "attn.proj"),
    ("attention.attention.query", "attn.qkv"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("layernorm", "norm"),
];

/// Which of queries, keys and values a tensor leads to: DINOv2 has the three in one, one below the other.
const ATTENTION: [&str; 3] = [
    "attention.attention.query",
    "attention.attention.key",
    "attention.attention.value",
];

/// Tensors of either names with DINOv2's. What has other names stays as it is, and so does what is before the network's own name.
pub(crate) fn translate(tensors: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
    let given: HashMap<&str, &Tensor> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let [query, others @ ..] = ATTENTION;
    let one = |(name, tensor): &(String, Tensor)| {
        if others.iter().any(|other| has(name, other)) {
            return None;
        }
        let mut value = tensor.shallow_clone();
        if has(name, query) {
            let others = others.map(|other| given.get(name.replace(query, other).as_str()).copied());
            // Whatever does not make up one tensor is left for the loader to find fault with.
            if let [Some(keys), Some(values)] = others {
                value = Tensor::f_cat(&[tensor, keys, values], 0).unwrap_or(value);
            }
        }
        Some((rename(name), value))
    };
    tensors.iter().filter_map(one).collect()
}

/// Where a part stands in a name, as whole words between dots.
fn place(name: &str, part: &str) -> Option<usize> {
    let starts = |&(at, _): &(usize, &str)| at == 0 || name[..at].ends_with('.');
    let ends = |(at, _): &(usize, &str)| {
        let rest = &name[at + part.len()..];
        rest.is_empty() || rest.starts_with('.')
    };
    let mut places = name.match_indices(part).filter(starts);
    places.find(ends).map(|(at, _)| at)
}

fn has(name: &str, part: &str) -> bool {
    place(name, part).is_some()
}

fn rename(name: &str) -> String {
    let mut name = name.to_owned();
    for (theirs, ours) in PARTS {
        if let Some(at) = place(&name, theirs) {
            name.replace_range(at..at + theirs.len(), ours);
        }
    }
    name
}
