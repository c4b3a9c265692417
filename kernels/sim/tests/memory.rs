//! Loads, stores, atomics, spaces, counters and the estimate made from them.

mod common;

use common::{Params, clean, device, kernel, wrap};
use ptx_sim::{Class, Counters, Device, Gpu, Kernel, LaunchConfig, Roofline};

fn u32s(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

fn body(text: &str) -> String {
    wrap(".param .u64 p", &format!("ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;\n{text}"))
}

fn run(text: &str, config: LaunchConfig, data: &[u8]) -> (Vec<u8>, Counters) {
    let mut dev = device();
    let p = dev.upload(data).unwrap();
    let report = dev.launch(&kernel(&body(text)), config, &Params::default().u64(p).0).unwrap();
    clean(&report);
    let mut out = vec![0; data.len()];
    dev.read(p, &mut out).unwrap();
    (out, report.counters)
}

#[test]
fn widths_vectors_and_extension() {
    let data: Vec<u8> = (0..64u8).map(|v| v.wrapping_mul(37).wrapping_add(100)).collect();
    let one = LaunchConfig::linear(1, 1);
    let text = "ld.global.u8 %r5, [%rd1+1]; ld.global.s8 %r6, [%rd1+1]; ld.global.u16 %r7, [%rd1+2]; ld.global.s16 %r8, [%rd1+2];\n\
                ld.global.s8 %h1, [%rd1]; cvt.u32.u16 %r9, %h1; ld.global.s32 %rd5, [%rd1+4]; cvt.u32.u64 %r10, %rd5; shr.u64 %rd5, %rd5, 32; cvt.u32.u64 %r11, %rd5;\n\
                ld.global.v4.u8 {%r12, %r13, %r14, %r15}, [%rd1+8]; ld.global.v2.u16 {%h2, %h3}, [%rd1+12]; mov.b32 %r16, {%h3, %h2};\n\
                ld.global.v2.u64 {%rd6, %rd7}, [%rd1+16]; xor.b64 %rd6, %rd6, %rd7; mov.b64 {%r17, %r18}, %rd6;\n\
                st.global.v2.u32 [%rd1+32], {%r5, %r6}; st.global.v4.b32 [%rd1], {%r7, %r8, %r9, %r10}; st.global.u32 [%rd1+16], %r11;\n\
                st.global.v4.u8 [%rd1+20], {%r15, %r14, %r13, %r12}; st.global.u32 [%rd1+24], %r16; st.global.v2.u16 [%rd1+28], {%h2, %h3};\n\
                st.global.u32 [%rd1+40], %r17; st.global.u32 [%rd1+44], %r18; st.global.u8 [%rd1+49], %rd7;";
    let (out, _) = run(text, one, &data);
    let w = u32s(&out);
    let at = |i: usize| u32s(&data)[i];
    assert_eq!(w[8..10], [u32::from(data[1]), data[1] as i8 as i32 as u32]);
    let h = u16::from_le_bytes([data[2], data[3]]);
    assert_eq!(w[..4], [u32::from(h), h as i16 as i32 as u32, u32::from(data[0] as i8 as i16 as u16), at(1)]);
    assert_eq!(w[4], if at(1) >> 31 != 0 { u32::MAX } else { 0 });
    assert_eq!(w[5], at(2).swap_bytes());
    assert_eq!((w[6], w[7]), (at(3).rotate_left(16), at(3)));
    assert_eq!(w[10..12], [at(4) ^ at(6), at(5) ^ at(7)]);
    let mut bytes = data[48..52].to_vec();
    bytes[1] = data[24];
    assert_eq!(out[48..52], bytes);
}

#[test]
fn generic_addresses_and_spaces() {
    let text = ".shared .align 8 .b8 s[16]; .local .align 8 .b8 l[16];\nmov.u64 %rd5, s; cvta.shared.u64 %rd6, %rd5; mov.u64 %rd7, l; cvta.local.u64 %rd8, %rd7;\n\
                st.u32 [%rd6+4], 11; st.u32 [%rd8+8], 22; ld.shared.u32 %r5, [s+4]; ld.local.u32 %r6, [l+8]; cvta.to.shared.u64 %rd9, %rd6; ld.shared.u32 %r7, [%rd9+4];\n\
                isspacep.shared %p1, %rd6; isspacep.local %p2, %rd6; isspacep.global %p3, %rd1; selp.b32 %r8, 1, 0, %p1; selp.b32 %r9, 2, 0, %p2; selp.b32 %r10, 4, 0, %p3;\n\
                add.u32 %r8, %r8, %r9; add.u32 %r8, %r8, %r10;\nst.global.v4.u32 [%rd1], {%r5, %r6, %r7, %r8};\n\
                mov.b64 %rd10, p; ld.param.u64 %rd11, [%rd10]; cvta.param.u64 %rd12, %rd10; ld.u64 %rd13, [%rd12]; setp.eq.u64 %p4, %rd11, %rd13; selp.b32 %r11, 9, 0, %p4; st.global.u32 [%rd1+16], %r11;";
    assert_eq!(u32s(&run(text, LaunchConfig::linear(1, 1), &[0; 20]).0), [11, 22, 11, 5, 9]);
}

#[test]
fn atomics() {
    // 4 blocks of 64 threads.
    let config = LaunchConfig::linear(4, 64);
    let first = [7u32, 7, 100, u32::MAX, 0, u32::MAX, 0, 5, 5, 0, 0, 0];
    let data: Vec<u8> = first.iter().flat_map(|v| v.to_le_bytes()).collect();
    let text = "mad.lo.u32 %r3, %r2, 64, %r1; cvt.u64.u32 %rd5, %r3; cvt.rn.f32.u32 %f1, %r1;\n\
                red.global.add.u32 [%rd1], 1; red.global.max.u32 [%rd1+4], %r3; red.global.min.s32 [%rd1+8], %r3; red.global.and.b32 [%rd1+12], %r1;\n\
                red.global.or.b32 [%rd1+16], %r3; red.global.xor.b32 [%rd1+20], %r3; red.relaxed.gpu.global.add.f32 [%rd1+24], %f1;\n\
                red.global.inc.u32 [%rd1+28], 9; red.global.dec.u32 [%rd1+32], 9; mov.b32 %r9, 0x3c004000; red.global.add.noftz.f16x2 [%rd1+36], %r9; red.global.add.u64 [%rd1+40], 0x100000001;";
    let w = u32s(&run(text, config, &data).0);
    assert_eq!(w[..6], [7 + 256, 255, 0, 0, 255, u32::MAX]);
    assert_eq!(f32::from_bits(w[6]), 4.0 * 2016.0);
    assert_eq!(w[7], (5 + 256) % 10);
    // Down from 5 over 0 to 9.
    assert_eq!(w[8], (0..256).fold(5, |v: u32, _| if v == 0 { 9 } else { v - 1 }));
    // 256 ones and 256 twos in halves.
    assert_eq!(w[9], 0x5c00_6000);
    assert_eq!(w[10..], [256, 256]);
    let cas = "mov.u32 %r4, 0;\nL:\natom.global.cas.b32 %r5, [%rd1], %r4, 77; setp.ne.u32 %p1, %r5, 77; mov.u32 %r4, %r5;\n@%p1 bra L;\n\
               atom.global.exch.b32 %r6, [%rd1+4], 3; atom.global.add.u32 %r7, [%rd1+8], 1;";
    assert_eq!(u32s(&run(cas, LaunchConfig::linear(1, 32), &[0; 12]).0), [77, 3, 32]);
    // The old values of an atomic are all different.
    let ticket = "atom.global.add.u32 %r5, [%rd1], 1; mul.wide.u32 %rd5, %r5, 4; add.s64 %rd5, %rd1, %rd5; st.global.u32 [%rd5+4], %r5;";
    let w = u32s(&run(ticket, LaunchConfig::linear(1, 64), &[0; 4 * 65]).0);
    assert_eq!(w[1..], (0..64).collect::<Vec<_>>());
}

#[test]
fn cp_async_fills_with_zeros() {
    let text = ".shared .align 16 .b8 s[64];\ncp.async.ca.shared.global [s], [%rd1], 16, 6; cp.async.ca.shared.global.L2::128B [s+16], [%rd1+16], 8; cp.async.ca.shared.global [s+24], [%rd1], 4, 0;\n\
                cp.async.wait_all; ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [s]; ld.shared.v2.u32 {%r9, %r10}, [s+16]; ld.shared.u32 %r11, [s+24];\n\
                st.global.v4.u32 [%rd1], {%r5, %r6, %r7, %r8}; st.global.v2.u32 [%rd1+16], {%r9, %r10}; st.global.u32 [%rd1+24], %r11;";
    let data: Vec<u8> = (1..=32).collect();
    let (out, _) = run(text, LaunchConfig::linear(1, 1), &data);
    assert_eq!(out[..8], [1, 2, 3, 4, 5, 6, 0, 0]);
    assert_eq!(out[8..16], [0; 8]);
    assert_eq!(out[16..28], [17, 18, 19, 20, 21, 22, 23, 24, 0, 0, 0, 0]);
}

fn counters(text: &str, config: LaunchConfig) -> Counters {
    run(text, config, &vec![0; 1 << 16]).1
}

#[test]
fn coalescing() {
    let one = LaunchConfig::linear(1, 32);
    let load = |stride: u32, inst: &str| {
        counters(&format!("mul.wide.u32 %rd2, %r1, {stride}; add.s64 %rd3, %rd1, %rd2; {inst}"), one)
    };
    let c = load(4, "ld.global.u32 %r5, [%rd3];");
    assert_eq!((c.global_requests, c.sectors_asked, c.sectors_needed, c.dram_read_bytes), (1, 4, 4, 128));
    let c = load(128, "ld.global.u32 %r5, [%rd3];");
    assert_eq!((c.sectors_asked, c.sectors_needed, c.dram_read_bytes), (32, 4, 1024));
    let c = load(16, "ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%rd3];");
    assert_eq!((c.sectors_asked, c.sectors_needed, c.dram_read_bytes), (16, 16, 512));
    let c = load(0, "ld.global.u32 %r5, [%rd3]; st.global.u32 [%rd3+4], %r2;");
    assert_eq!((c.sectors_asked, c.sectors_needed, c.dram_read_bytes, c.dram_write_bytes), (2, 2, 32, 32));
    // Shifted by one word: one more sector per request, and the same bytes are fetched once.
    let c = counters(
        "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2; ld.global.u32 %r5, [%rd3+4]; ld.global.u32 %r6, [%rd3];",
        LaunchConfig::linear(3, 32),
    );
    assert_eq!((c.sectors_asked, c.sectors_needed, c.dram_read_bytes), (3 * 9, 3 * 8, 160));
}

#[test]
fn bank_conflicts() {
    let shared = |shift: u32, inst: &str| {
        let text = format!(
            ".shared .align 16 .b8 s[8192];\nmov.u32 %r3, s; shl.b32 %r4, %r1, {shift}; add.s32 %r5, %r3, %r4; {inst}"
        );
        let c = counters(&text, LaunchConfig::linear(1, 32));
        (c.shared_requests, c.shared_wavefronts, c.shared_conflicts)
    };
    assert_eq!(shared(2, "st.shared.u32 [%r5], %r1;"), (1, 1, 0));
    assert_eq!(shared(3, "st.shared.u32 [%r5], %r1;"), (1, 2, 1));
    assert_eq!(shared(7, "st.shared.u32 [%r5], %r1;"), (1, 32, 31));
    assert_eq!(shared(4, "st.shared.v4.u32 [%r5], {%r1, %r1, %r1, %r1};"), (1, 4, 0));
    assert_eq!(shared(5, "st.shared.v4.u32 [%r5], {%r1, %r1, %r1, %r1};"), (1, 8, 4));
    // All lanes read one word.
    assert_eq!(shared(2, "st.shared.u32 [%r5], %r1; bar.warp.sync -1; ld.shared.u32 %r6, [s];"), (2, 2, 0));
}

#[test]
fn bytes_in_flight() {
    let setup = "mul.wide.u32 %rd2, %r1, 16; add.s64 %rd3, %rd1, %rd2;";
    let load = |k: u32| {
        format!(
            "ld.global.v4.u32 {{%r{}, %r{}, %r{}, %r{}}}, [%rd3+{}];",
            10 + 4 * k,
            11 + 4 * k,
            12 + 4 * k,
            13 + 4 * k,
            512 * k
        )
    };
    let one = LaunchConfig::linear(1, 32);
    // Four loads, then uses in order: 2048 bytes before the first, and less before each further one.
    let text = format!(
        "{setup} {} {} {} {} add.s32 %r1, %r10, %r11; add.s32 %r1, %r14, %r18; add.s32 %r1, %r22, %r23;",
        load(0),
        load(1),
        load(2),
        load(3)
    );
    let c = counters(&text, one);
    assert_eq!((c.in_flight_max, c.first_uses, c.in_flight_sum), (2048, 4, 2048 + 1536 + 1024 + 512));
    // One at a time.
    let text = format!("{setup} {} add.s32 %r1, %r10, 1; {} add.s32 %r1, %r14, 1;", load(0), load(1));
    let c = counters(&text, one);
    assert_eq!((c.in_flight_max, c.first_uses), (512, 2));
    assert_eq!(c.in_flight_mean(), 512.0);
}

#[test]
fn instruction_counts() {
    let text = "setp.lt.u32 %p1, %r1, 8; @%p1 add.s32 %r5, %r1, 1; mul.f32 %f1, 0f3f800000, 0f40000000; ex2.approx.f32 %f2, %f1; dp4a.u32.u32 %r6, %r1, %r1, 0;";
    // Some instructions take the simulator several steps; they count once.
    let steps = "bfi.b32 %r5, %r1, %r1, 4, 4; mov.b32 {%h1, %h2}, %r5; mov.b32 %r6, {%h2, %h1}; madc.hi.u32 %r7, %r1, %r1, %r1;";
    let c = counters(steps, LaunchConfig::linear(1, 32));
    assert_eq!((c.instructions[&Class::Integer], c.instructions[&Class::Move], c.total_instructions()), (2, 4, 8));
    let c = counters(text, LaunchConfig::linear(2, 64));
    assert_eq!((c.instructions[&Class::Integer], c.lane_instructions[&Class::Integer]), (4, 16));
    assert_eq!((c.instructions[&Class::DotProduct], c.lane_instructions[&Class::Special], c.warps), (4, 128, 4));
    assert_eq!(c.lane_instructions_per(64), c.total_lane_instructions() as f64 / 64.0);
    assert_eq!(c.total_instructions(), c.lines.values().map(|v| v.0).sum::<u64>());
}

fn copy_kernel() -> (Device, Kernel, Vec<u8>) {
    let mut dev = device();
    let p = dev.upload(&vec![0; 1 << 20]).unwrap();
    let text = "mad.lo.u32 %r3, %r2, 256, %r1; mul.wide.u32 %rd2, %r3, 16; add.s64 %rd3, %rd1, %rd2; ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%rd3]; st.global.v4.u32 [%rd3+524288], {%r5, %r6, %r7, %r8};";
    (dev, kernel(&body(text)), Params::default().u64(p).0)
}

#[test]
fn roofline() {
    let (mut dev, k, params) = copy_kernel();
    let config = LaunchConfig::linear(128, 256);
    let report = dev.launch(&k, config, &params).unwrap();
    clean(&report);
    let c = &report.counters;
    assert_eq!((c.dram_read_bytes, c.dram_write_bytes), (1 << 19, 1 << 19));
    let h100 = Gpu::named("h100").unwrap();
    let r = Roofline::estimate(h100, &k, &config, c, 32);
    // 2048 threads of 32 registers fill the registers; 8 blocks of 8 warps fill the 64 warps.
    assert_eq!((r.blocks_per_sm, r.warps_per_sm, r.occupancy), (8, 64, 1.0));
    assert!((r.dram - (1 << 20) as f64 / 3.35e12).abs() < 1e-12);
    assert!(r.time() >= r.dram && !r.bound().is_empty());
    // 128 registers: a quarter of the warps.
    assert_eq!(Roofline::estimate(h100, &k, &config, c, 128).warps_per_sm, 16);
    let big = LaunchConfig { dynamic_shared: 100 << 10, ..config };
    assert_eq!(Roofline::estimate(h100, &k, &big, c, 32).blocks_per_sm, 2);
    assert_eq!(Roofline::estimate(Gpu::named("RTX 4090").unwrap(), &k, &config, c, 32).warps_per_sm, 48);
    assert!(Roofline::estimate(Gpu::named("A100").unwrap(), &k, &config, c, 32).dram > r.dram);
    assert!(Gpu::named("Voodoo").is_none());
}

#[test]
fn host_memory() {
    let mut dev = device();
    let a = dev.upload(&[1, 2, 3, 4, 5, 6, 7]).unwrap();
    let b = dev.alloc(7).unwrap();
    dev.copy(b, a, 7).unwrap();
    dev.fill(b + 2, 9, 3).unwrap();
    let mut out = [0; 7];
    dev.read(b, &mut out).unwrap();
    assert_eq!(out, [1, 2, 9, 9, 9, 6, 7]);
    assert!(dev.write(b + 4, &[0; 4]).is_err());
    assert!(dev.read(b + (1 << 40), &mut out).is_err());
    assert!(dev.alloc(1 << 50).is_err());
    assert_eq!(dev.allocated(), 14);
    dev.free(a).unwrap();
    assert_eq!(dev.allocated(), 7);
    // Freed space is used again.
    let c = dev.alloc(16).unwrap();
    assert_eq!(c, a);
}
