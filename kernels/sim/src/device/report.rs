//! What a launch hands back.

use crate::check::finding::Finding;
use crate::count::counters::Counters;

/// What a launch did, and the defects that the checks found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// Name of the kernel.
    pub kernel: String,
    /// Instructions, sectors, bytes.
    pub counters: Counters,
    /// By line; empty if there are none.
    pub findings: Vec<Finding>,
    /// Output of the kernel's `printf`.
    pub printed: Vec<String>,
}

impl Report {
    /// Errors: the findings as one text, if there are any.
    pub fn check(&self) -> Result<(), String> {
        if self.findings.is_empty() {
            return Ok(());
        }
        Err(self.findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"))
    }
}
