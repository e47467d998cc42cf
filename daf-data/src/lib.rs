//! Data sets: folders in MVTec's layout ([`Mvtec`]), lists of glob patterns ([`Folder`]) and surfaces and parts that
//! the program draws itself ([`Demo`]).

#![forbid(unsafe_code)]

mod demo;
mod folder;
mod masks;
mod mvtec;

pub use demo::{Demo, Kind};
pub use folder::Folder;
pub use mvtec::Mvtec;
