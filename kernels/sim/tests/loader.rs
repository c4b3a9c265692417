//! What the loader accepts, and the line that it names when it refuses.

mod common;

use common::{Params, clean, device, kernel, line_of, wrap};
use ptx_sim::{Device, LaunchConfig, Limits, Module};

fn refused(text: &str, line: u32, message: &str) {
    let e = Module::load("m", text).expect_err(message);
    assert_eq!((e.line, e.module.as_str()), (line, "m"), "{e}");
    assert!(e.to_string().contains(message), "{e}");
}

#[test]
fn refuses_with_the_line() {
    for (inst, message) in [
        ("frobnicate.b32 %r1, %r2;", "instruction 'frobnicate.b32' is not known"),
        ("add.wobble.s32 %r1, %r2, %r3;", "modifier '.wobble' is not known"),
        ("add.s32 %r1, %r2;", "2 operands, 3 expected"),
        ("add.s32 %r1, %r2, %x9;", "name %x9 is not known"),
        ("add.s32 %r99, %r2, %r3;", "register %r99 is not declared"),
        ("add.s64 %rd1, %rd2, %r3;", "64 bits expected"),
        ("bra NOWHERE;", "label NOWHERE is not known"),
        ("wgmma.fence.sync.aligned;", "'wgmma.fence.sync.aligned' is not known"),
        ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1}, {%r1}, {%r2}, {%f2};", "fragments are not known"),
        ("cvt.s32.f32 %r1, %f1;", "not known"),
        ("ld.global.v2.u32 %r1, [%rd1];", "2 expected"),
        ("call (%r1), %rd1, (%r2);", "indirect"),
        ("tex.1d.v4.f32.s32 {%f1, %f2, %f3, %f4}, [%rd1, {%r1}];", "'tex.1d.v4.f32.s32' is not known"),
        ("sust.b.2d.b32.trap [%rd1, {%r1, %r2}], {%r3};", "'sust.b.2d.b32.trap' is not known"),
        (
            "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r4];",
            "cp.async.bulk.tensor",
        ),
        ("add.s32 %r1, %r2, %r3", "expected"),
    ] {
        let text = wrap("", &format!("mov.u32 %r2, 1;\n{inst} // here"));
        let at = line_of(&text, "// here");
        // A missing semicolon shows at the next token.
        let line = if inst.ends_with(';') { at } else { at + 1 };
        refused(&text, line, message);
    }
    refused("not ptx at all", 1, "directive expected");
    refused("", 1, "is this PTX");
    refused(".version 8.4\n.target sm_80\n.address_size 32\n", 3, "address_size 64");
    refused(".version 8.4\n.target sm_80\n.visible .entry k()\n{\nret;\n", 4, "without an end");
    refused(".version 8.4\n.target sm_80\n.wibble\n", 3, "directive '.wibble'");
    let deep = wrap("", &"{".repeat(100_000));
    assert!(Module::load("m", &deep).is_err());
    let huge = wrap("", ".local .align 4 .b8 a[16000000]; .local .align 4 .b8 b[16000000]; // here");
    refused(&huge, line_of(&huge, "// here"), "more than 16777216 bytes");
    refused(&wrap(".param .align 3 .b8 p[3]", ""), 4, "alignment 3");
    let recursive = ".version 8.4\n.target sm_80\n.func f()\n{\ncall.uni f;\nret;\n}\n.visible .entry k()\n{\ncall.uni f;\nret;\n}\n";
    refused(recursive, 5, "recursive");
}

/// What is not known in one kernel leaves the others as they are; an address of a function is no value.
#[test]
fn a_kernel_is_refused_by_itself() {
    let head = ".version 8.4\n.target sm_90\n.address_size 64\n";
    let text = format!(
        "{head}.func f()\n{{\nfrob; // in f\nret;\n}}\n.visible .entry good()\n.maxclusterrank 8\n{{\nret;\n}}\n\
         .visible .entry bad()\n{{\n.reg .b64 %rd<9>;\ntex.2d [%rd1, {{%rd2}}, %rd3; // in bad\nret;\n}}\n\
         .visible .entry calls()\n{{\ncall.uni f;\nret;\n}}\n"
    );
    let module = Module::load("m", &text).expect("a good kernel");
    assert_eq!(module.kernel_names().collect::<Vec<_>>(), ["good"]);
    let refused: Vec<(&str, u32)> = module.refused().map(|(kernel, why)| (kernel, why.line)).collect();
    assert_eq!(refused, [("bad", line_of(&text, "// in bad")), ("calls", line_of(&text, "// in f"))]);
    assert!(module.refusal("bad").is_some() && module.refusal("good").is_none() && module.refusal("none").is_none());
    assert!(module.kernel("bad").is_none());
}

#[test]
fn an_address_of_a_function_has_no_value() {
    let text = ".version 8.4\n.target sm_90\n.address_size 64\n.func f()\n{\nret;\n}\n\
                .global .align 8 .u64 table[3] = {1, f, 3};\n.visible .entry k(.param .u64 out, .param .u32 at)\n{\n\
                .reg .b64 %rd<9>; .reg .b32 %r<2>;\nld.param.u64 %rd1, [out]; ld.param.u32 %r1, [at];\n\
                mul.wide.u32 %rd2, %r1, 8; mov.u64 %rd3, table; add.s64 %rd3, %rd3, %rd2;\nld.global.u64 %rd4, [%rd3];\n\
                st.global.u64 [%rd1], %rd4;\nret;\n}\n";
    for (at, value) in [(0, Some(1)), (1, None), (2, Some(3u64))] {
        let mut dev = device();
        let out = dev.alloc(8).unwrap();
        let params = Params::default().u64(out).u32(at).0;
        let report = dev.launch(&kernel(text), LaunchConfig::linear(1, 1), &params).unwrap();
        assert_eq!(report.findings.is_empty(), value.is_some(), "{:?}", report.findings);
        let mut bytes = [0; 8];
        dev.read(out, &mut bytes).unwrap();
        assert!(value.is_none_or(|value| bytes == value.to_le_bytes()));
    }
}

#[test]
fn never_panics_on_damaged_text() {
    let good = include_str!("ptx/kernels.ptx");
    let limits = Limits { instructions_per_block: 20_000, host_threads: 1, ..Limits::default() };
    let mut ran = 0;
    let mut rng = common::Rng(17);
    let rounds = std::env::var("DAMAGE").ok().and_then(|v| v.parse().ok()).unwrap_or(60);
    for _ in 0..rounds {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..1 + rng.u32() % 3 {
            let mut at = rng.u32() as usize % bytes.len();
            match rng.u32() % 32 {
                // Other registers, offsets and constants: mostly still PTX.
                0..30 => {
                    at = (at..bytes.len()).find(|&i| bytes[i].is_ascii_digit()).unwrap_or(at);
                    bytes[at] = b"0123456789"[rng.u32() as usize % 10];
                }
                30 => bytes[at] = b" ;,{}[]().%$x0"[rng.u32() as usize % 14],
                _ => drop(bytes.remove(at)),
            }
        }
        // A module that loads must also run: to its end, to findings or to a fault, never to a panic.
        let Ok(module) = Module::load("damaged", &String::from_utf8_lossy(&bytes)) else { continue };
        for k in module.kernel_names().filter_map(|n| module.kernel(n)) {
            let mut dev = Device::new(limits);
            let p = dev.upload(&[1; 4096]).unwrap();
            let mut params: Vec<u8> = (0..k.param_bytes().div_ceil(8)).flat_map(|_| p.to_le_bytes()).collect();
            params.truncate(k.param_bytes() as usize);
            let config = LaunchConfig { dynamic_shared: 256, ..LaunchConfig::linear(2, 64) };
            let _ = dev.launch(&k, config, &params);
            ran += 1;
        }
    }
    assert!(2 * ran >= rounds, "{ran}");
}

#[test]
fn kernel_layout() {
    let text =
        wrap(".param .u32 a, .param .u64 b, .param .align 16 .b8 c[20], .param .u16 d", ".shared .align 8 .b8 s[24];");
    let k = kernel(&text);
    let offsets: Vec<u32> = k.params().iter().map(|p| p.offset).collect();
    assert_eq!((offsets, k.param_bytes(), k.static_shared()), (vec![0, 8, 16, 36], 38, 24));
    let m = Module::load("m", &text).unwrap();
    assert_eq!((m.target(), m.kernel_names().collect::<Vec<_>>()), ("sm_90", vec!["k"]));
    assert!(m.kernel("other").is_none());
}

/// Runs one thread and returns the `n` words it wrote.
fn words(text: &str, n: usize) -> Vec<u32> {
    let mut dev = device();
    let p = dev.alloc(4 * n as u64).unwrap();
    clean(&dev.launch(&kernel(text), LaunchConfig::linear(1, 1), &Params::default().u64(p).0).unwrap());
    let mut bytes = vec![0; 4 * n];
    dev.read(p, &mut bytes).unwrap();
    bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

#[test]
fn variables_and_initializers() {
    let head = ".global .align 4 .u32 one = 0x11;\n.const .align 8 .b8 bytes[6] = {1, 2, 0xff, 4, 0b101, 010};\n\
                .global .align 4 .f32 fl[2] = {1.5, 0f40000000};\n.global .align 8 .u64 pointer[2] = {one, generic(bytes)+1};\n";
    let body = "ld.param.u64 %rd1, [p];\nld.global.u32 %r1, [one]; st.global.u32 [%rd1], %r1;\n\
                ld.const.u8 %r2, [bytes+2]; st.global.u32 [%rd1+4], %r2;\nld.global.v2.f32 {%f1, %f2}, [fl]; add.f32 %f1, %f1, %f2; st.global.f32 [%rd1+8], %f1;\n\
                ld.global.u64 %rd2, [pointer]; ld.u32 %r3, [%rd2]; st.global.u32 [%rd1+12], %r3;\n\
                ld.global.u64 %rd3, [pointer+8]; ld.s8 %r4, [%rd3+1]; st.global.u32 [%rd1+16], %r4;\n\
                mov.u64 %rd4, bytes; ld.const.u8 %r5, [%rd4+5]; st.global.u32 [%rd1+20], %r5;";
    let text = wrap(".param .u64 p", body).replacen(".visible", &format!("{head}.visible"), 1);
    assert_eq!(words(&text, 6), [0x11, 0xff, 3.5f32.to_bits(), 0x11, u32::MAX, 8]);
}

#[test]
fn calls_scopes_and_tables_of_targets() {
    let func = ".func (.param .b32 r) twice(.param .b32 x, .param .align 4 .b8 s[8])\n{\n.reg .b32 %a, %b; .reg .b64 %d;\n\
                ld.param.u32 %a, [x]; mov.b64 %d, s; ld.param.u32 %b, [%d+4];\n@%never bra L;\nL:\nmad.lo.u32 %a, %a, 2, %b;\nst.param.b32 [r], %a;\nret;\n}\n"
        .replace("@%never bra L;", "bra L;");
    let body = "ld.param.u64 %rd1, [p]; mov.u32 %r1, 20; mov.u32 %r3, 0;\nAGAIN:\n\
                {\n.param .b32 a0; .param .align 4 .b8 a1[8]; .param .b32 rv; .reg .b32 %r1x;\nst.param.b32 [a0], %r1; st.param.b32 [a1+4], 2;\n\
                call.uni (rv), twice, (a0, a1);\nld.param.b32 %r1x, [rv]; mov.u32 %r1, %r1x;\n}\n\
                { .reg .b32 %r1; mov.u32 %r1, 7; add.s32 %r3, %r3, %r1; }\n\
                setp.lt.u32 %p1, %r1, 50; selp.u32 %r2, 0, 1, %p1;\ntab: .branchtargets AGAIN, OUT;\nbrx.idx %r2, tab;\nOUT:\n\
                st.global.u32 [%rd1], %r1; st.global.u32 [%rd1+4], %r3;";
    let text = wrap(".param .u64 p", body).replacen(".visible", &format!("{func}.visible"), 1);
    // 20 -> 42 -> 86
    assert_eq!(words(&text, 2), [86, 14]);
}

#[test]
fn debug_lines_pragmas_and_comments() {
    let text = ".version 8.4 // v\n.target sm_80, debug\n.address_size 64\n.file 1 \"a.cu\"\n/* two\nlines */\n\
                .visible .entry k(.param .u64 .ptr .global .align 4 p)\n.maxntid 64, 1, 1\n.minnctapersm 2\n{\n.reg .b64 %rd<2>;\n.loc 1 2 3\n\
                .pragma \"nounroll\";\nld.param.u64 %rd1, [p];\nst.global.u32 [%rd1], 5;\nret;\n}\n.section .debug_str { .b8 0 }\n";
    assert_eq!(words(text, 1), [5]);
    assert_eq!(kernel(text).max_threads(), Some([64, 1, 1]));
}
