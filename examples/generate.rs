//! Continues a text: `cargo run --release --example generate -- MODEL.gguf "Once upon a time"`

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: generate MODEL.gguf TEXT")?;
    let mut model = pronk::LanguageModel::open(path)?;
    for piece in model.generate(&args.collect::<Vec<_>>().join(" "))?.take(32) {
        print!("{}", piece?.text);
    }
    println!();
    Ok(())
}
