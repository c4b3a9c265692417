//! `outside MODEL.gguf TEXT`: streams the model's reply to a message, on the CPU.

use pronk::backend::BackendOptions;
use pronk::{GenerateOptions, LanguageModel, LoadOptions, SamplerOptions};
use std::io::{Write, stdout};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, text] = args.as_slice() else { return Err("usage: outside MODEL.gguf TEXT".into()) };
    let backend = BackendOptions { precise: true, ..BackendOptions::default() };
    let options = LoadOptions { n_ctx: Some(512), backend, ..LoadOptions::default() };
    let mut model = LanguageModel::load(path, &options, &mut |_| {})?;
    let mut chat = model.chat()?;
    let sampler = SamplerOptions { temperature: 0.0, ..SamplerOptions::default() };
    chat.options = GenerateOptions { sampler, ..GenerateOptions::default() };
    for piece in chat.say(text)? {
        print!("{}", piece?.text);
        stdout().flush()?;
    }
    println!();
    Ok(())
}
