//! Models: hyperparameters from the metadata, tensor names with their expected shapes, and the plan.

mod check;
mod config;
mod llama;
mod planner;
mod qkv;
mod qwen2;
mod qwen3;
mod rope;
mod shapes;
mod synth;

pub use check::check_tensors;
pub use config::Config;
pub use rope::{RopeScaling, Yarn};
pub use shapes::{SHAPES, Shape};
pub use synth::{Synth, SynthTensor, matrix_type};

use crate::gguf::{self, GgmlType, Gguf, excerpt};
use crate::plan::{KvType, Plan, PlanError, WeightDecl, Weights};
use crate::quant;
use bytes::Bytes;
use config::Reader;
use planner::ROPE_FREQS;
use qkv::Slice;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Display;
use thiserror::Error;

/// A family of models: the keys of its files and its forward pass.
#[derive(Debug)]
pub struct Architecture {
    /// The value of `general.architecture`, and the prefix of the hyperparameter keys.
    pub key: &'static str,
    /// The name in messages.
    pub name: &'static str,
    /// Whether RoPE may rotate only a part of each head.
    partial_rope: bool,
    /// [`Config::read`], with the additions and limits of the family.
    config: fn(&Reader) -> Result<Config, Error>,
    /// The forward pass.
    plan: fn(&Model, &PlanOptions) -> Result<Plan, Error>,
}

/// The supported families.
pub const ARCHITECTURES: [&Architecture; 3] = [&llama::LLAMA, &qwen2::QWEN2, &qwen3::QWEN3];

impl Architecture {
    /// The architecture of a file. Errors: it is not supported; the message lists those that are.
    pub fn of(gguf: &Gguf) -> Result<&'static Architecture, Error> {
        gguf.require_model()?;
        const KEY: &str = "general.architecture";
        let found: &str = gguf.required(KEY)?;
        ARCHITECTURES.into_iter().find(|arch| arch.key == found).ok_or_else(|| {
            let known = ARCHITECTURES.map(|arch| arch.key).join(", ");
            gguf.key_error(
                KEY,
                format!(
                    "{}, only {known} can be run",
                    if found.is_empty() { "\"\"".to_string() } else { excerpt(found) }
                ),
            )
            .into()
        })
    }
}

/// The name of the rotation table among the weights of a plan. It is not in the file.
const ROPE_TABLE: &str = "(rope table)";

/// Why a file cannot be run as a model. Each is one line that begins with the file's name.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the message of each variant says what its fields are
pub enum Error {
    /// A key or tensor of the file is missing or wrong.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// The type of the KV cache does not fit the heads of the model.
    #[error("{name}: {what}")]
    Kv { name: String, what: String },
    /// The shapes of the plan do not fit: a bug in the code of the family, since tensors are checked before.
    #[error("{name}: {error}")]
    Plan { name: String, error: PlanError },
}

/// The limits of a plan.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PlanOptions {
    /// Number of KV slots: the context length.
    pub n_ctx: u32,
    /// Maximum number of tokens in a step.
    pub max_tokens: u32,
    /// Maximum number of rows of logits in a step.
    pub max_outputs: u32,
    /// Number format of the KV cache.
    pub kv: KvType,
}

/// The tensors of a model: name to type and shape (GGUF order: the contiguous dimension first).
pub type Catalog = BTreeMap<String, (GgmlType, Vec<u64>)>;

/// A model: its hyperparameters, and the names and shapes of its tensors.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its family, from `general.architecture`.
    pub arch: &'static Architecture,
    /// Its hyperparameters.
    pub config: Config,
    /// Its tensors.
    pub catalog: Catalog,
    /// What the file says of the size of its vocabulary, where that is not [`Config::n_vocab`], the rows of the embedding.
    pub other_vocab_size: Option<u64>,
    source: Source,
}

/// The source of the data of a model's tensors.
#[derive(Clone, Debug)]
enum Source {
    /// A file, and the tensors of the catalog that are rows of a tensor in the file.
    File(Box<Gguf>, BTreeMap<String, Slice>),
    /// Seeded random weights.
    Random { synth: Synth, tensors: BTreeMap<String, SynthTensor> },
}

/// The layer whose tensor this name is: `blk.LAYER.PART`.
fn layer_of(tensor: &str) -> Option<u32> {
    tensor.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

impl Model {
    /// Reads and checks the hyperparameters. [`Model::plan`] checks the tensors.
    pub fn new(gguf: Gguf) -> Result<Model, Error> {
        let arch = Architecture::of(&gguf)?;
        let config = (arch.config)(&Reader::new(&gguf, arch))?;
        let mut catalog = gguf.tensors().iter().map(|t| (t.name.clone(), (t.ty, t.shape.clone()))).collect();
        let slices = qkv::split(&gguf, &config, &mut catalog)?;
        let layers = catalog.keys().filter_map(|name| layer_of(name)).max().map_or(0, |last| last.saturating_add(1));
        if layers > 0 && layers != config.n_layers {
            let what = format!("{}, but the file has tensors of {layers} layers", config.n_layers);
            return Err(gguf.key_error(&format!("{}.block_count", arch.key), what).into());
        }
        let vocab_size = gguf.u64(&format!("{}.vocab_size", arch.key))?;
        let other_vocab_size = vocab_size.filter(|n| *n != u64::from(config.n_vocab));
        Ok(Model { arch, config, catalog, other_vocab_size, source: Source::File(Box::new(gguf), slices) })
    }

    /// The file; None for a model with random weights.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.source {
            Source::File(gguf, _) => Some(gguf),
            Source::Random { .. } => None,
        }
    }

    /// The name of the model in errors: its file, or its shape.
    pub fn name(&self) -> &str {
        self.gguf().map_or(&self.config.name, Gguf::name)
    }

    fn tensor_error(&self, tensor: &str, problem: impl Display) -> Error {
        let error = match &self.source {
            Source::File(gguf, _) => {
                let prefix = format!("{}.", self.arch.key);
                let replaced: Vec<&str> = gguf.replaced().filter(|key| key.starts_with(&prefix)).collect();
                match replaced.is_empty() {
                    true => gguf.tensor_error(tensor, problem),
                    false => {
                        let replaced = replaced.join(", ");
                        gguf.tensor_error(tensor, format!("{problem}; the file's own value was overridden: {replaced}"))
                    }
                }
            }
            Source::Random { .. } => {
                let (file, tensor) = (self.config.name.clone(), tensor.to_string());
                gguf::Error::Tensor { file, tensor, problem: problem.to_string() }
            }
        };
        error.into()
    }

    /// The model as a list of operations. The shape of every tensor is checked against the hyperparameters. A tensor
    /// that the plan does not use is refused, since ignoring it would give wrong answers.
    pub fn plan(&self, options: &PlanOptions) -> Result<Plan, Error> {
        (self.arch.plan)(self, options)
    }

    /// The data of the plan's weights: views of the mapped file, and the rotation table.
    pub fn weights(&self, plan: &Plan) -> Result<Weights, Error> {
        let data = |w: &WeightDecl| -> Result<Bytes, Error> {
            if w.name == ROPE_TABLE {
                let divisors = self.rope_factors()?;
                return Ok(rope::table(&self.config, divisors.as_deref(), w.rows as u32));
            }
            self.tensor_data(&w.name)
        };
        let weights: Result<Vec<Bytes>, Error> = plan.weights.par_iter().map(data).collect();
        Ok(Weights(weights?))
    }

    fn tensor_data(&self, name: &str) -> Result<Bytes, Error> {
        let data = match &self.source {
            Source::File(gguf, slices) => match slices.get(name) {
                Some(Slice { tensor, bytes }) => gguf.tensor(tensor).map(|t| t.data.slice(bytes.clone())),
                None => gguf.tensor(name).map(|tensor| tensor.data.clone()),
            },
            Source::Random { synth, tensors } => tensors.get(name).map(|tensor| synth.data(tensor).into()),
        };
        data.ok_or_else(|| self.tensor_error(name, "is missing"))
    }

    /// Llama 3.1's divisors of the rotation frequencies, if the file has them: (rope_dim / 2), positive.
    fn rope_factors(&self) -> Result<Option<Vec<f32>>, Error> {
        let Some((ty, shape)) = self.catalog.get(ROPE_FREQS) else {
            return Ok(None);
        };
        let mut factors = vec![0.0; shape.iter().product::<u64>() as usize];
        quant::decode(*ty, &self.tensor_data(ROPE_FREQS)?, &mut factors);
        match factors.iter().find(|f| !(f.is_finite() && **f > 0.0)) {
            Some(f) => Err(self.tensor_error(ROPE_FREQS, format!("holds {f}, expected positive numbers"))),
            None => Ok(Some(factors)),
        }
    }
}
