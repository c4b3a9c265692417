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

#[test]
fn smol() {
    use pronk::backend::DeviceChoice;
    use pronk::generate::{LoadOptions, Outputs, load};
    use pronk::plan::KvType;
    let path = std::path::PathBuf::from(std::env::var("MODEL").unwrap());
    let device = if std::env::var("CPU").is_ok() { DeviceChoice::Cpu } else { DeviceChoice::Wgpu(None) };
    let options = LoadOptions { device, n_ctx: Some(1024), kv: KvType::F16, chunk: 512, max_outputs: 8 };
    let t = std::time::Instant::now();
    let mut loaded = load(&path, &options, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}"));
    println!("load {:?}", t.elapsed());
    for n in [1, 1, 64, 64, 128, 128] {
        let prompt: Vec<u32> = (0..n).map(|i| 100 + i * 37 % 5000).collect();
        let t = std::time::Instant::now();
        loaded.session.truncate(0);
        loaded.session.feed(&prompt, Outputs::Last, |_, _| true).unwrap();
        let a = loaded.session.argmax().unwrap();
        println!("pp{n} {:?} {:.1} tok/s {a}", t.elapsed(), n as f64 / t.elapsed().as_secs_f64());
    }
    for _ in 0..2 {
    loaded.session.truncate(0);
    let t = std::time::Instant::now();
    let cpu = cpu_time();
    let mut tok = 100;
    let n = 32;
    for _ in 0..n {
        loaded.session.decode(tok).unwrap();
        tok = loaded.session.argmax().unwrap();
    }
    println!("cpu per token {:.1} ms", (cpu_time() - cpu) * 1e3 / n as f64);
    println!("tg{n} {:?} {:.1} tok/s {tok}", t.elapsed() / n, n as f64 / t.elapsed().as_secs_f64());
    }
}

#[test]
fn micro() {
    use pronk::plan::*;
    use pronk::quant::GgmlType;
    use pronk::backend::Backend;
    use pronk::conformance::{Random, random_blocks};
    let tokens: Vec<u32> = std::env::var("TOK").unwrap_or("1".into()).split(',').map(|v| v.parse().unwrap()).collect();
    let tys: &[GgmlType] = if std::env::var("TY").is_ok() { &[GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q8_0, GgmlType::F16, GgmlType::F32] } else { &[GgmlType::Q4_1] };
    for &n in &tokens { for &ty in tys {
        for (rows, cols) in [(576u32, 576u32), (1536, 576), (576, 1536), (49152, 576), (4096, 4096)] {
            let mut gpu = Wgpu::open(None, Options::default()).unwrap();
            let mut plan = Plan::new(KvDecl { layers: 1, slots: 1, heads: 1, head_dim: 2, ty: KvType::F32 }, n, 1);
            plan.n_vocab = u64::MAX;
            let mut rng = Random::new(7);
            let x = plan.buf("x", Rows::Tokens, cols);
            let out = plan.buf("out", Rows::Tokens, rows);
            let count = (60_000_000 / (rows as usize * cols as usize)).clamp(1, 40);
            let mut weights = vec![];
            let bytes: bytes::Bytes = random_blocks(ty, rows as u64 * cols as u64, &mut rng).into();
            for i in 0..count {
                weights.push(bytes.clone());
                let w = plan.weight(WeightDecl { name: format!("w{i}"), ty, rows: rows as u64, cols: cols as u64 });
                plan.push(MatMul { out, x, w, first_row: 0 }).unwrap();
            }
            gpu.load(&plan, &Weights(weights), &mut |_| {}).unwrap();
            let v: Vec<f32> = (0..n * cols).map(|_| rng.uniform(1.0)).collect();
            gpu.write(x, &v).unwrap();
            let mut step = Step::sequence(&vec![0; n as usize], 0, &[]);
            for row in &mut step.rows { row.slot = 0; row.kv_len = 1; row.position = 0; }
            let mut o = [0.0];
            let (mut best, mut bestc) = (f64::MAX, f64::MAX);
            for _ in 0..30 {
                let t = std::time::Instant::now();
                let c = cpu_time();
                gpu.run(&step).unwrap();
                gpu.read(out, &mut o).unwrap();
                best = best.min(t.elapsed().as_secs_f64());
                bestc = bestc.min(cpu_time() - c);
            }
            let w = count as f64 * rows as f64 * cols as f64;
            println!("tokens {n} {} {rows}x{cols} x{count}: {:.2} ms, {:.0} us each, {:.2} G weights/s, {:.2} GMAC/s; cpu {:.2} GMAC/s per core", ty.name(), best * 1e3, best * 1e6 / count as f64, w / best * 1e-9, w * n as f64 / best * 1e-9, w * n as f64 / bestc * 1e-9);
        }
    }}
}

#[test]
fn overhead() {
    use pronk::plan::*;
    use pronk::backend::Backend;
    for (stem, count) in [("add", 400), ("add", 4), ("add", 0)] {
        let mut gpu = Wgpu::open(None, Options::default()).unwrap();
        let mut plan = Plan::new(KvDecl { layers: 1, slots: 1, heads: 1, head_dim: 2, ty: KvType::F32 }, 1, 1);
        let x = plan.buf("x", Rows::Tokens, 576);
        for _ in 0..count { plan.push(Add { out: x, x, y: x }).unwrap(); }
        gpu.load(&plan, &Weights(vec![]), &mut |_| {}).unwrap();
        let step = Step::sequence(&[0], 0, &[]);
        let mut o = [0.0];
        let mut best = f64::MAX;
        for _ in 0..20 {
            let t = std::time::Instant::now();
            gpu.run(&step).unwrap();
            gpu.read(x, &mut o).unwrap();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!("{stem} x{count}: {:.1} us per step, {:.2} us each", best * 1e6, best * 1e6 / count as f64);
    }
}

fn cpu_time() -> f64 {
    #[repr(C)] struct Ts { s: i64, n: i64 }
    unsafe extern "C" { fn clock_gettime(id: i32, t: *mut Ts) -> i32; }
    let mut t = Ts { s: 0, n: 0 };
    unsafe { clock_gettime(2, &mut t) };
    t.s as f64 + t.n as f64 * 1e-9
}

#[test]
fn profile() {
    use pronk::backend::Backend;
    use pronk::model::*;
    use pronk::plan::*;
    use pronk::quant::GgmlType;
    use pronk::conformance::{Random, random_blocks};
    let n: u32 = std::env::var("N").unwrap_or("1".into()).parse().unwrap();
    let past: u32 = std::env::var("PAST").unwrap_or("100".into()).parse().unwrap();
    let ty = GgmlType::Q4_1;
    let kv = KvDecl { layers: 1, slots: 1024, heads: 3, head_dim: 64, ty: KvType::F16 };
    let mut p = Plan::new(kv, n.max(9), 1);
    let mut rng = Random::new(3);
    let mut ws: Vec<bytes::Bytes> = vec![];
    let x = p.buf("x", Rows::Tokens, 576);
    let h = p.buf("h", Rows::Tokens, 576);
    let (q, k, v) = (p.buf("q", Rows::Tokens, 576), p.buf("k", Rows::Tokens, 192), p.buf("v", Rows::Tokens, 192));
    let attn = p.buf("attn", Rows::Tokens, 576);
    let (gate, up) = (p.buf("gate", Rows::Tokens, 1536), p.buf("up", Rows::Tokens, 1536));
    let mut w = |p: &mut Plan, ty, rows: u64, cols: u64| { ws.push(random_blocks(ty, rows * cols, &mut rng).into()); p.weight(WeightDecl { name: "w".into(), ty, rows, cols }) };
    let table = w(&mut p, GgmlType::F32, 1024, 64);
    for _ in 0..4 {
        let n1 = w(&mut p, GgmlType::F32, 1, 576);
        p.push(RmsNorm { out: h, x, w: n1, eps: 1e-5 }).unwrap();
        for (out, rows) in [(q, 576), (k, 192), (v, 192)] { let w = w(&mut p, ty, rows, 576); p.push(MatMul { out, x: h, w, first_row: 0 }).unwrap(); }
        p.push(Rope { x: q, table, head_dim: 64 }).unwrap();
        p.push(Rope { x: k, table, head_dim: 64 }).unwrap();
        p.push(KvStore { k, v, layer: 0 }).unwrap();
        p.push(Attention { out: attn, q, layer: 0, scale: 0.125 }).unwrap();
        let wo = w(&mut p, ty, 576, 576);
        p.push(MatMul { out: h, x: attn, w: wo, first_row: 0 }).unwrap();
        p.push(Add { out: x, x, y: h }).unwrap();
        let n2 = w(&mut p, GgmlType::F32, 1, 576);
        p.push(RmsNorm { out: h, x, w: n2, eps: 1e-5 }).unwrap();
        for out in [gate, up] { let w = w(&mut p, ty, 1536, 576); p.push(MatMul { out, x: h, w, first_row: 0 }).unwrap(); }
        p.push(SwiGlu { out: gate, gate, up }).unwrap();
        let wd = w(&mut p, ty, 576, 1536);
        p.push(MatMul { out: h, x: gate, w: wd, first_row: 0 }).unwrap();
        p.push(Add { out: x, x, y: h }).unwrap();
    }
    let mut gpu = Wgpu::open(None, Options::default()).unwrap();
    if std::env::var("NOFUSE").is_err() { let q = p.clone(); let _ = q; fuse(&mut p, |plan, op, phase| gpu.supports(plan, op, phase).is_ok()); }
    gpu.load(&p, &Weights(ws), &mut |_| {}).unwrap();
    let mut step = Step::sequence(&vec![0; n as usize], past, &[]);
    let ops = p.ops(p.phase(n)).to_vec();
    let per = ops.len() / 4;
    let mut last = (0.0, 0.0);
    let mut o = [0.0];
    for i in 2 * per..=3 * per {
        step.stop_after = Some(i);
        let (mut a, mut b) = (f64::MAX, f64::MAX);
        for _ in 0..if n > 8 { 12 } else { 60 } {
            let (t, c) = (std::time::Instant::now(), cpu_time());
            gpu.run(&step).unwrap();
            gpu.read(h, &mut o).unwrap();
            a = a.min(t.elapsed().as_secs_f64());
            b = b.min(cpu_time() - c);
        }
        if i > 2 * per { println!("{:24} wall {:7.0} us, cpu {:7.0} us", ops[i - 1].stem(), (a - last.0) * 1e6, (b - last.1) * 1e6); }
        last = (a, b);
    }
    println!("3 layers: wall {:.0} us cpu {:.0} us", last.0 * 1e6, last.1 * 1e6);
}

#[test]
fn attn() {
    use pronk::backend::Backend;
    use pronk::plan::*;
    for (n, past, kvh, g, hd) in [(1u32, 100u32, 3u32, 3u32, 64u32), (1, 900, 3, 3, 64), (64, 0, 3, 3, 64), (64, 900, 3, 3, 64), (1, 900, 8, 4, 128), (64, 0, 8, 4, 128)] {
        let mut p = Plan::new(KvDecl { layers: 1, slots: 1024, heads: kvh, head_dim: hd, ty: KvType::F16 }, n, 1);
        p.n_vocab = u64::MAX; p.n_positions = u64::MAX;
        let q = p.buf("q", Rows::Tokens, kvh * g * hd);
        let out = p.buf("out", Rows::Tokens, kvh * g * hd);
        let count = 20;
        for _ in 0..count { p.push(Attention { out, q, layer: 0, scale: 0.125 }).unwrap(); }
        let mut gpu = Wgpu::open(None, Options::default()).unwrap();
        let t = std::time::Instant::now();
        gpu.load(&p, &Weights(vec![]), &mut |_| {}).unwrap();
        let load = t.elapsed();
        let step = Step::sequence(&vec![0; n as usize], past, &[]);
        let (mut a, mut b) = (f64::MAX, f64::MAX);
        let mut o = [0.0];
        for _ in 0..20 {
            let (t, c) = (std::time::Instant::now(), cpu_time());
            gpu.run(&step).unwrap();
            gpu.read(out, &mut o).unwrap();
            a = a.min(t.elapsed().as_secs_f64());
            b = b.min(cpu_time() - c);
        }
        let macs = (0..n).map(|t| past + t + 1).sum::<u32>() as f64 * (kvh * g * hd * 2) as f64 * count as f64;
        println!("attn n={n} past={past} {kvh}x{g}x{hd}: wall {:.0} us cpu {:.0} us, {:.2} GMAC/s per core, load {load:?}", a * 1e6 / count as f64, b * 1e6 / count as f64, macs / b * 1e-9);
    }
}
