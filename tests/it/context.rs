//! The context that a model gets without a request follows the device, not what its file claims.

use crate::common;
use pronk::LoadOptions;
use pronk::backend::reference::Reference;
use pronk::backend::{Backend, Error, Memory, TooLarge, Unsupported};
use pronk::generate::{Loaded, load_model_on};
use pronk::gguf::{Gguf, Value};
use pronk::model::Model;
use pronk::plan::{Buf, Op, Phase, Plan, Step, Weights};

/// The reference as a device that reports other limits.
struct Limited {
    inner: Reference,
    memory: Option<Memory>,
    /// The most slots of a KV cache.
    slots: u32,
}

impl Backend for Limited {
    fn name(&self) -> String {
        "limited".to_string()
    }

    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
        self.inner.supports(plan, op, phase)
    }

    fn memory(&self) -> Option<Memory> {
        self.memory
    }

    fn too_large(&self, plan: &Plan) -> Option<TooLarge> {
        let (needs, has) = (u64::from(plan.kv.slots) << 10, u64::from(self.slots) << 10);
        (needs > has).then(|| TooLarge { what: "keys".to_string(), needs, has })
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        self.inner.load(plan, weights, progress)
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        self.inner.run(step)
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        self.inner.write(b, v)
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        self.inner.read(b, v)
    }
}

/// The tiny model, which claims a context of 2^31, on a device with these limits: its context and the notices, or the error.
fn load(memory: Option<Memory>, slots: u32, n_ctx: Option<u32>) -> Result<(u32, Vec<String>), String> {
    let mut gguf = Gguf::open(&common::data("models/tiny-llama3.q4_0.gguf")).expect("a model");
    gguf.replace("llama.context_length", Value::U32(1 << 31));
    let device = Box::new(Limited { inner: Reference::default(), memory, slots });
    let options = LoadOptions { n_ctx, ..LoadOptions::default() };
    let loaded = load_model_on(device, Model::new(gguf).expect("a model"), &options, &mut |_| {});
    let Loaded { session, notices, .. } = loaded.map_err(|e| e.to_string())?;
    Ok((session.room(), notices.iter().map(|notice| notice.to_string()).collect()))
}

const ROOMY: Option<Memory> = Some(Memory { total: 1 << 40, free: 1 << 40 });

#[test]
fn a_claimed_context_is_not_reserved() {
    let said = "the context is 262144 tokens of the model's 2147483648, more on request".to_string();
    assert_eq!(load(ROOMY, u32::MAX, None), Ok((1 << 18, vec![said])));
    assert_eq!(load(ROOMY, u32::MAX, Some(300_000)), Ok((300_000, vec![])));
}

#[test]
fn unreported_memory_gets_a_short_context_unless_more_is_asked_for() {
    let said =
        "limited does not report its memory: the context is 8192 tokens of the model's 2147483648, more on request";
    assert_eq!(load(None, u32::MAX, None), Ok((8192, vec![said.to_string()])));
    assert_eq!(load(None, u32::MAX, Some(20_000)), Ok((20_000, vec![])));
}

#[test]
fn a_limit_of_one_buffer_lowers_the_context() {
    let needs = |n: u32, size: &str| {
        format!("a context of {n} tokens needs a buffer of {size} for keys, limited allows 976.0 KiB")
    };
    let said = format!("context lowered to 768 tokens: {}", needs(1 << 18, "256.0 MiB"));
    assert_eq!(load(ROOMY, 976, None), Ok((768, vec![said])));
    let error = format!("{}; the most that fits is 768 tokens", needs(2048, "2.0 MiB"));
    assert_eq!(load(ROOMY, 976, Some(2048)), Err(error));
}

/// The tables and the cache of the whole claim would take gigabytes.
#[test]
fn memory_follows_the_use() {
    use crate::common::program::run;
    let model = common::data("models/tiny-llama3.q4_0.gguf").display().to_string();
    let claim = "llama.context_length=int:2147483648";
    let args = ["run", "-m", &model, "-p", "Hi", "-n", "2", "--temp", "0", "--override-kv", claim, "--device"];
    let done = run(&[&args[..], &["cpu"]].concat());
    assert!(done.stderr.contains("the context is 262144 tokens of the model's 2147483648, more on request (-c)"));
    if common::is_here("wgpu", pronk::backend::open(common::device("wgpu"))).is_some() {
        let done = run(&[&args[..], &["wgpu"]].concat());
        assert!(done.stderr.contains("context"), "{}", done.stderr);
    }
}
