//! The strategies: registered synthesizers, most of them a shape filled with a texture.

pub(crate) mod compose;
pub(crate) mod composed;
pub(crate) mod foreground;
pub(crate) mod mixture;
pub(crate) mod none;
pub mod nsa;
