//! The perplexity of a text: `cargo run --release --example score -- MODEL.gguf TEXT_FILE`

use pronk::{LanguageModel, LoadOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(text), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: score MODEL.gguf TEXT_FILE".into());
    };
    // Windows of 512 tokens; a step has logits of at most 64 tokens.
    let options = LoadOptions { n_ctx: Some(512), max_outputs: 64, ..LoadOptions::default() };
    let mut model = LanguageModel::load(path, &options, &mut |_| {})?;
    let mut score = model.score(&std::fs::read_to_string(text)?)?;
    while let Some(window) = score.next_window(|_| true) {
        window?;
        let perplexity = score.nll().exp();
        println!("{} tokens: perplexity {:.4} +/- {:.4}", score.nll().n(), perplexity.value, perplexity.error);
    }
    Ok(())
}
