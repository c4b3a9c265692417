//! What looks for defects: findings, and memory that records who touched it.

pub(crate) mod finding;
pub(crate) mod global;
pub(crate) mod shared;
