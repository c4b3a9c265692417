//! Lists the kernels of PTX files, and those that cannot run with the line that is not known.
//!
//! `cargo run -p ptx-sim --example load -- FILE.ptx ...`

use ptx_sim::{LoadError, Module};

fn line<'a>(text: &'a str, e: &LoadError) -> &'a str {
    text.lines().nth(e.line as usize - 1).unwrap_or_default().trim()
}

fn main() -> std::io::Result<()> {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path)?;
        match Module::load(&path, &text) {
            Ok(m) => {
                for k in m.kernel_names().filter_map(|n| m.kernel(n)) {
                    let (p, s, l) = (k.param_bytes(), k.static_shared(), k.local_bytes());
                    println!("{path}: {} takes {p} bytes, {s} bytes shared, {l} bytes local per thread", k.name());
                }
                m.refused().for_each(|(kernel, why)| println!("{kernel} is refused: {why}\n    {}", line(&text, why)));
            }
            Err(e) => println!("{e}\n    {}", line(&text, &e)),
        }
    }
    Ok(())
}
