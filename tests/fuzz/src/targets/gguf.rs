//! The input is a file: it is parsed, shown, planned and, if it is a model, run for two tokens.

use bytes::Bytes;
use pronk::backend::{Backend, DeviceChoice, check_supported, reference::Reference};
use pronk::generate::{LoadOptions, Outputs, load_model};
use pronk::gguf::Gguf;
use pronk::model::{Model, PlanOptions};
use pronk::plan::KvType;
use pronk::text::Vocab;

use super::check_error;

pub fn run(data: &[u8]) {
    let gguf = match Gguf::parse("m.gguf", Bytes::copy_from_slice(data)) {
        Ok(gguf) => gguf,
        Err(e) => return check_error(e),
    };
    show(&gguf, data);
    if let Err(e) = Vocab::from_gguf(&gguf) {
        check_error(e);
    }
    match Model::new(gguf) {
        Ok(model) => plan_and_run(model),
        Err(e) => check_error(e),
    }
}

/// What `pronk info` reads.
fn show(gguf: &Gguf, data: &[u8]) {
    for (key, value) in gguf.metadata() {
        assert!(!value.to_string().contains(char::is_control));
        assert_eq!(gguf.get(key).map(|found| found.ty()), Some(value.ty()));
        let numbers = (gguf.u32(key).err(), gguf.u64(key).err(), gguf.f32(key).err(), gguf.bool(key).err());
        let texts = (gguf.str(key).err(), gguf.strings(key).err());
        let arrays = (gguf.optional::<Vec<u32>>(key).err(), gguf.optional::<Vec<f32>>(key).err());
        for e in
            [numbers.0, numbers.1, numbers.2, numbers.3, texts.0, texts.1, arrays.0, arrays.1].into_iter().flatten()
        {
            check_error(e);
        }
    }
    for tensor in gguf.tensors() {
        let blocks = tensor.n_elements() / tensor.ty.block_size();
        assert_eq!(tensor.data.len() as u64, blocks * tensor.ty.block_bytes());
        assert_eq!(tensor.data, data[tensor.offset as usize..][..tensor.data.len()]);
        assert_eq!(gguf.tensor(&tensor.name).map(|found| found.offset), Some(tensor.offset));
    }
}

fn plan_and_run(model: Model) {
    let trained = model.config.n_ctx_train;
    for n_ctx in [1, trained.min(1 << 24), trained] {
        let max_tokens = n_ctx.min(256);
        let options = PlanOptions { n_ctx, max_tokens, max_outputs: max_tokens.min(8), kv: KvType::F16 };
        let plan = match model.plan(&options) {
            Ok(plan) => plan,
            Err(e) => return check_error(e),
        };
        let needs = Reference::default().footprint(&plan);
        assert!(needs.total() >= plan.weight_bytes().min(plan.kv.bytes()));
        if let Err(e) = check_supported(&Reference::default(), &plan) {
            return check_error(e);
        }
    }
    // Every tensor of the plan is in the file, so the size of the file limits all allocations from here on.
    let last = model.config.n_vocab - 1;
    let options =
        LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(trained.min(2)), chunk: 2, ..LoadOptions::default() };
    let mut session = match load_model(model, &options, &mut |_| {}) {
        Ok(loaded) => loaded.session,
        Err(e) => return check_error(e),
    };
    let tokens = [0, last];
    let tokens = &tokens[..session.room().min(2) as usize];
    session.feed(tokens, Outputs::Last, |_, _| true).expect("tokens of the vocabulary that fit");
    assert!(session.argmax().expect("a token was fed") <= last);
}
