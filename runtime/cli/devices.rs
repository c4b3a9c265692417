//! `pronk devices`: the devices of this machine.

use super::output::{plain_table, print};
use anyhow::Result;
use pronk::backend::{available, gib};

/// List the devices that a model can run on
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<()> {
    let mut table = plain_table(&["device", "kind", "memory", "free", "name", "limits", "features used"]);
    let or_dash = |text: String| if text.is_empty() { "-".to_string() } else { text };
    for device in available() {
        let (total, free) = device.memory.map_or_else(Default::default, |m| (gib(m.total), gib(m.free)));
        let (limits, features) = (device.limits.join(", "), device.features.join(", "));
        table.add_row([device.id, device.kind, total, free, device.name, limits, features].map(or_dash));
    }
    Ok(print(&table)?)
}
