//! How fast the simulator is: a matrix-vector product of 4-bit weights with `dp4a`, and a tensor-core product.
//!
//! `cargo run --release -p ptx-sim --example throughput`

use std::time::Instant;

use ptx_sim::{Checks, Device, LaunchConfig, Limits, Module, Report};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let module = Module::load("kernels.ptx", include_str!("../tests/ptx/kernels.ptx"))?;
    for (checks, name) in [(Checks::ALL, "all checks"), (Checks::NONE, "no checks")] {
        let mut dev = Device::new(Limits::default());
        dev.checks = checks;
        let (rows, blocks) = (16384u32, 64u32);
        let weights = u64::from(rows) * u64::from(blocks) * 32;
        let q = dev.upload(&vec![0x5a; weights as usize / 2])?;
        let d = dev.upload(&vec![0x3c; weights as usize / 16])?;
        let qx = dev.upload(&vec![3; blocks as usize * 32])?;
        let dx = dev.upload(&vec![0; blocks as usize * 4])?;
        let out = dev.alloc(u64::from(rows) * 4)?;
        let mut params = Vec::new();
        [out, q, d, qx, dx].iter().for_each(|p| params.extend_from_slice(&p.to_le_bytes()));
        [rows, blocks].iter().for_each(|p| params.extend_from_slice(&p.to_le_bytes()));
        let kernel = module.kernel("mat_vec_q4").ok_or("no kernel")?;
        let start = Instant::now();
        let report = dev.launch(&kernel, LaunchConfig::linear(rows / 4, 128), &params)?;
        show(&format!("mat_vec_q4, {name}"), &report, start, Some(weights));

        let (m, n, k) = (256u32, 256u32, 1024u32);
        let a = dev.upload(&vec![0; (m * k * 2) as usize])?;
        let b = dev.upload(&vec![0; (n * k * 2) as usize])?;
        let c = dev.alloc(u64::from(m * n * 4))?;
        let mut params = Vec::new();
        [c, a, b].iter().for_each(|p| params.extend_from_slice(&p.to_le_bytes()));
        [n, k].iter().for_each(|p| params.extend_from_slice(&p.to_le_bytes()));
        let kernel = module.kernel("mma_f16").ok_or("no kernel")?;
        let config = LaunchConfig { grid: [n / 8, m / 16, 1], ..LaunchConfig::linear(1, 32) };
        let start = Instant::now();
        let report = dev.launch(&kernel, config, &params)?;
        show(&format!("mma_f16, {name}"), &report, start, None);
    }
    Ok(())
}

fn show(name: &str, report: &Report, start: Instant, weights: Option<u64>) {
    let s = start.elapsed().as_secs_f64();
    let c = &report.counters;
    let (warp, lane) = (c.total_instructions() as f64, c.total_lane_instructions() as f64);
    println!(
        "{name}: {s:.3} s, {:.1} M warp instructions/s, {:.2} G lane instructions/s",
        warp / s / 1e6,
        lane / s / 1e9
    );
    if let Some(w) = weights {
        println!(
            "    {:.2} lane instructions per weight, {:.3} G weights/s",
            c.lane_instructions_per(w),
            w as f64 / s / 1e9
        );
    }
    report.findings.iter().for_each(|f| println!("    {f}"));
}
