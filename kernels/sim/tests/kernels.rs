//! Compiled kernels against plain Rust.

mod common;

use common::{Params, Rng, clean, device};
use ptx_sim::{Class, LaunchConfig, Module};

const SOURCES: [&str; 2] = [
    include_str!("ptx/kernels.ptx"),
    include_str!("ptx/kernels90.ptx"),
];

fn half(v: f32) -> u16 {
    // Small integers and halves of them are exact.
    let bits = v.to_bits();
    if v == 0.0 {
        0
    } else {
        ((bits >> 16 & 0x8000) + (((bits >> 23 & 0xff) - 112) << 10) + (bits >> 13 & 0x3ff)) as u16
    }
}

#[test]
fn rms_norm() {
    for (source, (tokens, n)) in SOURCES.iter().zip([(3u32, 576u32), (2, 4096)]) {
        let k = Module::load("kernels", source)
            .unwrap()
            .kernel("rms_norm")
            .unwrap();
        assert_eq!(k.param_bytes(), 40);
        let mut rng = Rng(1);
        let x: Vec<f32> = (0..tokens * n).map(|_| rng.f32()).collect();
        let w: Vec<f32> = (0..n).map(|_| rng.f32()).collect();
        let mut dev = device();
        let (xp, wp, out) = (
            dev.alloc(x.len() as u64 * 4).unwrap(),
            dev.alloc(n as u64 * 4).unwrap(),
            dev.alloc(x.len() as u64 * 4).unwrap(),
        );
        dev.write_f32(xp, &x).unwrap();
        dev.write_f32(wp, &w).unwrap();
        let step = dev.upload(&tokens.to_le_bytes()).unwrap();
        let params = Params::default()
            .u64(out)
            .u64(xp)
            .u64(wp)
            .u64(step)
            .u32(n)
            .f32(1e-5);
        // One block too many: it returns at once.
        let report = dev
            .launch(&k, LaunchConfig::linear(tokens + 1, 256), &params.0)
            .unwrap();
        clean(&report);
        let got = dev.read_f32(out, x.len()).unwrap();
        for (got, x) in got.chunks_exact(n as usize).zip(x.chunks_exact(n as usize)) {
            let mean = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / f64::from(n);
            for ((got, x), w) in got.iter().zip(x).zip(&w) {
                let want = f64::from(*x) * f64::from(*w) / (mean + 1e-5).sqrt();
                assert!((f64::from(*got) - want).abs() < 2e-6, "{got} {want}");
            }
        }
        let c = &report.counters;
        assert_eq!(c.dram_write_bytes, 4 * x.len() as u64);
        assert_eq!(c.dram_read_bytes, 4 * (x.len() + w.len()) as u64 + 32);
        assert_eq!(c.shared_conflicts, 0);
        assert_eq!(c.warps, 8 * u64::from(tokens + 1));
    }
}
