//! `outside MODEL.gguf TEXT`: streams the model's reply to a message, on the CPU.

use pronk::generate::{LoadOptions, Outputs, load};
use pronk::text::{ChatTemplate, Detokenizer, EncodeOptions, Message, Tokenizer, Vocab};
use std::io::{Write, stdout};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, text] = args.as_slice() else { return Err("usage: outside MODEL.gguf TEXT".into()) };
    let options = LoadOptions { n_ctx: Some(512), ..LoadOptions::default() };
    let mut loaded = load(Path::new(path), &options, &mut |_, _| {})?;
    let file = loaded.model.gguf().ok_or("a model without a file")?;
    let template = ChatTemplate::from_vocab(&Vocab::from_gguf(file)?)?;
    let tokenizer = Tokenizer::from_gguf(file)?;

    let prompt = template.render(&[Message::new("user", text)], true, &serde_json::Map::new())?;
    let tokens = tokenizer.encode(&prompt, EncodeOptions { add_bos: false, parse_special: true })?;
    loaded.session.feed(&tokens, Outputs::Last, |_, _| true)?;
    let mut detokenizer = Detokenizer::new();
    while loaded.session.room() > 0 {
        let token = loaded.session.argmax()?;
        if tokenizer.is_end(token) {
            break;
        }
        print!("{}", detokenizer.push(tokenizer.token_bytes(token, false)));
        stdout().flush()?;
        loaded.session.decode(token)?;
    }
    println!("{}", detokenizer.finish());
    Ok(())
}
