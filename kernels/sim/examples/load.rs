//! Lists the kernels of PTX files, or the first line that is not known.
//!
//! `cargo run -p ptx-sim --example load -- FILE.ptx ...`

use ptx_sim::Module;

fn main() -> std::io::Result<()> {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path)?;
        match Module::load(&path, &text) {
            Ok(m) => {
                for k in m.kernel_names().filter_map(|n| m.kernel(n)) {
                    let (p, s, l) = (k.param_bytes(), k.static_shared(), k.local_bytes());
                    println!("{path}: {} takes {p} bytes, {s} bytes shared, {l} bytes local per thread", k.name());
                }
            }
            Err(e) => {
                let line = text.lines().nth(e.line as usize - 1).unwrap_or_default();
                println!("{e}\n    {}", line.trim());
            }
        }
    }
    Ok(())
}
