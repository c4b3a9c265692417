//! Arguments that override metadata of the model file.

use super::numbers::{at_least_zero, finite, positive, whole_from};
use super::output::notice;
use clap::{Args, ValueEnum};
use pronk::gguf::{self, Gguf, Value, excerpt};
use std::path::Path;

/// Their heading in `--help`.
const HEADING: &str = "Overrides of the file's metadata";

/// Values that replace those of the file.
#[derive(Args)]
pub struct OverrideArgs {
    /// Replace the value of a key; TYPE is int, float, bool or str; may be given several times
    #[arg(long, help_heading = HEADING, value_name = "KEY=TYPE:VALUE", value_parser = override_kv)]
    override_kv: Vec<(String, Value)>,
    /// Base of the RoPE frequencies; 0: the file's
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = at_least_zero::<f64>)]
    rope_freq_base: Option<f64>,
    /// Factor of the RoPE frequencies, below 1 for a longer context; 0: the file's
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = at_least_zero::<f64>)]
    rope_freq_scale: Option<f64>,
    /// Factor by which the context is extended: 1 / --rope-freq-scale
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = positive::<f64>,
          conflicts_with = "rope_freq_scale")]
    rope_scale: Option<f64>,
    /// RoPE scaling method [default: the file's, else linear]
    #[arg(long, help_heading = HEADING, value_name = "METHOD")]
    rope_scaling: Option<Method>,
    /// Context length that the model was trained for, before scaling; 0: the file's
    #[arg(long, help_heading = HEADING, value_name = "TOKENS", value_parser = whole_from::<u32>(0))]
    yarn_orig_ctx: Option<u32>,
    /// YaRN: share of their own frequency that fast pairs keep, 0 to 1; -1: the file's, else 1 with YaRN
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = finite::<f64>)]
    yarn_ext_factor: Option<f64>,
    /// YaRN: factor of the attention magnitude; -1: the file's, else 1
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = finite::<f64>)]
    yarn_attn_factor: Option<f64>,
    /// YaRN: pairs with more than N turns in the original context are fast; -1: the file's, else 32
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = finite::<f64>)]
    yarn_beta_fast: Option<f64>,
    /// YaRN: pairs with fewer than N turns in the original context are slow; -1: the file's, else 1
    #[arg(long, help_heading = HEADING, value_name = "N", value_parser = finite::<f64>)]
    yarn_beta_slow: Option<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    None,
    Linear,
    Yarn,
}

impl OverrideArgs {
    /// Opens a file and replaces the values: first those of `--override-kv`, then those of the named arguments, whose
    /// keys begin with the file's architecture.
    pub fn open(&self, path: &Path) -> Result<Gguf, gguf::Error> {
        let mut gguf = Gguf::open(path)?;
        for (key, value) in &self.override_kv {
            gguf.replace(key, value.clone());
        }
        let scale = self.rope_freq_scale.filter(|scale| *scale != 0.0).map(|scale| 1.0 / scale);
        let given = |v: Option<f64>| v.filter(|v| *v >= 0.0).map(Value::F64);
        let method = self.rope_scaling.map(|method| match method {
            Method::None => "none",
            Method::Linear => "linear",
            Method::Yarn => "yarn",
        });
        let named = [
            ("freq_base", self.rope_freq_base.filter(|base| *base != 0.0).map(Value::F64)),
            ("scaling.factor", scale.or(self.rope_scale).map(Value::F64)),
            ("scaling.type", method.map(|method| Value::String(method.into()))),
            ("scaling.original_context_length", self.yarn_orig_ctx.filter(|n| *n != 0).map(Value::U32)),
            ("scaling.yarn_ext_factor", given(self.yarn_ext_factor)),
            ("scaling.yarn_attn_factor", given(self.yarn_attn_factor)),
            ("scaling.yarn_beta_fast", given(self.yarn_beta_fast)),
            ("scaling.yarn_beta_slow", given(self.yarn_beta_slow)),
        ];
        for (key, value) in named {
            if let Some(value) = value {
                let arch = gguf.required::<&str>("general.architecture")?.to_string();
                gguf.replace(&format!("{arch}.rope.{key}"), value);
            }
        }
        Ok(gguf)
    }
}

/// Prints a notice for each override that nothing has read. Call it after the command has read all keys that it needs.
pub fn notice_unread(gguf: &Gguf) {
    for key in gguf.unread() {
        notice(format!("the value given for {} is not used", excerpt(key)));
    }
}

/// Parses as llama.cpp does: the key ends at the first `=`, the type at the colon after it.
fn override_kv(text: &str) -> Result<(String, Value), String> {
    const EXPECTED: &str = "expected KEY=TYPE:VALUE with TYPE int, float, bool or str";
    let (key, typed) = text.split_once('=').ok_or(EXPECTED)?;
    let (ty, value) = typed.split_once(':').ok_or(EXPECTED)?;
    let parsed = match ty {
        "int" => value.parse().map(Value::I64).map_err(|_| "expected a whole number of 64 bits"),
        "float" => finite(value).map(Value::F64).map_err(|_| "expected a finite number"),
        "bool" => value.parse().map(Value::Bool).map_err(|_| "expected true or false"),
        "str" => Ok(Value::String(value.to_string().into())),
        _ => Err(EXPECTED),
    };
    if key.is_empty() {
        return Err(EXPECTED.to_string());
    }
    Ok((key.to_string(), parsed?))
}
