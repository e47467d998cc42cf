//! Synthetic defects: the default synthesizers of daf, on the CPU.
//!
//! Most strategies are a [`shape`] (where the defect is) filled with a [`texture`] (what it looks like) by
//! [`blend`](mod@blend) (how much of the normal image shows through). Shapes and textures are parts
//! themselves, so `compose` can combine any two, also those of other crates:
//!
//! | strategy | shape | texture |
//! |---|---|---|
//! | [`Compose`] | any | any |
//! | [`Dra`] | thresholded Perlin noise | images, augmented |
//! | [`SimpleTexture`] | thresholded Perlin noise | random colors |
//! | [`SimpleShape`] | one rectangle | images, augmented |
//! | [`SimpleTextureShape`] | one rectangle | random colors |
//! | [`CutPaste`] | one rectangle | the image itself |
//! | [`CutPasteScar`] | one small turned rectangle | the image itself |
//! | [`Nsa`] | rectangles or ellipses | patches of other normal images, [blended](poisson) without a seam |
//! | [`Foreground`] | that of another strategy, on the object only | that of the other strategy |
//!
//! [`CutPasteUnion`] and [`Mixture`] draw one of several strategies for each sample; [`Unaltered`] does
//! nothing.

#![forbid(unsafe_code)]

pub mod blend;
mod median;
pub mod object;
pub mod poisson;
mod range;
mod rotate;
mod round;
pub mod shape;
mod strategy;
pub mod texture;

pub use range::Range;
pub use strategy::compose::{Compose, OPACITY};
pub use strategy::composed::{
    CutPaste, CutPasteScar, CutPasteUnion, Dra, SimpleShape, SimpleTexture, SimpleTextureShape,
};
pub use strategy::foreground::Foreground;
pub use strategy::mixture::{Mixture, Weighted};
pub use strategy::none::Unaltered;
pub use strategy::nsa::{self, Nsa};
