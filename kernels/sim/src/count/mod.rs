//! What a launch did, counted, and an estimate of the time it takes on a GPU.

pub(crate) mod banks;
pub(crate) mod counters;
pub(crate) mod roofline;
