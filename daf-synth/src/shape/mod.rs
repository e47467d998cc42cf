//! Shapes: outlines of defects.

pub use daf_core::{Region, Shape};

pub mod ellipses;
pub mod perlin;
pub mod rectangle;
pub mod scar;

pub use ellipses::Ellipses;
pub use perlin::Perlin;
pub use rectangle::Rectangle;
pub use scar::Scar;
