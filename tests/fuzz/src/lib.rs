//! The bodies of the fuzz targets.

pub mod common;
pub mod targets;
