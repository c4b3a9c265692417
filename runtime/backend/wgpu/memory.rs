//! Device memory of a loaded plan: activations, the KV cache, the step and the weights.

use super::super::Error;
use super::adapters::{Gpu, buffer_bytes};
use super::weights::{Chunk, ChunkId, WeightStacks};
use crate::plan::{Buf, KV_BLOCK, KvDecl, KvType, Plan, StepRow, Weights};
use crate::quant::pack::padded;

/// Elements of the KV cache that kernels move at a time: heads are padded to whole units.
pub const KV_UNIT: u32 = 8;

/// Bytes before the rows of the step buffer.
pub const STEP_HEADER: usize = size_of::<StepRow>();

/// Bytes of the buffer that is bound where a kernel declares a variable that it does not use.
const PLACEHOLDER_BYTES: u64 = 16;

/// What a variable of a shader is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// A buffer of the plan.
    Buf(Buf),
    /// A weight that kernels read as floats: its one plane.
    Floats(ChunkId),
    /// Keys of a layer.
    Keys(u32),
    /// Values of a layer.
    Values(u32),
    /// Scales of the keys and values of a layer; the placeholder where the cache has none.
    KvScales(u32),
    /// Bound but not used: the kernel has the operand elsewhere.
    Placeholder,
}

/// The buffers of a loaded plan.
pub struct Buffers {
    /// One for each buffer of the plan.
    pub bufs: Vec<wgpu::Buffer>,
    /// A header, then one row per token.
    pub step: wgpu::Buffer,
    keys: Vec<wgpu::Buffer>,
    values: Vec<wgpu::Buffer>,
    /// Empty where the cache has no scales.
    kv_scales: Vec<wgpu::Buffer>,
    /// By stack.
    chunks: Vec<Vec<Chunk>>,
    placeholder: wgpu::Buffer,
}

impl Buffers {
    /// Allocates them, and uploads the weights. `progress` gets the bytes of weights done so far.
    ///
    /// Errors: more than a buffer or a binding holds, or than the device has; the message names the buffer.
    pub fn new(
        gpu: &Gpu,
        plan: &Plan,
        stacks: &WeightStacks,
        weights: &Weights,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Buffers, Error> {
        let mut bufs = vec![];
        for b in plan.buf_ids() {
            bufs.push(gpu.bound_buffer(&format!("buffer {}", plan[b].name), buf_bytes(plan, b))?);
        }
        let cache = |what: &str, bytes: u64| -> Result<Vec<wgpu::Buffer>, Error> {
            let layers = if bytes == 0 { 0 } else { plan.kv.layers };
            (0..layers).map(|layer| gpu.bound_buffer(&format!("{what} of layer {layer}"), bytes)).collect()
        };
        let (plane, scales) = kv_layer_bytes(&plan.kv);
        let (keys, values) = (cache("keys", plane)?, cache("values", plane)?);
        let kv_scales = cache("scales of keys and values", scales)?;
        Ok(Buffers {
            bufs,
            keys,
            values,
            kv_scales,
            chunks: stacks.upload(plan, weights, gpu, progress)?,
            step: gpu.bound_buffer("step", step_bytes(plan))?,
            placeholder: gpu.bound_buffer("placeholder", PLACEHOLDER_BYTES)?,
        })
    }

    /// What to bind for `resource`.
    pub fn resource(&self, resource: Resource) -> wgpu::BindingResource<'_> {
        match resource {
            Resource::Buf(b) => self.bufs[b.0 as usize].as_entire_binding(),
            Resource::Floats(chunk) => self.plane(chunk, 0),
            Resource::Keys(layer) => self.keys[layer as usize].as_entire_binding(),
            Resource::Values(layer) => self.values[layer as usize].as_entire_binding(),
            Resource::KvScales(layer) => {
                self.kv_scales.get(layer as usize).unwrap_or(&self.placeholder).as_entire_binding()
            }
            Resource::Placeholder => self.placeholder.as_entire_binding(),
        }
    }

    /// A plane of a chunk, or the codebook behind the planes.
    pub fn plane(&self, id: ChunkId, plane: usize) -> wgpu::BindingResource<'_> {
        let chunk = &self.chunks[id.stack][id.chunk];
        let bytes = &chunk.planes[plane];
        part(&chunk.buffer, bytes.start, bytes.end - bytes.start)
    }
}

/// `size` bytes of a buffer from `offset` on.
pub fn part(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: std::num::NonZero::new(size) })
}

/// Elements of a row of `buf` with its padding.
pub fn stride(plan: &Plan, buf: Buf) -> u32 {
    padded(plan[buf].cols as u64) as u32
}

/// Bytes of a buffer of the plan, rows padded.
fn buf_bytes(plan: &Plan, b: Buf) -> u64 {
    4 * plan.max_rows(plan[b].rows) as u64 * stride(plan, b) as u64
}

/// Bytes of the step buffer.
fn step_bytes(plan: &Plan) -> u64 {
    (STEP_HEADER + plan.max_tokens as usize * size_of::<StepRow>()) as u64
}

/// Bytes of all buffers but those of the weights and the KV cache.
pub fn activation_bytes(plan: &Plan) -> u64 {
    let bufs = plan.buf_ids().map(|b| buffer_bytes(buf_bytes(plan, b))).sum::<u64>();
    bufs + step_bytes(plan) + PLACEHOLDER_BYTES
}

/// Bytes of the KV cache.
pub fn kv_bytes(kv: &KvDecl) -> u64 {
    let (plane, scales) = kv_layer_bytes(kv);
    plane.saturating_mul(2).saturating_add(scales).saturating_mul(kv.layers as u64)
}

/// What of the KV cache is bound at once and has the most bytes, and the bytes.
pub fn largest_of_cache(kv: &KvDecl) -> (&'static str, u64) {
    let (plane, scales) = kv_layer_bytes(kv);
    if scales > plane { ("the scales of a layer", scales) } else { ("the keys of a layer", plane) }
}

/// Bytes of one layer's keys (or values), heads padded to whole units, and of the scales of both.
fn kv_layer_bytes(kv: &KvDecl) -> (u64, u64) {
    let sizes = [kv.slots, kv.heads, kv.head_dim.next_multiple_of(KV_UNIT)].map(u64::from);
    let elements = sizes.into_iter().fold(1, u64::saturating_mul);
    match kv.ty {
        KvType::F32 => (elements.saturating_mul(4), 0),
        KvType::F16 => (elements.saturating_mul(2), 0),
        KvType::Q8_0 => (elements, elements / KV_BLOCK as u64 * 4),
    }
}
