//! Loads a model onto a device.

use super::{DoesNotFit, Lack, LoadError, LoadEvent, LoadNotice, Session};
use crate::backend::{self, Backend, BackendOptions, DeviceChoice, Memory, reference::Reference};
use crate::gguf::{Gguf, Watch};
use crate::model::{Model, PlanOptions};
use crate::plan::{DECODE_TOKENS, KvType, Plan, fuse};
use crate::text::VocabNotice;
use std::path::Path;

/// How a model is loaded.
#[derive(Clone, PartialEq, Debug)]
pub struct LoadOptions {
    /// The device.
    pub device: DeviceChoice,
    /// Context length in tokens; None: the model's own, at most 262144 (8192 on a device that does not report its memory), as far
    /// as it fits.
    pub n_ctx: Option<u32>,
    /// Number format of the KV cache.
    pub kv: KvType,
    /// Maximum number of tokens in a prefill step.
    pub chunk: u32,
    /// Maximum number of rows of logits in a step.
    pub max_outputs: u32,
    /// What the device is asked for.
    pub backend: BackendOptions,
}

impl Default for LoadOptions {
    /// Prefill steps of 256 tokens: larger steps are no faster on the CPU, and the buffers of an 8B model stay below 60
    /// MiB.
    fn default() -> LoadOptions {
        LoadOptions {
            device: DeviceChoice::Auto,
            n_ctx: None,
            kv: KvType::F16,
            chunk: 256,
            max_outputs: DECODE_TOKENS,
            backend: BackendOptions::default(),
        }
    }
}

/// A context that is lowered to fit is a multiple of this.
const CONTEXT_STEP: u32 = 256;
/// Size in bytes from which a context is announced before it is allocated.
const LARGE: u64 = 1 << 30;
/// The longest context without a request: that of the models with the longest contexts in common use, such as Qwen3. What a file
/// claims beyond that costs tables and a cache that few texts fill.
const UNASKED_CONTEXT: u32 = 1 << 18;
/// The longest context without a request on a device that does not report its memory: the cache of an 8B model takes 1 GiB.
const UNREPORTED_CONTEXT: u32 = 8192;
/// Maximum number of slots of a KV cache.
const MAX_CONTEXT: u32 = 1 << 24;

/// A model that is loaded onto a device.
pub struct Loaded {
    /// Its hyperparameters, and the file.
    pub model: Model,
    /// The weights on the device, with an empty KV cache.
    pub session: Session,
    /// Notices for the user, in order.
    pub notices: Vec<LoadNotice>,
}

/// Opens the model file and calls [`load_model`].
///
/// Errors: those of the file and of [`load_model`].
pub fn load(path: &Path, options: &LoadOptions, on_event: &mut dyn FnMut(LoadEvent)) -> Result<Loaded, LoadError> {
    load_model(Model::new(Gguf::open(path)?)?, options, on_event)
}

/// Opens the device, chooses the context, fuses the plan and loads the weights. [`DeviceChoice::Auto`] tries all GPUs,
/// then the CPU.
///
/// Errors: a tensor is missing, has a wrong shape or has no use; the device is missing or cannot run the model; the
/// context does not fit.
pub fn load_model(
    model: Model,
    options: &LoadOptions,
    on_event: &mut dyn FnMut(LoadEvent),
) -> Result<Loaded, LoadError> {
    // A plan with the smallest context checks the tensors before a device is opened.
    let smallest = planned(&model, options, 1)?;
    let assumed = assumed(&model);
    let mut loaded = match options.device {
        DeviceChoice::Auto => {
            let gpus = backend::available().into_iter().filter(|device| device.is_gpu);
            let gpus = gpus.filter_map(|gpu| gpu.id.parse().ok());
            load_on_first(&gpus.collect::<Vec<_>>(), DeviceChoice::CPU, model, options, on_event)?
        }
        device @ DeviceChoice::Named(_) => {
            let mut notices = vec![];
            let session = load_on(device, &model, options, &mut notices, on_event).map_err(|e| {
                let on_cpu = [DeviceChoice::CPU, DeviceChoice::REFERENCE].contains(&device);
                let helps = !on_cpu && e.is_refusal();
                let helps = helps && backend::check_supported(&Reference::default(), &smallest).is_ok();
                if helps { LoadError::Refused(Box::new(e)) } else { e }
            })?;
            Loaded { model, session, notices }
        }
    };
    loaded.notices.extend(assumed);
    Ok(loaded)
}

/// What was assumed about a model's file.
fn assumed(model: &Model) -> Vec<LoadNotice> {
    let rows = model.config.n_vocab;
    let size = model.other_vocab_size.map(|claimed| LoadNotice::VocabSize { claimed, rows });
    let vocab = model.gguf().map(VocabNotice::of).unwrap_or_default();
    size.into_iter().chain(vocab.into_iter().map(LoadNotice::Vocab)).collect()
}

/// [`load_model`] on a backend of the caller, instead of [`LoadOptions::device`].
///
/// Errors: those of [`load_model`].
pub fn load_model_on(
    backend: Box<dyn Backend>,
    model: Model,
    options: &LoadOptions,
    on_event: &mut dyn FnMut(LoadEvent),
) -> Result<Loaded, LoadError> {
    let mut notices = assumed(&model);
    let session = load_into(backend, &model, options, &mut notices, on_event)?;
    Ok(Loaded { model, session, notices })
}

/// Loads the model on the first of `devices` that can run it, or on the last one.
fn load_on_first(
    devices: &[DeviceChoice],
    last: DeviceChoice,
    model: Model,
    options: &LoadOptions,
    on_event: &mut dyn FnMut(LoadEvent),
) -> Result<Loaded, LoadError> {
    let mut refusals = vec![];
    for (i, device) in devices.iter().enumerate() {
        let mut notices = vec![];
        match load_on(*device, &model, options, &mut notices, on_event) {
            Ok(session) => {
                refusals.extend(notices);
                return Ok(Loaded { model, session, notices: refusals });
            }
            Err(error) if error.is_refusal() => {
                let next = devices.get(i + 1).copied().unwrap_or(last);
                refusals.push(LoadNotice::DeviceRefused { error, next });
            }
            Err(error) => return Err(error),
        }
    }
    let session = load_on(last, &model, options, &mut refusals, on_event)?;
    Ok(Loaded { model, session, notices: refusals })
}

fn load_on(
    choice: DeviceChoice,
    model: &Model,
    options: &LoadOptions,
    notices: &mut Vec<LoadNotice>,
    on_event: &mut dyn FnMut(LoadEvent),
) -> Result<Session, LoadError> {
    load_into(backend::open(choice)?, model, options, notices, on_event)
}

fn load_into(
    mut device: Box<dyn Backend>,
    model: &Model,
    options: &LoadOptions,
    notices: &mut Vec<LoadNotice>,
    on_event: &mut dyn FnMut(LoadEvent),
) -> Result<Session, LoadError> {
    device.configure(options.backend);
    let n_ctx = choose_context(model, options, &*device, notices)?;
    let mut plan = planned(model, options, n_ctx)?;
    fuse(&mut plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
    let supported = backend::check_supported(&*device, &plan);
    supported.map_err(|error| LoadError::Unsupported { name: model.name().to_string(), error })?;
    let needs = device.footprint(&plan);
    if options.n_ctx.is_some() && needs.total() >= LARGE {
        let free = device.memory().map(|memory| memory.free);
        on_event(LoadEvent::LargeContext { device: device.name(), n_ctx, needs, free });
    }
    let weights = model.weights(&plan)?;
    let total = plan.weight_bytes();
    device.load(&plan, &weights, &mut |done| on_event(LoadEvent::Weights { done, total }))?;
    let watch = model.gguf().map(|gguf| gguf.watch().clone()).unwrap_or_default();
    watch.check()?; // refuses a file that changed between the checks and the end of the load
    let watch = if device.reads_mapped_weights() { watch } else { Watch::default() };
    let ops = device.on_reference();
    if !ops.is_empty() {
        notices.push(LoadNotice::OnReference { device: device.name(), ops });
    }
    Ok(Session::new(model.name().to_string(), device, plan, watch))
}

fn planned(model: &Model, options: &LoadOptions, n_ctx: u32) -> Result<Plan, LoadError> {
    let max_tokens = options.chunk.clamp(1, n_ctx.max(DECODE_TOKENS));
    let max_outputs = options.max_outputs.min(max_tokens);
    Ok(model.plan(&PlanOptions { n_ctx, max_tokens, max_outputs, kv: options.kv })?)
}

/// The context to use: the requested one if it fits; without a request the model's own or the largest that is reserved
/// without one, as far as it fits.
fn choose_context(
    model: &Model,
    options: &LoadOptions,
    device: &dyn Backend,
    notices: &mut Vec<LoadNotice>,
) -> Result<u32, LoadError> {
    let n_ctx_train = model.config.n_ctx_train;
    let memory = device.memory();
    let unasked = if memory.is_some() { UNASKED_CONTEXT } else { UNREPORTED_CONTEXT };
    let wanted = options.n_ctx.unwrap_or(n_ctx_train.min(unasked));
    if wanted == 0 || wanted > MAX_CONTEXT {
        return Err(LoadError::Context { n_ctx: wanted, most: MAX_CONTEXT });
    }
    if wanted > n_ctx_train {
        notices.push(LoadNotice::BeyondTraining { n_ctx: wanted, n_ctx_train });
    }
    let lack = |n_ctx| -> Result<Option<Lack>, LoadError> {
        let plan = planned(model, options, n_ctx)?;
        if let Some(too_large) = device.too_large(&plan) {
            return Ok(Some(Lack::Buffer(too_large)));
        }
        let Some(Memory { free, .. }) = memory else { return Ok(None) };
        let needs = device.footprint(&plan);
        Ok((needs.total() > free).then_some(Lack::Memory { needs, free }))
    };
    let Some(lacks) = lack(wanted)? else {
        if options.n_ctx.is_none() && wanted < n_ctx_train {
            let unreported = memory.is_none().then(|| device.name());
            notices.push(LoadNotice::ContextShortened { n_ctx: wanted, n_ctx_train, unreported });
        }
        return Ok(wanted);
    };
    // The largest multiple of CONTEXT_STEP that fits: `low` fits, `high` does not.
    let (mut low, mut high) = (0, wanted.div_ceil(CONTEXT_STEP));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match lack(middle * CONTEXT_STEP)?.is_none() {
            true => low = middle,
            false => high = middle,
        }
    }
    let fits = low * CONTEXT_STEP;
    let does_not_fit = DoesNotFit { device: device.name(), wanted, lack: lacks, fits };
    if options.n_ctx.is_some() || fits == 0 {
        return Err(LoadError::Memory { misfit: does_not_fit });
    }
    notices.push(LoadNotice::ContextLowered { n_ctx: fits, own: does_not_fit });
    Ok(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Shape, Synth};
    use crate::quant::GgmlType;

    /// No machine has that many adapters.
    fn absent() -> DeviceChoice {
        "wgpu:9999".parse().expect("a name")
    }

    fn tiny() -> Model {
        let shape = Shape::find("smollm2-135m").expect("a known shape");
        let small =
            Shape { n_layers: 1, n_embd: 64, n_ff: 64, n_heads: 2, n_kv_heads: 1, head_dim: 32, n_vocab: 32, ..shape };
        Synth { shape: small, ty: GgmlType::Q4_0, seed: 1 }.model()
    }

    #[test]
    fn the_next_device_takes_over() {
        let options = LoadOptions { n_ctx: Some(16), ..LoadOptions::default() };
        let try_on = |devices: &[DeviceChoice], options: &LoadOptions| {
            let (last, first) = devices.split_last().expect("a device");
            load_on_first(first, *last, tiny(), options, &mut |_| {})
        };
        let load = |devices: &[DeviceChoice]| try_on(devices, &options);
        let loaded = load(&[absent(), absent(), DeviceChoice::CPU]).expect("the CPU runs it");
        assert_eq!(loaded.session.device(), "cpu");
        assert_eq!(loaded.notices.len(), 2);
        let notices: Vec<String> = loaded.notices.iter().map(LoadNotice::to_string).collect();
        assert!(notices[0].contains("wgpu") && notices[0].ends_with(": trying the next device"), "{notices:?}");
        assert!(notices[1].ends_with(": using the CPU"), "{notices:?}");
        assert!(load(&[DeviceChoice::CPU, absent()]).expect("the CPU runs it").notices.is_empty());
        assert!(load(&[absent()]).is_err());
        // A requested context that does not fit is an error: no other device is tried.
        let refused = try_on(&[DeviceChoice::CPU, absent()], &LoadOptions { n_ctx: Some(0), ..options.clone() });
        assert!(matches!(refused, Err(LoadError::Context { .. })));
    }
}
