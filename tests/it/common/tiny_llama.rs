//! Tiny models of each family with random F32 weights, and a plain forward pass in float64.

use super::gguf_builder::GgufBuilder;
use pronk::gguf::Gguf;
use pronk::quant::{self, Random};
use std::f64::consts::PI;

/// The numbers of a model.
#[derive(Clone, Copy)]
pub struct Tiny {
    /// The value of `general.architecture`.
    pub arch: &'static str,
    pub n_layers: u32,
    pub n_embd: u32,
    pub n_ff: u32,
    pub n_heads: u32,
    pub n_kv_heads: u32,
    pub head_dim: u32,
    pub rope_dim: u32,
    pub n_vocab: u32,
    pub n_ctx: u32,
}

/// Heads of n_embd / n_heads elements, all of them rotated.
pub const PLAIN: Tiny = Tiny {
    arch: "llama",
    n_layers: 2,
    n_embd: 64,
    n_ff: 96,
    n_heads: 4,
    n_kv_heads: 2,
    head_dim: 16,
    rope_dim: 16,
    n_vocab: 40,
    n_ctx: 131_072,
};

impl Tiny {
    /// A file of this shape.
    pub fn file(&self) -> GgufBuilder {
        let numbers = [
            ("context_length", self.n_ctx),
            ("block_count", self.n_layers),
            ("embedding_length", self.n_embd),
            ("feed_forward_length", self.n_ff),
            ("attention.head_count", self.n_heads),
            ("attention.head_count_kv", self.n_kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("rope.dimension_count", self.rope_dim),
        ];
        let name = |key: &str| format!("{}.{key}", self.arch);
        let keys = GgufBuilder::default().str("general.architecture", self.arch).str("general.name", "tiny");
        let keys = numbers.iter().fold(keys, |file, (key, n)| file.u32(&name(key), *n));
        let mut file = keys.f32(&name("attention.layer_norm_rms_epsilon"), 1e-5).f32(&name("rope.freq_base"), 1e4);
        let mut random = Random::new(1);
        let mut add = |name: &str, shape: &[u32], scale: f32, shift: f32| {
            let n = shape.iter().product::<u32>() as usize;
            let values: Vec<f32> = (0..n).map(|_| random.uniform(scale) + shift).collect();
            let shape: Vec<u64> = shape.iter().map(|n| u64::from(*n)).collect();
            file = std::mem::take(&mut file).tensor_f32(name, &shape, &values);
        };
        let (q, kv) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let (embd, ff) = (self.n_embd, self.n_ff);
        add("token_embd.weight", &[embd, self.n_vocab], 1.0, 0.0);
        add("output.weight", &[embd, self.n_vocab], 0.3, 0.0);
        add("output_norm.weight", &[embd], 0.5, 1.0);
        for layer in 0..self.n_layers {
            let mut part = |part: &str, shape: &[u32], scale: f32, shift: f32| {
                add(&format!("blk.{layer}.{part}.weight"), shape, scale, shift);
            };
            part("attn_norm", &[embd], 0.5, 1.0);
            part("ffn_norm", &[embd], 0.5, 1.0);
            // Large enough for attention with sharp peaks.
            part("attn_q", &[embd, q], 0.4, 0.0);
            part("attn_k", &[embd, kv], 0.4, 0.0);
            part("attn_v", &[embd, kv], 0.2, 0.0);
            part("attn_output", &[q, embd], 0.2, 0.0);
            part("ffn_gate", &[embd, ff], 0.2, 0.0);
            part("ffn_up", &[embd, ff], 0.2, 0.0);
            part("ffn_down", &[ff, embd], 0.2, 0.0);
            if self.arch == "qwen3" {
                // Normalized heads are larger than those of the others.
                part("attn_q_norm", &[self.head_dim], 0.3, 0.8);
                part("attn_k_norm", &[self.head_dim], 0.3, 0.8);
            }
        }
        file
    }

    /// Random biases for these products of every layer.
    pub fn biased(&self, file: GgufBuilder, parts: &[&str]) -> GgufBuilder {
        let mut random = Random::new(2);
        let mut file = file;
        for layer in 0..self.n_layers {
            for part in parts {
                let n = match *part {
                    "attn_q" => self.n_heads * self.head_dim,
                    "attn_k" | "attn_v" => self.n_kv_heads * self.head_dim,
                    "ffn_gate" | "ffn_up" => self.n_ff,
                    _ => self.n_embd,
                };
                let values: Vec<f32> = (0..n).map(|_| random.uniform(1.0)).collect();
                file = file.tensor_f32(&format!("blk.{layer}.{part}.bias"), &[n.into()], &values);
            }
        }
        file
    }

    /// The same file with Q, K and V of each layer in one tensor, `attn_qkv`: the tensors of this ending, `weight` or
    /// `bias`.
    pub fn with_one_qkv(&self, file: GgufBuilder, ending: &str) -> GgufBuilder {
        let mut file = file;
        for layer in 0..self.n_layers {
            let parts = ["attn_q", "attn_k", "attn_v"].map(|part| {
                let name = format!("blk.{layer}.{part}.{ending}");
                let at = file.tensors.iter().position(|t| t.name == name.as_bytes());
                file.tensors.remove(at.unwrap_or_else(|| panic!("tensor {name}")))
            });
            let mut whole = parts[0].clone();
            whole.name = format!("blk.{layer}.attn_qkv.{ending}").into();
            *whole.shape.last_mut().expect("a dimension") = parts.iter().flat_map(|p| p.shape.last()).sum();
            whole.data = parts.into_iter().flat_map(|p| p.data).collect();
            file.tensors.push(whole);
        }
        file
    }

    /// Some tokens.
    pub fn tokens(&self, n: u32) -> Vec<u32> {
        (0..n).map(|i| (i * i * 7 + i * 3 + 5) % self.n_vocab).collect()
    }
}

fn arch(gguf: &Gguf) -> &str {
    gguf.required("general.architecture").expect("an architecture")
}

fn float(gguf: &Gguf, key: &str, default: f32) -> f64 {
    gguf.f32(&format!("{}.{key}", arch(gguf))).expect("a float").unwrap_or(default).into()
}

fn number(gguf: &Gguf, key: &str, default: Option<u32>) -> usize {
    gguf.u32(&format!("{}.{key}", arch(gguf))).expect("a number").or(default).expect("a key") as usize
}

fn tensor(gguf: &Gguf, name: &str) -> Option<Vec<f64>> {
    let tensor = gguf.tensor(name)?;
    let mut values = vec![0.0f32; tensor.n_elements() as usize];
    quant::decode(tensor.ty, &tensor.data, &mut values);
    Some(values.into_iter().map(f64::from).collect())
}

/// Cosine and sine of each pair at a position: RoPE (Su et al., 2021), its frequencies divided by `rope_freqs` and
/// scaled linearly or by YaRN (Peng et al., 2023).
pub fn rotation(gguf: &Gguf, position: u32) -> Vec<(f64, f64)> {
    let dim = number(gguf, "rope.dimension_count", None);
    let base = float(gguf, "rope.freq_base", 1e4);
    let factor = float(gguf, "rope.scaling.factor", 1.0);
    let yarn = gguf.str(&format!("{}.rope.scaling.type", arch(gguf))) == Ok(Some("yarn"));
    let trained = number(gguf, "context_length", None) as u32;
    let original = number(gguf, "rope.scaling.original_context_length", Some(trained)) as f64;
    let (fast, slow) =
        (float(gguf, "rope.scaling.yarn_beta_fast", 32.0), float(gguf, "rope.scaling.yarn_beta_slow", 1.0));
    let divisors = tensor(gguf, "rope_freqs.weight").unwrap_or_else(|| vec![1.0; dim / 2]);
    // The index at which a pair, counted in reals, turns this often within the original context:
    // original / (2 pi base^(2 i / dim)) = turns.
    let index = |turns: f64| (original / (2.0 * PI * turns)).log(base) * dim as f64 / 2.0;
    let (low, high) = (index(fast).floor().max(0.0), index(slow).ceil().min(dim as f64 - 1.0));
    let magnitude = if yarn { 0.1 * factor.ln() + 1.0 } else { 1.0 } * float(gguf, "rope.scaling.attn_factor", 1.0);
    let pair = |i: usize| {
        let own = 1.0 / base.powf(2.0 * i as f64 / dim as f64) / divisors[i];
        let slowness = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
        let frequency = if yarn { own * (1.0 - slowness) + own / factor * slowness } else { own / factor };
        let angle = f64::from(position) * frequency;
        (angle.cos() * magnitude, angle.sin() * magnitude)
    };
    (0..dim / 2).map(pair).collect()
}

/// The logits after each token: (tokens, n_vocab).
pub fn logits(gguf: &Gguf, tokens: &[u32]) -> Vec<f32> {
    let width = number(gguf, "embedding_length", None);
    let (n_heads, n_kv) = (number(gguf, "attention.head_count", None), number(gguf, "attention.head_count_kv", None));
    let dim = number(gguf, "attention.key_length", Some((width / n_heads) as u32));
    let window = number(gguf, "attention.sliding_window", Some(u32::MAX));
    let eps = float(gguf, "attention.layer_norm_rms_epsilon", 0.0);
    let need = |name: &str| tensor(gguf, name).unwrap_or_else(|| panic!("tensor {name}"));
    let norm = |x: &[f64], name: &str| -> Vec<f64> {
        let root = (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64 + eps).sqrt();
        x.iter().zip(need(name)).map(|(v, w)| v / root * w).collect()
    };
    let norms = |xs: &[Vec<f64>], name: &str| -> Vec<Vec<f64>> { xs.iter().map(|x| norm(x, name)).collect() };
    // Adds a bias, if there is one of this name.
    let biased = |xs: Vec<Vec<f64>>, name: &str| -> Vec<Vec<f64>> {
        let Some(bias) = tensor(gguf, &format!("{name}.bias")) else { return xs };
        xs.into_iter().map(|x| x.iter().zip(&bias).map(|(x, b)| x + b).collect()).collect()
    };
    // The product with a matrix, and its bias where it has one.
    let product = |xs: &[Vec<f64>], name: &str| -> Vec<Vec<f64>> {
        let w = need(&format!("{name}.weight"));
        let rows = w.len() / xs[0].len();
        let dot = |x: &[f64], r: usize| x.iter().zip(&w[r * x.len()..]).map(|(a, b)| a * b).sum::<f64>();
        biased(xs.iter().map(|x| (0..rows).map(|r| dot(x, r)).collect()).collect(), name)
    };
    // Q, K and V, from three tensors or the rows of one.
    let project = |h: &[Vec<f64>], part: &dyn Fn(&str) -> String| -> [Vec<Vec<f64>>; 3] {
        if tensor(gguf, &part("attn_qkv.weight")).is_none() {
            return ["attn_q", "attn_k", "attn_v"].map(|name| product(h, &part(name)));
        }
        let all = product(h, &part("attn_qkv"));
        let (q, kv) = (n_heads * dim, n_kv * dim);
        let columns = [("attn_q", 0..q), ("attn_k", q..q + kv), ("attn_v", q + kv..q + 2 * kv)];
        columns.map(|(name, at)| biased(all.iter().map(|row| row[at.clone()].to_vec()).collect(), &part(name)))
    };
    // Normalizes each head, if the file has weights for that.
    let norm_heads = |xs: &mut [Vec<f64>], name: &str| {
        if tensor(gguf, name).is_some() {
            for head in xs.iter_mut().flat_map(|x| x.chunks_exact_mut(dim)) {
                head.copy_from_slice(&norm(head, name));
            }
        }
    };
    let add = |xs: &mut [Vec<f64>], ys: &[Vec<f64>]| {
        xs.iter_mut().zip(ys).for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
    };
    let rotate = |xs: &mut [Vec<f64>]| {
        for (p, x) in xs.iter_mut().enumerate() {
            for head in x.chunks_exact_mut(dim) {
                let angles = rotation(gguf, p as u32);
                let pairs = angles.len();
                for (i, (cos, sin)) in angles.into_iter().enumerate() {
                    let (a, b) = if arch(gguf) == "llama" { (2 * i, 2 * i + 1) } else { (i, i + pairs) };
                    (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
                }
            }
        }
    };

    let embedding = need("token_embd.weight");
    let mut xs: Vec<Vec<f64>> = tokens.iter().map(|t| embedding[*t as usize * width..][..width].to_vec()).collect();
    for layer in 0..number(gguf, "block_count", None) {
        let part = |part: &str| format!("blk.{layer}.{part}");
        let h = norms(&xs, &part("attn_norm.weight"));
        let [mut q, mut k, v] = project(&h, &part);
        norm_heads(&mut q, &part("attn_q_norm.weight"));
        norm_heads(&mut k, &part("attn_k_norm.weight"));
        rotate(&mut q);
        rotate(&mut k);
        let attended = (0..xs.len()).map(|t| {
            let seen = (t + 1).saturating_sub(window)..t + 1;
            let mut out = vec![];
            for head in 0..n_heads {
                let (at, kv_at) = (head * dim, head / (n_heads / n_kv) * dim);
                let dot = |s: usize| (0..dim).map(|i| q[t][at + i] * k[s][kv_at + i]).sum::<f64>();
                let weights: Vec<f64> = seen.clone().map(|s| (dot(s) / (dim as f64).sqrt()).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let mean = |i| seen.clone().zip(&weights).map(|(s, w)| w / sum * v[s][kv_at + i]).sum::<f64>();
                out.extend((0..dim).map(mean));
            }
            out
        });
        let attended: Vec<Vec<f64>> = attended.collect();
        add(&mut xs, &product(&attended, &part("attn_output")));
        let h = norms(&xs, &part("ffn_norm.weight"));
        let (gate, up) = (product(&h, &part("ffn_gate")), product(&h, &part("ffn_up")));
        let swi_glu = |(g, u): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
            g.iter().zip(u).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
        };
        let act: Vec<Vec<f64>> = gate.iter().zip(&up).map(swi_glu).collect();
        add(&mut xs, &product(&act, &part("ffn_down")));
    }
    let last = norms(&xs, "output_norm.weight");
    let logits = match gguf.tensor("output.weight") {
        Some(_) => product(&last, "output"),
        None => biased(product(&last, "token_embd"), "output"),
    };
    logits.concat().into_iter().map(|v| v as f32).collect()
}
