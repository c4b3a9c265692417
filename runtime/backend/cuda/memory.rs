//! Device memory of a plan beside its weights: buffers, the KV cache, the step, and what lies between two launches of one operation.

use super::best::{self, Best};
use super::driver::{Allocations, Driver};
use super::launch::{Addresses, Scratch, WeightAddresses};
use super::ops;
use super::params::Step as StepHead;
use crate::plan::{KvDecl, Op, Plan, StepRow};

/// Elements of a cached head that kernels read at a time: `PIECE` of kernels/attention/kv.cuh.
const KV_PIECE: u32 = 8;

/// Bytes of each scratch memory, in the order of [`Scratch::ALL`]: the most that an operation of the plan takes.
fn scratch_bytes(plan: &Plan, n_sms: u32) -> [u64; Scratch::ALL.len()] {
    let mut most = [0; Scratch::ALL.len()];
    let of_op = |op: &Op| [op.parts(), vec![*op]].concat();
    for op in plan.decode.iter().chain(&plan.prefill).flat_map(of_op) {
        for (scratch, bytes) in ops::of(&op).scratch(plan, n_sms) {
            let most = &mut most[scratch as usize];
            *most = bytes.max(*most);
        }
    }
    most
}

/// Bytes of a step of this many tokens.
fn step_bytes(n_tokens: u32) -> u64 {
    (size_of::<StepHead>() + n_tokens as usize * size_of::<StepRow>()) as u64
}

/// Bytes of all that [`allocate`] takes, but for the KV cache.
pub fn buffer_bytes(plan: &Plan, n_sms: u32) -> u64 {
    plan.buf_bytes()
        + step_bytes(plan.max_tokens)
        + best::all_bytes(plan)
        + scratch_bytes(plan, n_sms).iter().sum::<u64>()
}

/// Bytes of the KV cache: the elements of a head are padded to whole pieces of [`KV_PIECE`].
pub fn kv_bytes(kv: &KvDecl) -> u64 {
    KvDecl { head_dim: kv.head_dim.next_multiple_of(KV_PIECE), ..*kv }.bytes()
}

/// Takes the memory of a plan. The error says what there was no room for.
pub fn allocate(
    plan: &Plan,
    weights: WeightAddresses,
    driver: &mut impl Driver,
    allocations: &mut Allocations,
) -> Result<Addresses, String> {
    let n_sms = driver.properties().n_sms;
    let mut bufs = vec![];
    for b in plan.buf_ids() {
        let what = format!("buffer {}", plan[b].name);
        bufs.push(allocations.alloc(driver, 4 * plan.buf_len(b) as u64, &what)?);
    }
    let step = allocations.alloc(driver, step_bytes(plan.max_tokens), "the step")?;
    let mut scratch = scratch_bytes(plan, n_sms);
    for (at, scratch) in scratch.iter_mut().zip(Scratch::ALL) {
        let bytes = *at;
        *at = allocations.alloc(driver, bytes, scratch.name())?;
        if scratch.is_zero_between_launches() {
            driver.zero(*at, bytes)?;
        }
    }
    let best = Best::new(plan, driver, allocations)?;
    let bytes = kv_bytes(&plan.kv) / 2 / plan.kv.layers.max(1) as u64;
    let mut cache = |what: &str| -> Result<Vec<_>, String> {
        (0..plan.kv.layers)
            .map(|layer| {
                let ptr = allocations.alloc(driver, bytes, &format!("{what} of layer {layer}"))?;
                // Attention on tensor cores multiplies slots between two windows by zero: they must hold numbers.
                driver.zero(ptr, bytes)?;
                Ok(ptr)
            })
            .collect()
    };
    let (keys, values) = (cache("keys")?, cache("values")?);
    Ok(Addresses { bufs, weights, keys, values, step, scratch, best })
}
