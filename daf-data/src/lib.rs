//! Data sets: published layouts ([`Mvtec`], [`Mpdd`], [`Btad`], [`Visa`], [`Dagm`], [`Kolektor`]), images of
//! your own by patterns ([`Folder`]) or by a table ([`Manifest`]), several data sets as one ([`Joined`], [`Multi`]), and
//! surfaces and parts that the program draws itself ([`Demo`]). [`audit`](audit()) looks a data set through
//! for what spoils training or measuring. [`look`](look()) finds out which data set a folder is.

#![forbid(unsafe_code)]

pub mod audit;
mod category;
mod dagm;
mod demo;
pub mod finding;
mod folder;
mod joined;
mod kind;
mod kolektor;
mod look;
mod manifest;
pub mod masks;
mod multi;
mod mvtec;
mod table;
mod visa;

pub use audit::{Audit, audit};
pub use dagm::Dagm;
pub use demo::{Demo, Kind};
pub use finding::Finding;
pub use folder::Folder;
pub use joined::Joined;
pub use kolektor::Kolektor;
pub use look::{Look, look};
pub use manifest::Manifest;
pub use multi::Multi;
pub use mvtec::{Btad, Mpdd, Mvtec};
pub use visa::Visa;
