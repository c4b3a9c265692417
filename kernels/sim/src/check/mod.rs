//! What finds defects: the findings, and memory that records which threads accessed it.

pub(crate) mod finding;
pub(crate) mod global;
pub(crate) mod shared;
