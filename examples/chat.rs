//! Answers each line of stdin: `cargo run --release --example chat -- MODEL.gguf`

use pronk::{GenerateOptions, LanguageModel, SamplerOptions};
use std::io::{Write, stdin, stdout};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: chat MODEL.gguf")?;
    let mut model = LanguageModel::open(path)?;
    let mut chat = model.chat()?;
    chat.set_system(Some("You are a helpful assistant."));
    let greedy = SamplerOptions { temperature: 0.0, ..SamplerOptions::default() };
    chat.options = GenerateOptions { sampler: greedy, max_tokens: 64, ..GenerateOptions::default() };
    for line in stdin().lines() {
        let mut reply = chat.say(&line?)?;
        for piece in &mut reply {
            print!("{}", piece?.text);
            stdout().flush()?;
        }
        let stats = reply.stats();
        println!();
        eprintln!("{} tokens read, {} known, {} written", stats.fed, stats.cached, stats.generated);
    }
    Ok(())
}
