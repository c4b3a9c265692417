//! The report of `pronk info`: what `--json` prints, and the source of the tables.

use anyhow::Result;
use pronk::backend::{self, Backend, DeviceChoice, gib};
use pronk::generate::LoadOptions;
use pronk::gguf::{GgmlType, Gguf, Value};
use pronk::model::{Model, PlanOptions};
use pronk::plan::{KvDecl, KvType, Plan, fuse};
use serde::Serialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

#[derive(Serialize)]
pub struct Report {
    /// The file, or the parts of a split file in order.
    pub files: Vec<String>,
    pub version: u32,
    pub alignment: u32,
    pub n_elements: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// None if it cannot be run.
    pub model: Option<ModelReport>,
    /// Why it cannot be run.
    pub cannot_be_run: Option<String>,
    pub metadata: serde_json::Map<String, Json>,
    pub types: Vec<TypeReport>,
    pub tensors: Vec<TensorReport>,
}

#[derive(Serialize)]
pub struct ModelReport {
    pub name: String,
    pub architecture: &'static str,
    pub n_layers: u32,
    pub n_embd: u32,
    pub n_ff: u32,
    pub n_heads: u32,
    pub n_kv_heads: u32,
    pub head_dim: u32,
    pub n_vocab: u32,
    /// Positions that the model was trained for.
    pub n_ctx: u32,
    /// Number of tokens that each token attends to, itself included; None: all before it.
    pub window: Option<u32>,
    /// Factor by which positions are scaled; None without scaling, and with Llama 3.1's `rope_freqs`. `yarn`: by YaRN.
    pub rope_factor: Option<f32>,
    pub yarn: bool,
    /// Devices that can run it.
    pub runs_on: Vec<String>,
    /// The errors of the other devices.
    pub refusals: Vec<String>,
    pub memory: Vec<MemoryReport>,
}

/// The memory of a context, in bytes.
#[derive(Serialize)]
pub struct MemoryReport {
    pub n_ctx: u32,
    pub weights: u64,
    pub rope_table: u64,
    /// By number format, without those that do not fit the model's heads.
    pub kv: BTreeMap<&'static str, u64>,
    pub buffers: u64,
    /// Allocations of each device with an f16 cache. GPUs have further buffers.
    pub devices: BTreeMap<String, DeviceMemory>,
}

#[derive(Serialize)]
pub struct DeviceMemory {
    /// Those that the device has a copy of, in its own layout.
    pub weights: u64,
    /// Weights that it reads in the file.
    pub mapped: u64,
    pub kv: u64,
    pub buffers: u64,
    pub total: u64,
}

#[derive(Serialize)]
pub struct TypeReport {
    #[serde(rename = "type")]
    pub ty: &'static str,
    pub n_tensors: u64,
    pub bytes: u64,
}

#[derive(Serialize)]
pub struct TensorReport {
    pub name: String,
    #[serde(rename = "type")]
    pub ty: &'static str,
    /// Contiguous dimension first.
    pub shape: Vec<u64>,
    pub bytes: u64,
    /// Where the data begins in its file.
    pub offset: u64,
    /// The index of that file.
    pub part: usize,
}

/// Contexts for which memory is shown, besides the model's own.
const CONTEXTS: [u32; 5] = [2048, 8192, 32768, 131_072, 524_288];

impl Report {
    pub fn of(gguf: &Gguf) -> Result<Report> {
        let checked = Model::new(gguf.clone()).map_err(anyhow::Error::from).and_then(|model| {
            let smallest = plan(&model, 1)?; // checks the tensors
            Ok((model, smallest))
        });
        let (model, cannot_be_run) = match checked {
            Ok((model, smallest)) => (Some(ModelReport::of(&model, &smallest)?), None),
            Err(e) => (None, Some(format!("{e:#}"))),
        };
        let mut types: BTreeMap<GgmlType, (u64, u64)> = BTreeMap::new();
        for tensor in gguf.tensors() {
            let (n, bytes) = types.entry(tensor.ty).or_default();
            (*n, *bytes) = (*n + 1, *bytes + tensor.data.len() as u64);
        }
        let types = types.into_iter().map(|(ty, (n_tensors, bytes))| TypeReport { ty: ty.name(), n_tensors, bytes });
        let tensors = gguf.tensors().iter().map(|t| TensorReport {
            name: t.name.clone(),
            ty: t.ty.name(),
            shape: t.shape.clone(),
            bytes: t.data.len() as u64,
            offset: t.offset,
            part: t.part,
        });
        Ok(Report {
            files: gguf.files().to_vec(),
            version: gguf.version(),
            alignment: gguf.alignment(),
            n_elements: gguf.tensors().iter().map(|t| t.n_elements()).sum(),
            bytes: gguf.tensors().iter().map(|t| t.data.len() as u64).sum(),
            model,
            cannot_be_run,
            metadata: gguf.metadata().map(|(key, value)| (key.to_string(), summary(value))).collect(),
            types: types.collect(),
            tensors: tensors.collect(),
        })
    }
}

impl ModelReport {
    fn of(model: &Model, smallest: &Plan) -> Result<ModelReport> {
        let (mut able, mut refusals): (Vec<(String, Box<dyn Backend>)>, _) = (vec![], vec![]);
        for id in backend::available().into_iter().map(|device| device.id) {
            let opened = backend::open(id.parse::<DeviceChoice>()?);
            match opened.and_then(|device| backend::check_supported(&*device, smallest).map(|()| device)) {
                Ok(device) => able.push((id, device)),
                Err(e) => refusals.push(e.to_string()),
            }
        }
        let c = &model.config;
        let contexts = CONTEXTS.into_iter().filter(|n| *n < c.n_ctx_train).chain([c.n_ctx_train]);
        let memory = contexts.map(|n_ctx| MemoryReport::of(model, n_ctx, &able)).collect::<Result<_>>()?;
        Ok(ModelReport {
            name: c.name.clone(),
            architecture: model.arch.name,
            n_layers: c.n_layers,
            n_embd: c.n_embd,
            n_ff: c.n_ff,
            n_heads: c.n_heads,
            n_kv_heads: c.n_kv_heads,
            head_dim: c.head_dim,
            n_vocab: c.n_vocab,
            n_ctx: c.n_ctx_train,
            window: c.window,
            rope_factor: Some(c.rope_scaling.factor).filter(|factor| *factor != 1.0),
            yarn: c.rope_scaling.yarn.is_some(),
            runs_on: able.into_iter().map(|(id, _)| id).collect(),
            refusals,
            memory,
        })
    }
}

impl MemoryReport {
    fn of(model: &Model, n_ctx: u32, devices: &[(String, Box<dyn Backend>)]) -> Result<MemoryReport> {
        let usual = plan(model, n_ctx)?;
        let rope_table = usual.rope_table().map_or(0, |table| usual[table].bytes());
        let kv = KvType::ALL.map(|ty| KvDecl { ty, ..usual.kv }).into_iter().filter(|kv| kv.check().is_ok());
        let on = |(id, device): &(String, Box<dyn Backend>)| {
            let mut plan = usual.clone();
            fuse(&mut plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
            let (needs, mapped) = (device.footprint(&plan), device.mapped_bytes(&plan));
            let (weights, kv, buffers, total) = (needs.weights, needs.kv, needs.buffers, needs.total());
            (id.clone(), DeviceMemory { weights, mapped, kv, buffers, total })
        };
        Ok(MemoryReport {
            n_ctx,
            weights: usual.weight_bytes() - rope_table,
            rope_table,
            kv: kv.map(|kv| (kv.ty.name(), kv.bytes())).collect(),
            buffers: usual.buf_bytes(),
            devices: devices.iter().map(on).collect(),
        })
    }

    /// Where each of `devices` reads the weights: `cpu has a copy of 86.9 MiB and reads 27.0 MiB in the file`.
    pub fn weights_on(&self, devices: &[String]) -> String {
        let of = |id: &String| {
            let DeviceMemory { weights, mapped, .. } = self.devices[id];
            match (weights.saturating_sub(self.rope_table), mapped) {
                (copied, 0) => format!("{id} has a copy of {}", gib(copied)),
                (0, mapped) => format!("{id} reads {} in the file", gib(mapped)),
                (copied, mapped) => format!("{id} has a copy of {} and reads {} in the file", gib(copied), gib(mapped)),
            }
        };
        devices.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    /// A row of the table: the context, sizes, and totals on `devices`.
    pub fn row(&self, devices: &[String]) -> Vec<String> {
        let kv = KvType::ALL.iter().map(|ty| self.kv.get(ty.name()).map_or("-".to_string(), |bytes| gib(*bytes)));
        let before = [self.n_ctx.to_string(), gib(self.weights), gib(self.rope_table)];
        let totals = devices.iter().map(|id| gib(self.devices[id].total));
        before.into_iter().chain(kv).chain([gib(self.buffers)]).chain(totals).collect()
    }
}

/// The plan of the default options, with an f16 cache.
fn plan(model: &Model, n_ctx: u32) -> Result<Plan> {
    let usual = LoadOptions::default();
    let max_tokens = usual.chunk.min(n_ctx);
    let max_outputs = usual.max_outputs.min(max_tokens);
    Ok(model.plan(&PlanOptions { n_ctx, max_tokens, max_outputs, kv: KvType::F16 })?)
}

/// The maximum number of elements shown of an array.
const SHOWN_ELEMENTS: usize = 16;

/// A value with its type; for an array the length and the first elements.
fn summary(value: &Value) -> Json {
    match value {
        Value::Array(array) => {
            let first: Vec<Json> = array.iter().take(SHOWN_ELEMENTS).map(|v| scalar(&v)).collect();
            json!({"type": "array", "element": array.element().to_string(), "length": array.len(), "first": first})
        }
        value => json!({"type": value.ty().to_string(), "value": scalar(value)}),
    }
}

/// A number that JSON cannot have (NaN, infinity) is null.
fn scalar(value: &Value) -> Json {
    match value {
        Value::String(text) => String::from_utf8_lossy(text).into(),
        Value::Bool(v) => (*v).into(),
        Value::F32(v) => (*v as f64).into(),
        Value::F64(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        Value::I64(v) => (*v).into(),
        Value::U8(v) => (*v).into(),
        Value::U16(v) => (*v).into(),
        Value::U32(v) => (*v).into(),
        Value::I8(v) => (*v).into(),
        Value::I16(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::Array(_) => Json::Null, // GGUF arrays are not nested here
    }
}
