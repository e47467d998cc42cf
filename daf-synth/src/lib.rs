//! Synthetic defects: the default synthesizers of daf, on the CPU.
//!
//! A strategy is a [`shape`] (where the defect is) filled with a [`texture`] (what it looks like) by [`blend`](mod@blend)
//! (how much of the normal image shows through):
//!
//! | strategy | shape | texture |
//! |---|---|---|
//! | [`Dra`] | thresholded Perlin noise | images, augmented |
//! | [`SimpleTexture`] | thresholded Perlin noise | one random colour |
//! | [`SimpleShape`] | one rectangle | images, augmented |
//! | [`SimpleTextureShape`] | one rectangle | one random colour |
//! | [`Nsa`] | rectangles or ellipses | patches of other normal images, [blended](poisson) without a seam |
//! | [`Foreground`] | that of another strategy, on the object only | that of the other strategy |
//!
//! The pieces are public, so that a plugin can combine them with its own; [`strategy::compose`] does it.

#![forbid(unsafe_code)]

pub mod blend;
pub mod foreground;
mod median;
pub mod poisson;
mod range;
mod rotate;
pub mod shape;
pub mod strategy;
pub mod texture;

pub use range::Range;
pub use strategy::dra::Dra;
pub use strategy::foreground::Foreground;
pub use strategy::nsa::{self, Nsa};
pub use strategy::simple_shape::SimpleShape;
pub use strategy::simple_texture::SimpleTexture;
pub use strategy::simple_texture_shape::SimpleTextureShape;
