//! Arguments of the commands that generate text.

use super::numbers::{at_least_zero, finite, positive, probability, whole_from};
use super::text::TextArgs;
use anyhow::Result;
use clap::Args;
use pronk::generate::{ContextEnd, GenerateOptions, SamplerOptions};

/// The value of `-n` that ends the text where the context is full, also with `--context-end shift`. As in llama.cpp.
const UNTIL_FULL: i64 = -2;

/// How tokens are chosen and when the text ends.
#[derive(Args)]
pub struct SamplingArgs {
    /// Maximum number of tokens to generate; -1: until the model ends the text; -2: as -1, but at most until the context is full
    #[arg(short, long, value_name = "N", default_value = "-1", value_parser = whole_from::<i64>(UNTIL_FULL.into()))]
    n_predict: i64,
    /// Temperature; 0: always the likeliest token
    #[arg(long, value_name = "T", default_value = "0.8", value_parser = at_least_zero::<f32>)]
    temp: f32,
    /// Choose among the K likeliest tokens; 0 or -1: all
    #[arg(long, value_name = "K", default_value = "40", value_parser = whole_from::<i64>(-1))]
    top_k: i64,
    /// Choose among the likeliest tokens whose probabilities sum to P; 1: all
    #[arg(long, value_name = "P", default_value = "0.95", value_parser = probability::<f32>)]
    top_p: f32,
    /// Choose among tokens at least P times as probable as the likeliest; 0: all
    #[arg(long, value_name = "P", default_value = "0.05", value_parser = probability::<f32>)]
    min_p: f32,
    /// Penalty by which the logits of recent tokens are divided; 1: none
    #[arg(long, value_name = "F", default_value = "1", value_parser = positive::<f32>)]
    repeat_penalty: f32,
    /// Number of recent tokens that are penalized; 0: none, -1: all
    #[arg(long, value_name = "N", default_value = "64", value_parser = whole_from::<i64>(-1))]
    repeat_last_n: i64,
    /// Penalty subtracted from the logits of recent tokens; 0: none
    #[arg(long, value_name = "F", default_value = "0", value_parser = finite::<f32>)]
    presence_penalty: f32,
    /// Penalty subtracted from the logits of recent tokens once per occurrence; 0: none
    #[arg(long, value_name = "F", default_value = "0", value_parser = finite::<f32>)]
    frequency_penalty: f32,
    /// Seed of the random choices; -1: a random seed, which is printed
    #[arg(short, long, value_name = "N", default_value = "-1", value_parser = whole_from::<i64>(-1))]
    seed: i64,
    /// Never choose a token that ends the text
    #[arg(long)]
    ignore_eos: bool,
    /// End the text before this string; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
}

impl SamplingArgs {
    /// The options of the generator. `text` says whether stop strings have escapes; `special`: whether control tokens are shown.
    ///
    /// Errors: a stop string is not UTF-8.
    pub fn options(&self, context_end: ContextEnd, text: &TextArgs, special: bool) -> Result<GenerateOptions> {
        let stops = self.stop.iter().map(|stop| text.unescaped("--stop", stop));
        Ok(GenerateOptions {
            sampler: self.sampler(),
            max_tokens: usize::try_from(self.n_predict).unwrap_or(usize::MAX),
            ignore_ends: self.ignore_eos,
            special,
            stops: stops.collect::<Result<_>>()?,
            context_end: if self.n_predict == UNTIL_FULL { ContextEnd::Stop } else { context_end },
            log_probs: false,
        })
    }

    /// The options of the sampler. A random seed has 32 bits: short enough to type again.
    fn sampler(&self) -> SamplerOptions {
        SamplerOptions {
            temperature: self.temp,
            top_k: usize::try_from(self.top_k).unwrap_or(0),
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            repeat_last_n: usize::try_from(self.repeat_last_n).unwrap_or(usize::MAX),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: u64::try_from(self.seed).unwrap_or_else(|_| rand::random::<u32>().into()),
        }
    }
}

/// The seed; None where the choices are not random.
pub fn seed(options: &SamplerOptions) -> Option<u64> {
    (options.temperature > 0.0).then_some(options.seed)
}
