//! Mutants of valid model files: bytes of the head changed, and values of keys replaced. Each is shown, tokenized with and run, or
//! refused in one line; nothing panics, and none takes long.
//!
//! `PRONK_MUTANTS=N` makes N of them, as `make fuzz` does, and bounds the memory that they take as well.

use crate::common;
use bytes::Bytes;
use pronk::backend::{Backend, DeviceChoice, reference::Reference};
use pronk::generate::{GenerateOptions, SamplerOptions, load_model, tokenizer};
use pronk::gguf::{Gguf, Value};
use pronk::model::{Model, PlanOptions};
use pronk::plan::KvType;
use pronk::quant::Random;
use pronk::text::{EncodeOptions, Tokenizer, Vocab};
use pronk::{LanguageModel, LoadOptions};
use std::fs;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Mutants of an ordinary run of the tests.
const MUTANTS: u32 = 2000;
/// The longest time for one.
const TIME: Duration = Duration::from_secs(20);
/// The most memory that the process takes, where nothing else runs in it.
const MEMORY_KIB: u64 = 2 << 20;
/// Bytes of the longest message.
const MESSAGE: usize = 2000;

const NUMBERS: [u64; 22] = [
    0,
    1,
    2,
    3,
    5,
    7,
    8,
    31,
    32,
    33,
    64,
    127,
    255,
    256,
    65535,
    65536,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX,
];
const FLOATS: [f64; 12] =
    [0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, f64::MAX, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, -1e-5];
const TEXTS: [&str; 12] = [
    "",
    "llama",
    "qwen2",
    "qwen3",
    "gpt2",
    "bert",
    "yarn",
    "default",
    "\u{1b}[31m\n",
    "{{ messages[0].content }}",
    "{% for m in",
    "%s",
];

fn pick<T: Clone>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u32) as usize].clone()
}

/// Another value for a key, often of another type.
fn value(random: &mut Random) -> Value {
    let n = pick(random, &NUMBERS);
    match random.below(9) {
        0 | 1 => Value::U32(n as u32),
        2 => Value::U64(n),
        3 => Value::I64(n as i64),
        4 => Value::I32(n as i32),
        5 => Value::F32(pick(random, &FLOATS) as f32),
        6 => Value::F64(pick(random, &FLOATS)),
        7 => Value::Bool(n.is_multiple_of(2)),
        _ => Value::String(Bytes::from_static(pick(random, &TEXTS).as_bytes())),
    }
}

/// Damages bytes before the tensors' data: single ones, whole numbers, pieces that are moved, left out or doubled.
fn damage(random: &mut Random, file: &mut Vec<u8>, head: usize) {
    for _ in 0..=random.below(4) {
        let at = random.below(head as u32) as usize;
        let len = (random.below(40) as usize).min(head - at);
        match random.below(8) {
            0 | 1 => file[at] ^= 1 << random.below(8),
            2 => file[at] = random.below(256) as u8,
            3 => {
                let number = pick(random, &NUMBERS).to_le_bytes();
                let end = (at + pick(random, &[4, 8])).min(head);
                file[at..end].copy_from_slice(&number[..end - at]);
            }
            4 => {
                file.drain(at..at + len);
            }
            5 => {
                let piece = file[at..at + len].to_vec();
                file.splice(at..at, piece);
            }
            6 => {
                let to = random.below((head - len) as u32) as usize;
                file.copy_within(at..at + len, to);
            }
            _ => file.truncate(at.max(file.len().saturating_sub(random.below(1 << 20) as usize))),
        }
        if file.len() < head {
            return;
        }
    }
}

fn check(error: impl std::fmt::Display) {
    let line = error.to_string();
    assert!(!line.contains(char::is_control), "not one line: {line:?}");
    assert!(line.len() < MESSAGE, "{} bytes: {line}", line.len());
}

/// What `info`, `tokenize`, `run` and `chat` do. Errors are checked; they end what needs their result.
fn survive(gguf: Gguf) -> Result<(), Box<dyn std::error::Error>> {
    for (_, value) in gguf.metadata() {
        assert!(!value.to_string().contains(char::is_control));
    }
    let vocab = Vocab::from_gguf(&gguf).inspect_err(|e| check(e)).ok();
    if let Some(vocab) = vocab
        && let Ok(tokenizer) = Tokenizer::new(&vocab).inspect_err(|e| check(e))
    {
        for parse_special in [false, true] {
            let options = EncodeOptions { add_bos: true, parse_special };
            if let Ok(ids) = tokenizer.encode("Hello, wörld </s> 12345 \u{1f600}", options).inspect_err(|e| check(e)) {
                tokenizer.decode(&ids, true);
            }
        }
    }
    let model = Model::new(gguf.clone())?;
    let trained = model.config.n_ctx_train;
    for n_ctx in [1, trained] {
        let plan = model.plan(&PlanOptions { n_ctx, max_tokens: 1, max_outputs: 1, kv: KvType::F16 })?;
        Reference::default().footprint(&plan).text();
    }
    let tokenizer = tokenizer(&gguf, &model)?;
    let n_ctx = Some(trained.min(64));
    let options = LoadOptions { device: DeviceChoice::CPU, n_ctx, chunk: 8, ..LoadOptions::default() };
    let loaded = load_model(model, &options, &mut |_| {})?;
    loaded.notices.iter().for_each(check);
    let mut model = LanguageModel::new(loaded, tokenizer);
    let sampler = SamplerOptions { temperature: 0.0, ..SamplerOptions::default() };
    let options = GenerateOptions { max_tokens: 2, sampler, ..GenerateOptions::default() };
    if let Ok(reply) = model.generate_with("Hello", options.clone()).inspect_err(|e| check(e)) {
        reply.filter_map(Result::err).for_each(check);
    }
    let mut chat = model.chat()?;
    chat.options = options;
    let turn = chat.say("Hi")?;
    turn.filter_map(Result::err).for_each(check);
    Ok(())
}

/// A model file of the test data, and the length of its head.
fn models() -> Vec<(Vec<u8>, usize)> {
    let folder = fs::read_dir(common::data("models")).expect("readable").map(|file| file.expect("a file").path());
    let mut paths: Vec<_> = folder.filter(|path| path.extension().is_some_and(|kind| kind == "gguf")).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let file = fs::read(path).expect("readable");
        let gguf = Gguf::parse("m.gguf", Bytes::from(file.clone())).expect("a model");
        let head = gguf.tensors().iter().map(|tensor| tensor.offset).min().expect("tensors") as usize;
        (file, head)
    };
    paths.iter().map(read).collect()
}

/// Mutant `n` is the same in every run.
fn mutant(models: &[(Vec<u8>, usize)], n: u32) -> Result<Gguf, pronk::gguf::Error> {
    let mut random = Random::stream(0x6d75_7461_6e74, n.into());
    let (mut file, head) = pick(&mut random, models);
    let replaces = random.below(3);
    if replaces < 2 {
        damage(&mut random, &mut file, head);
    }
    let mut gguf = Gguf::parse("m.gguf", Bytes::from(file))?;
    let keys: Vec<String> = gguf.metadata().map(|(key, _)| key.to_string()).collect();
    if replaces > 0 && !keys.is_empty() {
        for _ in 0..=random.below(3) {
            gguf.replace(&pick(&mut random, &keys), value(&mut random));
        }
    }
    Ok(gguf)
}

/// The most memory that this process has taken.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
fn mutants_of_models_are_survived() {
    let alone = std::env::var("PRONK_MUTANTS").ok();
    let n: u32 = alone.as_ref().map_or(MUTANTS, |n| n.parse().expect("PRONK_MUTANTS is a number"));
    let models = models();
    let (begin, began) = mpsc::channel();
    let worker = move || {
        for i in 0..n {
            begin.send(i).expect("the test waits");
            // A refusal that ends the rest is as good as a reply.
            match mutant(&models, i) {
                Ok(gguf) => survive(gguf).unwrap_or_else(check),
                Err(e) => check(e),
            }
        }
    };
    let worker = std::thread::spawn(worker);
    let (mut last, start) = (None, Instant::now());
    loop {
        match began.recv_timeout(TIME) {
            Ok(i) => last = Some(i),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("mutant {last:?} takes more than {TIME:?}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        if alone.is_some() {
            assert!(peak_kib() < MEMORY_KIB, "before mutant {last:?}: {} KiB", peak_kib());
        }
    }
    assert!(worker.join().is_ok(), "mutant {last:?} panics");
    println!("{n} mutants in {:.1} s, {} MiB at most", start.elapsed().as_secs_f64(), peak_kib() >> 10);
}
