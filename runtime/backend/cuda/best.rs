//! Selects the largest elements of a row on the device, so that sampling copies few logits.

use super::driver::{Allocations, Driver, Ptr, Purpose};
use super::entry::Entry;
use super::kernels::Kernels;
use super::launch::Call;
use super::params::{TOP_K_MOST, TOP_K_PART, TOP_K_THREADS, TopKParams};
use crate::plan::{Buf, Plan};

/// Memory of a selection.
pub struct Best {
    /// The values, then their indices.
    out: Ptr,
    /// The best of each part of a row.
    parts: Ptr,
}

/// Parts of a row of logits.
fn n_parts(n_cols: u32) -> u32 {
    n_cols.div_ceil(TOP_K_PART)
}

/// Bytes of the results, and of what lies between the two kernels; none if the plan has no logits.
fn bytes(plan: &Plan) -> Option<[u64; 2]> {
    let logits = plan.head.as_ref()?.logits;
    Some([8 * TOP_K_MOST as u64, 8 * (n_parts(plan[logits].cols) * TOP_K_MOST) as u64])
}

/// The entries that a plan with logits needs.
pub fn entries(plan: &Plan) -> impl Iterator<Item = Entry> {
    plan.head.iter().flat_map(|_| [Entry::TopKParts, Entry::TopK])
}

/// Bytes of all that [`Best::new`] takes.
pub fn all_bytes(plan: &Plan) -> u64 {
    bytes(plan).map_or(0, |all| all.iter().sum())
}

impl Best {
    /// Takes the memory; none if the plan has no logits.
    pub fn new(plan: &Plan, driver: &mut impl Driver, to: &mut Allocations) -> Result<Option<Best>, String> {
        let Some([out, parts]) = bytes(plan) else { return Ok(None) };
        let out = to.alloc(driver, out, "the largest logits")?;
        Ok(Some(Best { out, parts: to.alloc(driver, parts, "the largest logits of parts")? }))
    }

    /// The `k` largest elements of the first row of `x`, whose address is `ptr`, and their indices; falling, the lower index first
    /// among equals, NaN last. None if the kernels do not select that many. `step`: the address of the step that computed the row.
    pub fn of(
        &self,
        (plan, x, ptr): (&Plan, Buf, Ptr),
        k: usize,
        step: Ptr,
        kernels: &Kernels,
        driver: &mut impl Driver,
    ) -> Result<Option<Vec<(u32, f32)>>, String> {
        let n_cols = plan[x].cols;
        let n_parts = n_parts(n_cols);
        let fits = |k: &u32| (1..=TOP_K_MOST.min(n_cols)).contains(k) && n_parts * k <= TOP_K_PART;
        let Some(k) = u32::try_from(k).ok().filter(fits) else { return Ok(None) };
        let ids = self.out + 4 * k as u64;
        let params =
            TopKParams { values: self.out, ids, x: ptr, parts: self.parts, step, n_cols, n_parts, k, reserved: 0 };
        for (entry, grid) in [(Entry::TopKParts, [n_parts, 1, 1]), (Entry::TopK, [1, 1, 1])] {
            let call = Call::new(entry, grid, TOP_K_THREADS, &params);
            driver.launch(&call.launch(kernels, Purpose::Best, false)?)?;
        }
        let mut words = vec![0u32; 2 * k as usize];
        driver.download(self.out, bytemuck::cast_slice_mut(&mut words))?;
        let (values, ids) = words.split_at(k as usize);
        Ok(Some(ids.iter().copied().zip(values.iter().map(|bits| f32::from_bits(*bits))).collect()))
    }
}
