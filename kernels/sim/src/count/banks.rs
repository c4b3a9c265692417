//! Banks of shared memory.

use crate::ir::Row64;

/// Passes over the 32 banks of 4 bytes that a request takes, and the fewest it could take.
///
/// Lanes with wider (aligned) accesses are served in groups that cover the banks once; equal addresses are served together.
pub(crate) fn wavefronts(a: &Row64, bytes: u32, m: u32) -> (u64, u64) {
    let unit = u64::from(bytes.clamp(4, 128));
    // Units side by side over all banks, which is also the number of lanes served together.
    let group = (128 / unit) as usize;
    let (mut total, mut fewest) = (0, 0);
    for first in (0..32).step_by(group) {
        // The first unit of each bank, then those that collide with it.
        let mut firsts = [u64::MAX; 32];
        let mut more = [u64::MAX; 32];
        let (mut collisions, mut depth) = (0, [0u64; 32]);
        for l in (first..first + group).filter(|l| m >> l & 1 != 0) {
            let (u, bank) = (a[l] / unit, (a[l] / unit) as usize % group);
            if depth[bank] == 0 {
                firsts[bank] = u;
                depth[bank] = 1;
            } else if firsts[bank] != u && !more[..collisions].contains(&u) {
                more[collisions] = u;
                collisions += 1;
                depth[bank] += 1;
            }
        }
        let deepest = depth.iter().copied().max().unwrap_or(0);
        total += deepest;
        fewest += deepest.min(1);
    }
    (total, fewest)
}
