//! Every check: a planted bug that it finds, with kernel, line, block and thread, and the same kernel without the bug.

mod common;

use common::{Params, clean, device, expect, kernel, line_of, wrap};
use ptx_sim::{Check, Checks, Device, Fault, HostError, LaunchConfig, Report};

/// Launches a kernel that takes one pointer to `bytes` bytes, which are zero if `init`.
fn run_on(dev: &mut Device, ptx: &str, config: LaunchConfig, bytes: u64, init: bool) -> Report {
    let p = dev.alloc(bytes).unwrap();
    if init {
        dev.fill(p, 0, bytes).unwrap();
    }
    dev.launch(&kernel(ptx), config, &Params::default().u64(p).0).unwrap()
}

fn run(ptx: &str, config: LaunchConfig, bytes: u64, init: bool) -> Report {
    run_on(&mut device(), ptx, config, bytes, init)
}

fn body(text: &str) -> String {
    wrap(
        ".param .u64 p",
        &format!(
            "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x;\n\
             mad.lo.s32 %r4, %r2, %r3, %r1; mul.wide.u32 %rd2, %r4, 4; add.s64 %rd3, %rd1, %rd2;\n\
             {text}"
        ),
    )
}

/// Planted and clean text of a kernel; the planted line ends in `// bug`.
fn pair(template: &str, bug: &str, fine: &str) -> (String, u32, String) {
    let planted = body(&template.replace("$", &format!("{bug} // bug")));
    let line = line_of(&planted, "// bug");
    (planted, line, body(&template.replace("$", fine)))
}

#[test]
fn out_of_bounds_global() {
    let (bad, line, good) = pair("$", "st.global.u32 [%rd3+4], %r1;", "st.global.u32 [%rd3], %r1;");
    let config = LaunchConfig::linear(3, 32);
    let r = run(&bad, config, 4 * 96, false);
    expect(&r, Check::OutOfBounds, line, [2, 0, 0], [31, 0, 0]);
    assert_eq!(r.findings[0].count, 1);
    clean(&run(&good, config, 4 * 96, false));
    // A wide access that ends behind the allocation, and an address in none.
    let wide = body("ld.global.v4.u32 {%r5,%r6,%r7,%r8}, [%rd1+368]; // bug");
    expect(
        &run(&wide, LaunchConfig::linear(1, 32), 380, true),
        Check::OutOfBounds,
        line_of(&wide, "// bug"),
        [0; 3],
        [0; 3],
    );
    let null = body("mov.u64 %rd4, 0;\nst.u32 [%rd4], %r1; // bug");
    expect(
        &run(&null, LaunchConfig::linear(1, 1), 4, true),
        Check::OutOfBounds,
        line_of(&null, "// bug"),
        [0; 3],
        [0; 3],
    );
}

#[test]
fn use_after_free() {
    let mut dev = device();
    let p = dev.upload(&[0; 128]).unwrap();
    let text = body("ld.global.u32 %r5, [%rd3]; // bug");
    clean(&dev.launch(&kernel(&text), LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap());
    dev.free(p).unwrap();
    let r = dev.launch(&kernel(&text), LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap();
    expect(&r, Check::OutOfBounds, line_of(&text, "// bug"), [0; 3], [0; 3]);
    assert_eq!(r.findings[0].count, 32);
    assert!(matches!(dev.free(p), Err(HostError::BadRange { .. })));
}

#[test]
fn out_of_bounds_shared_and_local() {
    let t = ".shared .align 4 .b8 s[128]; .local .align 4 .b8 l[16];\nmov.u32 %r5, s; shl.b32 %r6, %r1, 2; add.s32 %r5, %r5, %r6;\n$";
    let (bad, line, good) = pair(t, "st.shared.u32 [%r5+4], %r1;", "st.shared.u32 [%r5], %r1;");
    expect(&run(&bad, LaunchConfig::linear(2, 32), 4, true), Check::OutOfBounds, line, [0; 3], [31, 0, 0]);
    clean(&run(&good, LaunchConfig::linear(2, 32), 4, true));
    let (bad, line, good) = pair(t, "st.local.u32 [l+16], %r1;", "st.local.u32 [l+12], %r1;");
    expect(&run(&bad, LaunchConfig::linear(1, 32), 4, true), Check::OutOfBounds, line, [0; 3], [0; 3]);
    clean(&run(&good, LaunchConfig::linear(1, 32), 4, true));
}

#[test]
fn misaligned() {
    let t = "and.b32 %r5, %r1, 1; mul.wide.u32 %rd4, %r5, 2; add.s64 %rd5, %rd3, %rd4;\n$";
    let (bad, line, good) = pair(t, "ld.global.u32 %r6, [%rd5];", "ld.global.u16 %h1, [%rd5];");
    let r = run(&bad, LaunchConfig::linear(1, 32), 132, true);
    expect(&r, Check::Misaligned, line, [0; 3], [1, 0, 0]);
    assert_eq!(r.findings[0].count, 16);
    clean(&run(&good, LaunchConfig::linear(1, 32), 132, true));
    let vector = body("ld.global.v2.u32 {%r5,%r6}, [%rd1+4]; // bug");
    expect(
        &run(&vector, LaunchConfig::linear(1, 1), 16, true),
        Check::Misaligned,
        line_of(&vector, "// bug"),
        [0; 3],
        [0; 3],
    );
}

#[test]
fn uninitialized_memory() {
    let text = body("ld.global.u32 %r5, [%rd3]; // bug");
    let config = LaunchConfig::linear(2, 32);
    expect(&run(&text, config, 256, false), Check::UninitializedGlobal, line_of(&text, "// bug"), [0; 3], [0; 3]);
    clean(&run(&text, config, 256, true));
    // One byte of a word is missing.
    let mut dev = device();
    let p = dev.alloc(128).unwrap();
    dev.fill(p, 0, 127).unwrap();
    let r = dev.launch(&kernel(&text), LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap();
    expect(&r, Check::UninitializedGlobal, line_of(&text, "// bug"), [0; 3], [31, 0, 0]);
    let (mut byte, fresh) = ([0], dev.alloc(16).unwrap());
    assert!(matches!(dev.read(fresh, &mut byte), Err(HostError::Uninitialized { first: 0, .. })));

    let t = ".shared .align 4 .b8 s[128]; .local .align 4 .b8 l[8];\nmov.u32 %r5, s; shl.b32 %r6, %r1, 2; add.s32 %r5, %r5, %r6;\n$";
    let (bad, line, good) = pair(t, "ld.shared.u32 %r7, [%r5];", "st.shared.u32 [%r5], %r1; ld.shared.u32 %r7, [%r5];");
    // What another block left there does not count.
    expect(&run(&bad, LaunchConfig::linear(2, 32), 4, true), Check::UninitializedShared, line, [0; 3], [0; 3]);
    clean(&run(&good, LaunchConfig::linear(2, 32), 4, true));
    let (bad, line, good) =
        pair(t, "st.local.u32 [l], %r1; ld.local.u32 %r7, [l+4];", "st.local.u32 [l+4], %r1; ld.local.u32 %r7, [l+4];");
    expect(&run(&bad, LaunchConfig::linear(1, 32), 4, true), Check::UninitializedLocal, line, [0; 3], [0; 3]);
    clean(&run(&good, LaunchConfig::linear(1, 32), 4, true));
}

#[test]
fn uninitialized_register() {
    let t = "setp.lt.u32 %p1, %r1, 7;\n@%p1 mov.u32 %r9, 1;\n$\nst.global.u32 [%rd3], %r8;";
    let (bad, line, good) = pair(t, "add.s32 %r8, %r9, 1;", "selp.b32 %r8, %r9, 0, %p1;");
    expect(&run(&bad, LaunchConfig::linear(1, 32), 128, true), Check::UninitializedRegister, line, [0; 3], [7, 0, 0]);
    clean(&run(&good, LaunchConfig::linear(1, 32), 128, true));
}

#[test]
fn shared_race() {
    let t = ".shared .align 4 .b8 s[256];\nmov.u32 %r5, s; shl.b32 %r6, %r1, 2; add.s32 %r7, %r5, %r6;\n\
             st.shared.u32 [%r7], %r1; // write\n$\nxor.b32 %r8, %r6, 128; add.s32 %r8, %r5, %r8;\nld.shared.u32 %r9, [%r8]; // read\nst.global.u32 [%rd3], %r9;";
    let (bad, _, good) = pair(t, "", "bar.sync 0;");
    let config = LaunchConfig::linear(1, 64);
    let r = run(&bad, config, 256, true);
    let races: Vec<_> = r.findings.iter().filter(|f| f.check == Check::SharedRace).collect();
    // The first warp has read, before the second wrote; the second reads what the first wrote.
    assert_eq!(races.len(), 2, "{races:?}");
    assert_eq!((races[0].line, races[0].thread, races[0].count), (line_of(&bad, "// write"), [32, 0, 0], 32));
    assert_eq!((races[1].line, races[1].thread, races[1].count), (line_of(&bad, "// read"), [32, 0, 0], 32));
    let good = run(&good, config, 256, true);
    clean(&good);
    assert_eq!(good.counters.barriers, 2);
}

#[test]
fn shared_race_write_after_read() {
    let t = ".shared .align 4 .b8 s[4];\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 st.shared.u32 [s], %r1;\nbar.sync 0;\n\
             ld.shared.u32 %r9, [s];\n$\nsetp.eq.u32 %p2, %r1, 33;\n@%p2 st.shared.u32 [s], %r9; // write\n";
    let (bad, _, good) = pair(t, "", "bar.sync 0;");
    let config = LaunchConfig::linear(1, 64);
    expect(&run(&bad, config, 4, true), Check::SharedRace, line_of(&bad, "// write"), [0; 3], [33, 0, 0]);
    clean(&run(&good, config, 4, true));
}

#[test]
fn shared_race_inside_a_warp() {
    let t = ".shared .align 4 .b8 s[128];\nmov.u32 %r5, s; shl.b32 %r6, %r1, 2; add.s32 %r7, %r5, %r6;\n\
             st.shared.u32 [%r7], %r1;\n$\nxor.b32 %r8, %r6, 4; add.s32 %r8, %r5, %r8;\nld.shared.u32 %r9, [%r8]; // read\n";
    let (bad, _, good) = pair(t, "", "bar.warp.sync -1;");
    let config = LaunchConfig::linear(1, 32);
    expect(&run(&bad, config, 4, true), Check::SharedRace, line_of(&bad, "// read"), [0; 3], [0; 3]);
    clean(&run(&good, config, 4, true));
    // Two lanes of one instruction: fine if they write the same value.
    let (bad, line, good) = pair(".shared .align 4 .b8 s[4];\n$", "st.shared.u32 [s], %r1;", "st.shared.u32 [s], %r3;");
    expect(&run(&bad, config, 4, true), Check::SharedRace, line, [0; 3], [1, 0, 0]);
    clean(&run(&good, config, 4, true));
}

#[test]
fn shared_atomics_do_not_race() {
    let t = ".shared .align 4 .b8 s[4];\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 st.shared.u32 [s], 0;\nbar.sync 0;\n\
             red.shared.add.u32 [s], 1;\n$\nld.shared.u32 %r9, [s]; // read\nst.global.u32 [%rd3], %r9;";
    let (bad, _, good) = pair(t, "", "bar.sync 0;");
    let config = LaunchConfig::linear(1, 64);
    let r = run(&bad, config, 256, true);
    assert!(r.findings.iter().any(|f| f.check == Check::SharedRace && f.line == line_of(&bad, "// read")));
    let mut dev = device();
    let p = dev.alloc(256).unwrap();
    clean(&dev.launch(&kernel(&good), config, &Params::default().u64(p).0).unwrap());
    let mut v = [0; 4];
    dev.read(p + 100, &mut v).unwrap();
    assert_eq!(v, [64, 0, 0, 0]);
}

#[test]
fn named_barriers_order_their_warps() {
    // Warp 0 produces, warp 1 consumes; warp 2 takes no part.
    let t = ".shared .align 4 .b8 s[128];\nmov.u32 %r5, s; and.b32 %r6, %r1, 31; shl.b32 %r6, %r6, 2; add.s32 %r7, %r5, %r6; shr.u32 %r8, %r1, 5;\n\
             setp.eq.u32 %p1, %r8, 0; setp.eq.u32 %p2, %r8, 1;\n\
             @!%p1 bra NOT0;\nst.shared.u32 [%r7], %r1;\nbar.arrive $, 64;\nbra END;\nNOT0:\n@!%p2 bra END;\nbar.sync 1, 64;\n\
             xor.b32 %r7, %r7, 4;\nld.shared.u32 %r9, [%r7];\nEND:\n";
    let good = body(&t.replace('$', "1"));
    clean(&run(&good, LaunchConfig::linear(1, 96), 4, true));
    let bad = body(&t.replace('$', "2"));
    let e = device().launch(&kernel(&bad), LaunchConfig::linear(1, 96), &Params::default().u64(0).0);
    // No other warp than warp 1 arrives at barrier 1.
    match e {
        Ok(r) => assert!(r.findings.iter().any(|f| f.check == Check::DivergentBarrier), "{:?}", r.findings),
        Err(e) => assert!(matches!(e, Fault::Deadlock { .. }), "{e}"),
    }
}

#[test]
fn divergent_barrier() {
    // Half a warp takes one of two different barriers.
    let t = "setp.lt.u32 %p1, %r1, 16;\n@%p1 bra LOW;\nbar.sync 0;\nbra.uni END;\nLOW:\n$\nEND:\n";
    let (bad, line, _) = pair(t, "bar.sync 0;", "");
    let r = run(&bad, LaunchConfig::linear(1, 64), 4, true);
    let found = r.findings.iter().find(|f| f.check == Check::DivergentBarrier).expect("finding");
    assert!((line - 3..=line).contains(&found.line), "{found}");
    assert_eq!(found.block, [0; 3]);
    let good = body("setp.lt.u32 %p1, %r1, 32;\n@%p1 bra LOW;\nbar.sync 0;\nbra.uni END;\nLOW:\nbar.sync 0;\nEND:\n");
    clean(&run(&good, LaunchConfig::linear(1, 64), 4, true));
}

#[test]
fn barrier_after_some_threads_left() {
    let t = "setp.ge.u32 %p1, %r1, $;\n@%p1 bra END;\nbar.sync 0; // barrier\nEND:\n";
    let lanes = body(&t.replace('$', "40"));
    let config = LaunchConfig::linear(2, 64);
    let r = run(&lanes, config, 4, true);
    expect(&r, Check::DivergentBarrier, line_of(&lanes, "// barrier"), [0; 3], [32, 0, 0]);
    let warps = body(&t.replace('$', "32"));
    expect(&run(&warps, config, 4, true), Check::DivergentBarrier, line_of(&warps, "// barrier"), [0; 3], [0; 3]);
    clean(&run(&body(&t.replace('$', "64")), config, 4, true));
    // A whole block may leave.
    let blocks = body("setp.eq.u32 %p1, %r2, 1;\n@%p1 ret;\nbar.sync 0;");
    clean(&run(&blocks, config, 4, true));
}

#[test]
fn divergent_shuffle_mask() {
    // The other lanes are alive, and wait further on.
    let t = "setp.ge.u32 %p1, %r1, 16;\n@%p1 bra END;\n$\nEND:\nbar.sync 0;\n";
    let (bad, line, good) =
        pair(t, "shfl.sync.bfly.b32 %r5, %r1, 1, 31, -1;", "shfl.sync.bfly.b32 %r5, %r1, 1, 31, 0xffff;");
    let config = LaunchConfig::linear(1, 32);
    expect(&run(&bad, config, 4, true), Check::DivergentMask, line, [0; 3], [0; 3]);
    clean(&run(&good, config, 4, true));
    // A lane outside its own mask; a source lane outside the mask.
    let own = body("shfl.sync.idx.b32 %r5, %r1, 0, 31, 0xffff; // bug");
    let r = run(&own, config, 4, true);
    expect(&r, Check::DivergentMask, line_of(&own, "// bug"), [0; 3], [16, 0, 0]);
    let (bad, line, good) =
        pair(t, "shfl.sync.bfly.b32 %r5, %r1, 16, 31, 0xffff;", "shfl.sync.bfly.b32 %r5, %r1, 8, 31, 0xffff;");
    expect(&run(&bad, config, 4, true), Check::DivergentMask, line, [0; 3], [0; 3]);
    clean(&run(&good, config, 4, true));
}

#[test]
fn lanes_that_meet_at_a_shuffle_later_are_waited_for() {
    // Both sides of a branch jump to one shuffle: the hardware gathers the lanes there.
    let text = body(
        "and.b32 %r5, %r1, 1; setp.eq.u32 %p1, %r5, 0; mov.u32 %r6, 5;\n@%p1 bra EVEN;\nmov.u32 %r6, 6;\nbra S;\n\
         EVEN:\nmov.u32 %r6, 7;\nS:\nshfl.sync.bfly.b32 %r7, %r6, 1, 31, -1;\nst.global.u32 [%rd3], %r7;",
    );
    let mut dev = device();
    let p = dev.alloc(128).unwrap();
    let r = dev.launch(&kernel(&text), LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap();
    clean(&r);
    let mut out = [0; 128];
    dev.read(p, &mut out).unwrap();
    assert_eq!((out[0], out[4]), (6, 7));
}

#[test]
fn global_race() {
    let config = LaunchConfig::linear(4, 32);
    // Written by every block.
    let (bad, line, good) = pair("$", "st.global.u32 [%rd1], %r2;", "st.global.u32 [%rd3], %r2;");
    let r = run(&bad, config, 512, true);
    assert_eq!((r.findings[0].check, r.findings[0].line), (Check::GlobalRace, line));
    clean(&run(&good, config, 512, true));
    // Read by one block, written by another.
    let t = "xor.b32 %r5, %r4, $; mul.wide.u32 %rd4, %r5, 4; add.s64 %rd4, %rd1, %rd4;\nld.global.u32 %r6, [%rd4]; // read\nst.global.u32 [%rd3], %r6; // write\n";
    let bad = body(&t.replace('$', "32"));
    let r = run(&bad, config, 512, true);
    assert!(!r.findings.is_empty() && r.findings.iter().all(|f| f.check == Check::GlobalRace), "{:?}", r.findings);
    clean(&run(&body(&t.replace('$', "1")), config, 512, true));
    // Neighbouring bytes of one word are no race.
    let bytes = body("cvt.u64.u32 %rd4, %r4; add.s64 %rd4, %rd1, %rd4; st.global.u8 [%rd4], %r1;");
    clean(&run(&bytes, LaunchConfig::linear(7, 3), 64, true));
}

/// The last block sums what the others wrote: needs a fence before the counter.
#[test]
fn global_race_and_fences() {
    let t = "setp.ne.u32 %p1, %r1, 0;\nst.global.u32 [%rd3], %r2;\n$\nbar.sync 0;\n@%p1 bra END;\n\
             atom.global.add.u32 %r5, [%rd1+1024], 1;\nsetp.ne.u32 %p2, %r5, 7;\n@%p2 bra END;\nmembar.gl;\n\
             mov.u32 %r6, 0; mov.u32 %r8, 0; mov.u64 %rd4, %rd1;\nLOOP:\nld.global.u32 %r7, [%rd4]; // read\n\
             add.s32 %r8, %r8, %r7; add.s64 %rd4, %rd4, 4; add.s32 %r6, %r6, 1; setp.lt.u32 %p3, %r6, 256;\n@%p3 bra LOOP;\n\
             st.global.u32 [%rd1+1028], %r8;\nEND:\n";
    let (bad, _, good) = pair(t, "", "membar.gl;");
    let config = LaunchConfig::linear(8, 32);
    let r = run(&bad, config, 2048, true);
    assert_eq!(
        (r.findings.len(), r.findings[0].check, r.findings[0].line),
        (1, Check::GlobalRace, line_of(&bad, "// read"))
    );
    let mut dev = device();
    let p = dev.upload(&[0; 2048]).unwrap();
    clean(&dev.launch(&kernel(&good), config, &Params::default().u64(p).0).unwrap());
    let mut v = [0; 4];
    dev.read(p + 1028, &mut v).unwrap();
    assert_eq!(u32::from_le_bytes(v), 32 * 28);
}

/// A grid-wide barrier of atomics: blocks exchange data through global memory.
#[test]
fn cooperative_grid() {
    let t = "st.global.u32 [%rd3], %r4;\nbar.sync 0;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra JOIN;\n$\n\
             atom.global.add.u32 %r5, [%rd1+8192], 1;\nSPIN:\nld.volatile.global.u32 %r6, [%rd1+8192];\nsetp.lt.u32 %p2, %r6, 16;\n@%p2 bra SPIN;\n\
             membar.gl;\nJOIN:\nbar.sync 0;\nxor.b32 %r7, %r4, 0x1e0; mul.wide.u32 %rd4, %r7, 4; add.s64 %rd4, %rd1, %rd4;\n\
             ld.global.u32 %r8, [%rd4]; // read\nadd.s64 %rd3, %rd3, 4096; st.global.u32 [%rd3], %r8;\n";
    let (bad, _, good) = pair(t, "", "membar.gl;");
    let config = LaunchConfig { cooperative: true, ..LaunchConfig::linear(16, 32) };
    let r = run(&bad, config, 8196, true);
    assert_eq!(
        (r.findings.len(), r.findings[0].check, r.findings[0].line),
        (1, Check::GlobalRace, line_of(&bad, "// read"))
    );
    let mut dev = device();
    let p = dev.upload(&[0; 8196]).unwrap();
    clean(&dev.launch(&kernel(&good), config, &Params::default().u64(p).0).unwrap());
    let mut v = [0; 4];
    dev.read(p + 4096 + 4 * 5, &mut v).unwrap();
    assert_eq!(u32::from_le_bytes(v), 5 ^ 0x1e0);
    let many = LaunchConfig { cooperative: true, ..LaunchConfig::linear(2000, 32) };
    assert!(matches!(dev.launch(&kernel(&good), many, &Params::default().u64(p).0), Err(Fault::Cooperative { .. })));
}

#[test]
fn dependent_launch() {
    let producer = body("griddepcontrol.launch_dependents;\ngriddepcontrol.wait;\nst.global.u32 [%rd3], %r4;");
    let t = "$\nld.global.u32 %r5, [%rd3+$2]; // access\ngriddepcontrol.wait;\nld.global.u32 %r6, [%rd3];\nst.global.u32 [%rd3+512], %r6;";
    let config = LaunchConfig::linear(1, 32);
    let next = LaunchConfig { dependent: true, ..config };
    let early = body(&t.replace("$2", "0").replace('$', ""));
    let mut dev = device();
    let p = dev.upload(&[0; 1024]).unwrap();
    let params = Params::default().u64(p).0;
    clean(&dev.launch(&kernel(&producer), config, &params).unwrap());
    let r = dev.launch(&kernel(&early), next, &params).unwrap();
    expect(&r, Check::DependentAccess, line_of(&early, "// access"), [0; 3], [0; 3]);
    // Weights, which no earlier kernel writes, may be read before the wait; a launch without the attribute may read all.
    let fine = body(&t.replace("$2", "256").replace('$', ""));
    clean(&dev.launch(&kernel(&producer), config, &params).unwrap());
    clean(&dev.launch(&kernel(&fine), next, &params).unwrap());
    clean(&dev.launch(&kernel(&producer), config, &params).unwrap());
    clean(&dev.launch(&kernel(&early), config, &params).unwrap());
    // A copy from the host waits for the stream.
    clean(&dev.launch(&kernel(&producer), config, &params).unwrap());
    dev.synchronize();
    clean(&dev.launch(&kernel(&early), next, &params).unwrap());
}

#[test]
fn dependent_launch_write_after_read() {
    let reader = body("ld.global.u32 %r5, [%rd3];\nst.global.u32 [%rd3+512], %r5;");
    let t = "$\nst.global.u32 [%rd3], %r1; // access\n$2";
    let bad = body(&t.replace("$2", "griddepcontrol.wait;").replace('$', ""));
    let good = body(&t.replace("$2", "").replace('$', "griddepcontrol.wait;"));
    let config = LaunchConfig::linear(1, 32);
    let mut dev = device();
    let p = dev.upload(&[0; 1024]).unwrap();
    let params = Params::default().u64(p).0;
    for (text, clean_one) in [(&bad, false), (&good, true)] {
        dev.synchronize();
        clean(&dev.launch(&kernel(&reader), config, &params).unwrap());
        let r = dev.launch(&kernel(text), LaunchConfig { dependent: true, ..config }, &params).unwrap();
        if clean_one {
            clean(&r);
        } else {
            expect(&r, Check::DependentAccess, line_of(&bad, "// access"), [0; 3], [0; 3]);
        }
    }
}

/// A kernel that starts its successor before it has waited exposes the memory of its predecessor too.
#[test]
fn dependent_launch_through_two_kernels() {
    let first = body("st.global.u32 [%rd3], %r4;");
    let middle = |early: bool| {
        let (a, b) =
            if early { ("griddepcontrol.launch_dependents;", "") } else { ("", "griddepcontrol.launch_dependents;") };
        body(&format!("{a}\ngriddepcontrol.wait;\n{b}\nst.global.u32 [%rd3+256], %r4;"))
    };
    let last = body("ld.global.u32 %r5, [%rd3]; // access\ngriddepcontrol.wait;");
    let config = LaunchConfig::linear(1, 32);
    let next = LaunchConfig { dependent: true, ..config };
    for early in [true, false] {
        let mut dev = device();
        let p = dev.upload(&[0; 1024]).unwrap();
        let params = Params::default().u64(p).0;
        clean(&dev.launch(&kernel(&first), config, &params).unwrap());
        clean(&dev.launch(&kernel(&middle(early)), next, &params).unwrap());
        let r = dev.launch(&kernel(&last), next, &params).unwrap();
        if early {
            expect(&r, Check::DependentAccess, line_of(&last, "// access"), [0; 3], [0; 3]);
        } else {
            clean(&r);
        }
    }
    // If a kernel never waits, its predecessor may run even after its successor has waited.
    let careless = body("st.global.u32 [%rd3+256], %r4;");
    let patient = body("griddepcontrol.wait;\nld.global.u32 %r5, [%rd3]; // access");
    let mut dev = device();
    let p = dev.upload(&[0; 1024]).unwrap();
    let params = Params::default().u64(p).0;
    clean(&dev.launch(&kernel(&first), config, &params).unwrap());
    clean(&dev.launch(&kernel(&careless), next, &params).unwrap());
    let r = dev.launch(&kernel(&patient), next, &params).unwrap();
    expect(&r, Check::DependentAccess, line_of(&patient, "// access"), [0; 3], [0; 3]);
}

#[test]
fn asynchronous_copy() {
    let t = ".shared .align 16 .b8 s[512];\nmov.u32 %r5, s; shl.b32 %r6, %r1, 4; add.s32 %r7, %r5, %r6; cvt.u64.u32 %rd4, %r6; add.s64 %rd5, %rd1, %rd4;\n\
             cp.async.cg.shared.global [%r7], [%rd5], 16;\ncp.async.commit_group;\n$\nld.shared.u32 %r8, [%r7]; // read\n";
    let config = LaunchConfig::linear(1, 32);
    let (bad, _, good) = pair(t, "cp.async.wait_group 1;", "cp.async.wait_group 0;");
    expect(&run(&bad, config, 512, true), Check::AsyncCopy, line_of(&bad, "// read"), [0; 3], [0; 3]);
    clean(&run(&good, config, 512, true));
    // A thread's wait is for its own copies, not for those of another thread.
    let other = |wait: &str| {
        body(
            &t.replace('$', wait)
                .replace("ld.shared.u32 %r8, [%r7]", "xor.b32 %r7, %r7, 16;\nld.shared.u32 %r8, [%r7]"),
        )
    };
    let bad = other("cp.async.wait_all;");
    expect(&run(&bad, config, 512, true), Check::SharedRace, line_of(&bad, "// read"), [0; 3], [0; 3]);
    clean(&run(&other("cp.async.wait_all;\nbar.sync 0;"), config, 512, true));
}

#[test]
fn read_only_load_of_written_memory() {
    let (bad, line, good) =
        pair("st.global.u32 [%rd3], %r1;\n$", "ld.global.nc.u32 %r5, [%rd3];", "ld.global.u32 %r5, [%rd3];");
    expect(&run(&bad, LaunchConfig::linear(1, 32), 128, true), Check::ReadOnlyWritten, line, [0; 3], [0; 3]);
    clean(&run(&good, LaunchConfig::linear(1, 32), 128, true));
}

#[test]
fn checks_can_be_turned_off() {
    let text = body("add.s32 %r9, %r8, 1;\nld.global.u32 %r5, [%rd3];\nst.global.u32 [%rd1], %r4;");
    let mut dev = device();
    dev.checks = Checks::NONE;
    clean(&run_on(&mut dev, &text, LaunchConfig::linear(4, 32), 512, false));
    dev.checks = Checks { uninitialized_registers: true, ..Checks::NONE };
    let r = run_on(&mut dev, &text, LaunchConfig::linear(4, 32), 512, false);
    assert_eq!((r.findings.len(), r.findings[0].check), (1, Check::UninitializedRegister));
    assert_eq!(r.findings[0].count, 4);
}

#[test]
fn a_finding_reads_well() {
    let text = body("ld.global.u32 %r5, [%rd3+4]; // bug");
    let r = run(&text, LaunchConfig::linear(1, 2), 8, true);
    let line = line_of(&text, "// bug");
    let p = 1u64 << 32;
    let want = format!(
        "k:{line}: OutOfBounds: global address {:#x}, 4 bytes: offset 8 of an allocation of 8 bytes, block (0, 0, 0) thread (1, 0, 0), 1 times",
        p + 8
    );
    assert_eq!(r.check(), Err(want));
}

#[test]
fn faults() {
    let mut dev = device();
    let p = dev.upload(&[0; 64]).unwrap();
    let params = Params::default().u64(p).0;
    let one = LaunchConfig::linear(1, 32);
    let trap = body("setp.eq.u32 %p1, %r1, 5;\n@%p1 trap; // bug");
    let e = dev.launch(&kernel(&trap), one, &params).unwrap_err();
    assert_eq!(e, Fault::Trap { kernel: "k".into(), line: line_of(&trap, "// bug"), block: [0; 3], thread: [5, 0, 0] });
    let k = kernel(&body(""));
    assert!(matches!(dev.launch(&k, one, &[]), Err(Fault::Params { given: 0, expected: 8, .. })));
    assert!(matches!(dev.launch(&k, LaunchConfig::linear(1, 2048), &params), Err(Fault::Limit { .. })));
    assert!(matches!(
        dev.launch(&k, LaunchConfig { dynamic_shared: 1 << 20, ..one }, &params),
        Err(Fault::Limit { .. })
    ));
    let mut short = Device::new(ptx_sim::Limits { instructions_per_block: 100_000, ..Default::default() });
    let endless = body("L:\nbra L;");
    assert!(matches!(short.launch(&kernel(&endless), one, &params), Err(Fault::Endless { .. })));
}
