use super::Session;
use crate::backend::{self, Backend, DeviceChoice, Error, cpu::Cpu, gib};
use crate::gguf::{Gguf, Watch};
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
    #[error("a context of {n_ctx} tokens: expected 1 to {most}")]
    Context { n_ctx: u32, most: u32 },
    /// The message names the context, what it needs, what there is, and what would fit.
    #[error("{what}")]
    Memory {
        what: String,
        /// The largest context that fits; 0 if none does.
        fits: u32,
    },
    /// A device asked for by name refused, and the CPU would not.
    #[error("{0}; --device cpu can run it")]
    Refused(Box<LoadError>),
}

/// Contexts that are lowered to fit are multiples of this.
const CONTEXT_STEP: u32 = 256;
/// Bytes from which on what a context takes is said before it is allocated: below, it is there in a moment.
const STATED: u64 = 1 << 30;
/// The most slots that a KV cache may have.
const MAX_CONTEXT: u32 = 1 << 24;

/// A model on a device.
pub struct Loaded {
    pub model: Model,
    pub session: Session,
    /// What the user should know: a device that could not run the model, a context that was lowered, or one that exceeds what
    /// the model was trained for.
    pub notices: Vec<String>,
}

/// Opens the model file, then [`load_model`].
pub fn load(path: &Path, options: &LoadOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<Loaded, LoadError> {
    let gguf = Gguf::open(path).map_err(model::Error::from)?;
    load_model(Model::new(gguf)?, options, progress)
}

/// Opens the device, chooses the context, fuses the plan and loads the weights. [`DeviceChoice::Auto`] tries all GPUs, then the
/// CPU. `progress` is told the bytes of weights done and to do.
pub fn load_model(
    model: Model,
    options: &LoadOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Loaded, LoadError> {
    load_model_stating(model, options, &mut Report { state: &mut |_| {}, progress })
}

/// What a load tells while it goes on.
pub struct Report<'a> {
    /// Told what a large context asked for takes, before any of it is allocated.
    pub state: &'a mut dyn FnMut(&str),
    /// Told the bytes of weights done and to do.
    pub progress: &'a mut dyn FnMut(u64, u64),
}

/// [`load_model`], stating what it takes.
pub fn load_model_stating(model: Model, options: &LoadOptions, report: &mut Report) -> Result<Loaded, LoadError> {
    // A plan of the smallest context finds what is wrong with the tensors before any device is opened.
    let smallest = planned(&model, options, 1)?;
    match options.device {
        DeviceChoice::Auto => {
            let gpus = backend::available().into_iter().filter(|device| device.is_gpu);
            let gpus = gpus.filter_map(|gpu| gpu.id.parse().ok());
            load_on_first(&gpus.chain([DeviceChoice::Cpu]).collect::<Vec<_>>(), model, options, report)
        }
        device => {
            let mut notices = vec![];
            let session = load_on(device, &model, options, &mut notices, report).map_err(|e| {
                let helps = device != DeviceChoice::Cpu && is_refusal(&e);
                let helps = helps && backend::check_supported(&Cpu::default(), &smallest).is_ok();
                if helps { LoadError::Refused(Box::new(e)) } else { e }
            })?;
            Ok(Loaded { model, session, notices })
        }
    }
}

/// Whether the device is to blame: another one may do.
fn is_refusal(e: &LoadError) -> bool {
    matches!(e, LoadError::Backend(_) | LoadError::Memory { fits: 0, .. })
}

/// Loads the model on the first of `devices` that can run it.
fn load_on_first(
    devices: &[DeviceChoice],
    model: Model,
    options: &LoadOptions,
    report: &mut Report,
) -> Result<Loaded, LoadError> {
    let mut refusals = vec![];
    for (i, device) in devices.iter().enumerate() {
        let mut notices = vec![];
        match (load_on(*device, &model, options, &mut notices, report), devices.get(i + 1)) {
            (Ok(session), _) => return Ok(Loaded { model, session, notices: [refusals, notices].concat() }),
            (Err(e), Some(next)) if is_refusal(&e) => refusals.push(match next {
                DeviceChoice::Cpu => format!("{e}: using the CPU"),
                _ => format!("{e}: trying the next device"),
            }),
            (Err(e), _) => return Err(e),
        }
    }
    Err(Error::Step("no device to load the model on".to_string()).into())
}

fn load_on(
    choice: DeviceChoice,
    model: &Model,
    options: &LoadOptions,
    notices: &mut Vec<String>,
    report: &mut Report,
) -> Result<Session, LoadError> {
    let mut device = backend::open(choice)?;
    let n_ctx = choose_context(model, options, &*device, notices)?;
    let mut plan = planned(model, options, n_ctx)?;
    fuse(&mut plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
    backend::check_supported(&*device, &plan)?;
    let needs = device.footprint(&plan);
    if options.n_ctx.is_some() && needs.total() >= STATED {
        let of = device.memory().map_or(String::new(), |memory| format!(" of {} free", gib(memory.free)));
        (report.state)(&format!("a context of {n_ctx} tokens takes {}{of} on {}", needs.text(), device.name()));
    }
    let weights = model.weights(&plan)?;
    let total = plan.weight_bytes();
    device.load(&plan, &weights, &mut |done| (report.progress)(done, total))?;
    let watch = model.gguf().map(|gguf| gguf.watch().clone()).unwrap_or_default();
    watch.check().map_err(model::Error::from)?; // what was loaded may not be what was checked
    let in_place = choice == DeviceChoice::Cpu;
    Ok(Session::new(device, plan, if in_place { watch } else { Watch::default() }))
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
        notices.push(format!(
            "a context of {wanted} tokens: the model was trained for {trained} positions, quality drops beyond"
        ));
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
    let (name, free) = (device.name(), gib(memory.free));
    let what = format!("a context of {wanted} tokens needs {}, {name} has {free} free; {most}", needs.text());
    if options.n_ctx.is_some() || fits == 0 {
        return Err(LoadError::Memory { what, fits });
    }
    notices.push(format!("context lowered to {fits} tokens: {what}"));
    Ok(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Shape, Synth};
    use crate::quant::GgmlType;

    /// No machine has so many.
    const ABSENT: DeviceChoice = DeviceChoice::Wgpu(Some(9999));

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
            load_on_first(devices, tiny(), options, &mut Report { state: &mut |_| {}, progress: &mut |_, _| {} })
        };
        let load = |devices: &[DeviceChoice]| try_on(devices, &options);
        let loaded = load(&[ABSENT, ABSENT, DeviceChoice::Cpu]).expect("the CPU runs it");
        assert_eq!(loaded.session.device(), "cpu");
        assert_eq!(loaded.notices.len(), 2);
        assert!(loaded.notices[0].contains("wgpu") && loaded.notices[0].ends_with(": trying the next device"));
        assert!(loaded.notices[1].ends_with(": using the CPU"), "{:?}", loaded.notices);
        assert!(load(&[DeviceChoice::Cpu, ABSENT]).expect("the CPU runs it").notices.is_empty());
        assert!(load(&[ABSENT]).is_err());
        // A context that is too large is the user's choice: no other device makes up for it.
        let refused = try_on(&[DeviceChoice::Cpu, ABSENT], &LoadOptions { n_ctx: Some(0), ..options.clone() });
        assert!(matches!(refused, Err(LoadError::Context { .. })));
    }
}
