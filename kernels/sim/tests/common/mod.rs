//! What the tests share.
#![allow(dead_code)]

use ptx_sim::{Check, Device, Kernel, LaunchConfig, Limits, Module, Report};

pub fn device() -> Device {
    Device::new(Limits { host_threads: 2, ..Limits::default() })
}

/// Parameter block: every value at its natural alignment.
#[derive(Default)]
pub struct Params(pub Vec<u8>);

impl Params {
    fn put(mut self, bytes: &[u8]) -> Params {
        let at = self.0.len().next_multiple_of(bytes.len());
        self.0.resize(at, 0);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn u64(self, v: u64) -> Params {
        self.put(&v.to_le_bytes())
    }

    pub fn u32(self, v: u32) -> Params {
        self.put(&v.to_le_bytes())
    }

    pub fn f32(self, v: f32) -> Params {
        self.put(&v.to_le_bytes())
    }
}

/// A kernel `k` with the given parameters and body; common registers are declared.
pub fn wrap(params: &str, body: &str) -> String {
    format!(
        ".version 8.4\n.target sm_90\n.address_size 64\n.visible .entry k({params})\n{{\n\
         .reg .pred %p<16>; .reg .b16 %h<16>; .reg .b32 %r<64>; .reg .f32 %f<32>; .reg .b64 %rd<32>; .reg .f64 %fd<16>;\n\
         {body}\nret;\n}}\n"
    )
}

/// The line of the first line that contains a marker comment.
pub fn line_of(ptx: &str, marker: &str) -> u32 {
    ptx.lines().position(|l| l.contains(marker)).expect("marker") as u32 + 1
}

pub fn kernel(ptx: &str) -> Kernel {
    match Module::load("test", ptx) {
        Ok(m) => m.kernel("k").expect("kernel k"),
        Err(e) => panic!("{e}"),
    }
}

/// One finding of this kind at this line, in this block and thread.
pub fn expect(report: &Report, check: Check, line: u32, block: [u32; 3], thread: [u32; 3]) {
    let all: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let hit = report.findings.iter().find(|f| f.check == check && f.line == line);
    let hit = hit.unwrap_or_else(|| panic!("no {check:?} at line {line}: {all:?}"));
    assert_eq!((hit.block, hit.thread), (block, thread), "{all:?}");
    assert_eq!(hit.kernel, report.kernel);
    assert_eq!(report.findings.len(), 1, "{all:?}");
}

pub fn clean(report: &Report) {
    if let Err(e) = report.check() {
        panic!("{e}");
    }
}

/// Deterministic random numbers.
pub struct Rng(pub u64);

impl Rng {
    pub fn u32(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 ^ (self.0 >> 20) as u32
    }

    /// Uniform in -1..1.
    pub fn f32(&mut self) -> f32 {
        (self.u32() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Runs `instructions` once per lane of one warp. Inputs `a`, `b`, `c` are in the registers named by `load`, e.g.
/// `ld.global.b32 %r1`; the output comes from `store`.
pub fn lanes32(instructions: &str, inputs: &[[u32; 3]]) -> Vec<u32> {
    let body = format!(
        "ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out];\n\
         mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; shl.b32 %r2, %r2, 5; add.s32 %r1, %r1, %r2;\n\
         mul.wide.u32 %rd3, %r1, 12; add.s64 %rd1, %rd1, %rd3; mul.wide.u32 %rd3, %r1, 4; add.s64 %rd2, %rd2, %rd3;\n\
         ld.global.u32 %r10, [%rd1]; ld.global.u32 %r11, [%rd1+4]; ld.global.u32 %r12, [%rd1+8];\n\
         mov.b32 %f10, %r10; mov.b32 %f11, %r11; mov.b32 %f12, %r12;\n\
         cvt.u16.u32 %h10, %r10; cvt.u16.u32 %h11, %r11; cvt.u16.u32 %h12, %r12;\n\
         {instructions}\n\
         st.global.u32 [%rd2], %r20;"
    );
    let k = kernel(&wrap(".param .u64 in, .param .u64 out", &body));
    let mut data = inputs.to_vec();
    data.resize(inputs.len().next_multiple_of(32), [0; 3]);
    let bytes: Vec<u8> = data.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    let mut dev = device();
    let input = dev.upload(&bytes).unwrap();
    let out = dev.alloc(4 * data.len() as u64).unwrap();
    let config = LaunchConfig::linear(data.len() as u32 / 32, 32);
    let report = dev.launch(&k, config, &Params::default().u64(input).u64(out).0).unwrap();
    clean(&report);
    let mut back = vec![0; 4 * data.len()];
    dev.read(out, &mut back).unwrap();
    back.chunks_exact(4).take(inputs.len()).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}
