//! Compiled kernels against plain Rust.

mod common;

use common::{Params, Rng, clean, device};
use ptx_sim::{Class, LaunchConfig, Module};

const SOURCES: [&str; 2] = [include_str!("ptx/kernels.ptx"), include_str!("ptx/kernels90.ptx")];

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
        let k = Module::load("kernels", source).unwrap().kernel("rms_norm").unwrap();
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
        let params = Params::default().u64(out).u64(xp).u64(wp).u64(step).u32(n).f32(1e-5);
        // One block too many: it returns at once.
        let report = dev.launch(&k, LaunchConfig::linear(tokens + 1, 256), &params.0).unwrap();
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

/// Q4 blocks of 32 weights: packed nibbles, first 16 in the low halves, and a half-precision scale.
#[test]
fn mat_vec_q4() {
    for source in SOURCES {
        let k = Module::load("kernels", source).unwrap().kernel("mat_vec_q4").unwrap();
        let (rows, blocks) = (37usize, 40usize);
        let mut rng = Rng(2);
        let q: Vec<u32> = (0..rows * blocks * 4).map(|_| rng.u32()).collect();
        let d: Vec<f32> = (0..rows * blocks).map(|_| (rng.u32() % 64) as f32 / 16.0 - 2.0).collect();
        let qx: Vec<i8> = (0..blocks * 32).map(|_| (rng.u32() % 255) as i8).collect();
        let dx: Vec<f32> = (0..blocks).map(|_| rng.f32()).collect();
        let mut dev = device();
        let qp = dev.upload(&q.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let dp = dev.upload(&d.iter().flat_map(|v| half(*v).to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let qxp = dev.upload(&qx.iter().map(|v| *v as u8).collect::<Vec<_>>()).unwrap();
        let dxp = dev.alloc(4 * blocks as u64).unwrap();
        dev.write_f32(dxp, &dx).unwrap();
        let out = dev.alloc(4 * rows as u64).unwrap();
        let params = Params::default().u64(out).u64(qp).u64(dp).u64(qxp).u64(dxp).u32(rows as u32).u32(blocks as u32);
        let report = dev.launch(&k, LaunchConfig::linear(rows.div_ceil(4) as u32, 128), &params.0).unwrap();
        clean(&report);
        let got = dev.read_f32(out, rows).unwrap();
        for (r, got) in got.iter().enumerate() {
            let mut want = 0.0;
            for b in 0..blocks {
                let at = r * blocks + b;
                let nibble = |i: usize| (q[at * 4 + i % 16 / 4] >> (8 * (i % 4) + 4 * (i / 16)) & 15) as i32 - 8;
                let dot: i32 = (0..32).map(|i| nibble(i) * i32::from(qx[b * 32 + i])).sum();
                want += f64::from(d[at]) * f64::from(dx[b]) * f64::from(dot);
            }
            assert!((f64::from(*got) - want).abs() < 1e-2, "row {r}: {got} {want}");
        }
        let c = &report.counters;
        assert!(c.instructions[&Class::DotProduct] >= 16 * (rows * 2) as u64);
        // Every weight is fetched once; the input vector too, however many rows read it.
        let bytes = 16 * rows * blocks + (2 * rows * blocks).next_multiple_of(32) + 32 * blocks + 4 * blocks;
        assert_eq!(c.dram_read_bytes, bytes as u64);
        assert!(c.in_flight_max >= 32 * 16, "{}", c.in_flight_max);
    }
}

#[test]
fn matrix_product_with_asynchronous_copies() {
    for source in SOURCES {
        let k = Module::load("kernels", source).unwrap().kernel("mma_f16").unwrap();
        let (m, n, kk) = (32usize, 24usize, 80usize);
        let mut rng = Rng(3);
        let mut matrix = |len: usize| -> Vec<f32> { (0..len).map(|_| (rng.u32() % 33) as f32 / 4.0 - 4.0).collect() };
        let (a, b) = (matrix(m * kk), matrix(n * kk));
        let halves = |v: &[f32]| v.iter().flat_map(|v| half(*v).to_le_bytes()).collect::<Vec<_>>();
        let mut dev = device();
        let (ap, bp) = (dev.upload(&halves(&a)).unwrap(), dev.upload(&halves(&b)).unwrap());
        let c = dev.alloc(4 * (m * n) as u64).unwrap();
        let mut config = LaunchConfig::linear(1, 32);
        config.grid = [n as u32 / 8, m as u32 / 16, 1];
        let report =
            dev.launch(&k, config, &Params::default().u64(c).u64(ap).u64(bp).u32(n as u32).u32(kk as u32).0).unwrap();
        clean(&report);
        let got = dev.read_f32(c, m * n).unwrap();
        for i in 0..m {
            for j in 0..n {
                let want: f32 = (0..kk).map(|x| a[i * kk + x] * b[j * kk + x]).sum();
                assert_eq!(got[i * n + j], want, "{i} {j}");
            }
        }
        assert_eq!(report.counters.instructions[&Class::Matrix], (m / 16 * n / 8 * kk / 16 * 3) as u64);
        assert_eq!(report.counters.shared_conflicts, 0);
    }
}

#[test]
fn what_a_compiler_makes_of_everything_else() {
    for source in SOURCES {
        let module = Module::load("kernels", source).unwrap();
        let k = module.kernel("misc").unwrap();
        let (n, y) = (1234i32, 1.75f32);
        let mut dev = device();
        let out = dev.alloc(64 * 16 * 4).unwrap();
        let halves = |v: &[f32]| v.iter().flat_map(|v| half(*v).to_le_bytes()).collect::<Vec<_>>();
        let h = dev.upload(&halves(&[1.5, -2.0, 3.0, 0.5, 0.25, 8.0])).unwrap();
        let b = dev.upload(&[0, 0, 0, 0, 0, 0, 0x20, 0x40]).unwrap(); // bf16 2.5 at index 3
        let config = LaunchConfig { dynamic_shared: 256, ..LaunchConfig::linear(1, 64) };
        let params = Params::default().u64(out).u64(h).u64(b).u32(n as u32).f32(y);
        let report = dev.launch(&k, config, &params.0).unwrap();
        clean(&report);
        assert_eq!(report.printed, ["n 1234 y 1.75 x\n"]);
        let got = dev.read_f32(out, 64 * 16).unwrap();
        for (t, o) in got.chunks_exact(16).enumerate() {
            let near = |i: usize, want: f64| {
                let g = f64::from(o[i]);
                assert!((g - want).abs() <= 1e-6 * want.abs().max(1.0), "thread {t} value {i}: {g} {want}");
            };
            let yd = f64::from(y);
            near(0, yd.sin() + 1235.0 + 4.0);
            near(1, yd.powf(3.5));
            near(2, f64::from(y * 1_000_000.0).cos());
            near(3, yd.exp());
            near(4, yd.tanh());
            near(5, yd.ln());
            // h[0] * h[1] + h[2] in halves: 1.5 * 3 + 0.25 and -2 * 0.5 + 8
            near(6, 4.75 + 2.5 + 7.0);
            let s = [1.0, f64::from(n) * yd, 3.0, 9.0, 9.0 / yd, 10.0, -1.0];
            near(7, s[(n as usize + t) % 7]);
            near(8, f64::from(n * ((t as f32 + y) as i32 & 7)));
            near(9, yd.sqrt() / 3.0);
            near(10, f64::from(f32::from_bits(1)));
            let u = n as u32;
            near(11, f64::from(u.count_ones() + u.leading_zeros() + u.trailing_zeros() + 1 + u.reverse_bits() % 17));
            near(12, ((n as u64).wrapping_mul(0x123_4567_89ab_cdef) % 1_000_003) as f64);
            near(13, yd * yd / 3.0);
            near(14, f64::from(u.wrapping_mul(77777) / 7 % 13));
            near(15, f64::from(n / (t as i32 + 1) % 5));
        }
        let counter = dev.global(&module, "counter").unwrap().unwrap();
        let mut v = [0; 4];
        dev.read(counter, &mut v).unwrap();
        assert_eq!(i32::from_le_bytes(v), 7 + 64);
    }
}

#[test]
fn grid_barrier_of_cooperative_groups() {
    let k = Module::load("grid_sync", include_str!("ptx/grid_sync.ptx")).unwrap().kernel("grid_sync").unwrap();
    let n = 12 * 64;
    let mut dev = device();
    let x = dev.alloc(4 * n as u64).unwrap();
    dev.write_f32(x, &(0..n).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    let params = Params::default().u64(x).u32(n as u32).u32(5);
    let config = LaunchConfig { cooperative: true, ..LaunchConfig::linear(12, 64) };
    clean(&dev.launch(&k, config, &params.0).unwrap());
    let got = dev.read_f32(x, n).unwrap();
    for (i, v) in got.iter().enumerate() {
        assert_eq!(*v, ((i + 5 * 33) % n) as f32 + 5.0);
    }
    // Without a cooperative launch the library traps.
    let config = LaunchConfig { cooperative: false, ..config };
    assert!(matches!(dev.launch(&k, config, &params.0), Err(ptx_sim::Fault::Trap { .. })));
}
