use super::Session;
use crate::backend::{self, Backend, DeviceChoice, Error, gib};
use crate::gguf::Gguf;
use crate::model::{self, Model, PlanOptions};
use crate::plan::{DECODE_TOKENS, KvType, Plan, fuse};
use std::path::Path;
use thiserror::Error as ThisError;

/// How a model is loaded.
#[derive(Clone, PartialEq, Debug)]
pub struct LoadOptions {
    pub device: DeviceChoice,
    /// Context in tokens; without it the model's own, lowered to what fits in memory.
    pub n_ctx: Option<u32>,
    pub kv: KvType,
    /// The most tokens of one prefill step.
    pub chunk: u32,
    /// The most rows of logits of one step.
    pub max_outputs: u32,
}

impl Default for LoadOptions {
    /// A chunk of 256 tokens: beyond it the CPU gains nothing and the buffers of an 8B model stay below 60 MiB.
    fn default() -> LoadOptions {
        LoadOptions { device: DeviceChoice::Auto, n_ctx: None, kv: KvType::F16, chunk: 256, max_outputs: DECODE_TOKENS }
    }
}

#[derive(Debug, ThisError)]
pub enum LoadError {
    #[error(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    Backend(#[from] Error),
    #[error("-c {n_ctx}: expected 1 to {most}")]
    Context { n_ctx: u32, most: u32 },
    /// The message names the context, what it needs, what there is, and what would fit.
    #[error("{0}")]
    Memory(String),
}

/// Contexts that are lowered to fit are multiples of this.
const CONTEXT_STEP: u32 = 256;
/// The most slots that a KV cache may have.
const MAX_CONTEXT: u32 = 1 << 24;

/// A model on a device.
pub struct Loaded {
    pub model: Model,
    pub session: Session,
    /// What the user should know: a context that was lowered, or that exceeds what the model was trained for.
    pub notices: Vec<String>,
}

/// Opens the model file, then [`load_model`].
pub fn load(path: &Path, options: &LoadOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<Loaded, LoadError> {
    let gguf = Gguf::open(path).map_err(model::Error::from)?;
    load_model(Model::new(gguf)?, options, progress)
}

/// Opens the device, chooses the context, fuses the plan and loads the weights. `progress` is told the bytes of weights done
/// and to do.
pub fn load_model(
    model: Model,
    options: &LoadOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Loaded, LoadError> {
    let mut notices = vec![];
    // A plan of the smallest context finds what is wrong with the tensors before any device is opened.
    planned(&model, options, 1)?;
    let mut device = backend::open(options.device)?;
    let n_ctx = choose_context(&model, options, &*device, &mut notices)?;
    let mut plan = planned(&model, options, n_ctx)?;
    fuse(&mut plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
    backend::check_supported(&*device, &plan)?;
    let weights = model.weights(&plan)?;
    let total = plan.weight_bytes();
    device.load(&plan, &weights, &mut |done| progress(done, total))?;
    Ok(Loaded { model, session: Session::new(device, plan), notices })
}

fn planned(model: &Model, options: &LoadOptions, n_ctx: u32) -> Result<Plan, LoadError> {
    let max_tokens = options.chunk.clamp(1, n_ctx.max(DECODE_TOKENS));
    let max_outputs = options.max_outputs.min(max_tokens);
    Ok(model.plan(&PlanOptions { n_ctx, max_tokens, max_outputs, kv: options.kv })?)
}

/// The context to use: the one asked for if it fits, the model's own or the largest that fits if none was.
fn choose_context(
    model: &Model,
    options: &LoadOptions,
    device: &dyn Backend,
    notices: &mut Vec<String>,
) -> Result<u32, LoadError> {
    let trained = model.config.n_ctx_train;
    let wanted = options.n_ctx.unwrap_or(trained.min(MAX_CONTEXT));
    if wanted == 0 || wanted > MAX_CONTEXT {
        return Err(LoadError::Context { n_ctx: wanted, most: MAX_CONTEXT });
    }
    if wanted > trained {
        notices.push(format!("-c {wanted}: the model was trained for {trained} positions, quality drops beyond"));
    }
    let footprint = |n_ctx| Ok::<_, LoadError>(device.footprint(&planned(model, options, n_ctx)?));
    let Some(memory) = device.memory() else {
        return Ok(wanted);
    };
    let needs = footprint(wanted)?;
    if needs.total() <= memory.free {
        return Ok(wanted);
    }
    // The largest multiple of CONTEXT_STEP that fits: `low` fits, `high` does not.
    let (mut low, mut high) = (0, wanted.div_ceil(CONTEXT_STEP));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match footprint(middle * CONTEXT_STEP)?.total() <= memory.free {
            true => low = middle,
            false => high = middle,
        }
    }
    let fits = low * CONTEXT_STEP;
    let most = match fits {
        0 => "no context fits".to_string(),
        fits => format!("the most that fits is -c {fits}"),
    };
    let message = format!(
        "-c {wanted}: needs {} ({} weights + {} KV cache + {} buffers), {} has {} free; {most}",
        gib(needs.total()),
        gib(needs.weights),
        gib(needs.kv),
        gib(needs.buffers),
        device.name(),
        gib(memory.free)
    );
    if options.n_ctx.is_some() || fits == 0 {
        return Err(LoadError::Memory(message));
    }
    notices.push(format!("context lowered to {fits} tokens: {message}"));
    Ok(fits)
}
