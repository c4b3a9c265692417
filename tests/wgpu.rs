//! placeholder while building
use pronk::backend::wgpu::{Options, Wgpu};
use pronk::conformance::{Outcome, cases};
#[test]
fn conf() {
    for d in pronk::backend::wgpu::available() { println!("{d:?}"); }
    let options = Options { checked: std::env::var("CHECKED").is_ok(), max_weight_binding: std::env::var("MAXW").ok().map(|v| v.parse().unwrap()) };
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut gpu = Wgpu::open(None, options).unwrap();
    let (mut pass, mut fail, mut uns) = (0, 0, 0);
    for case in cases() {
        let name = format!("{} {}", case.stem, case.name);
        if !name.contains(&only) { continue; }
        let t = std::time::Instant::now();
        match case.run(&mut gpu) {
            Ok(Outcome::Passed(e)) => { pass += 1; println!("ok {name} {e:.1e} {:?}", t.elapsed()) }
            Ok(Outcome::Unsupported(why)) => { uns += 1; println!("UNSUPPORTED {name}: {why}") }
            Ok(Outcome::Failed(what)) => { fail += 1; println!("FAILED {name}: {what}") }
            Err(e) => { fail += 1; println!("ERROR {name}: {e}") }
        }
    }
    println!("{pass} passed, {uns} unsupported, {fail} failed");
}
