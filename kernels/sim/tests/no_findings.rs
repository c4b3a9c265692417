//! What is right although it looks like a defect: no finding.

mod common;

use common::{Params, clean, device, expect, kernel, line_of, wrap};
use ptx_sim::{Check, LaunchConfig, Report};

/// Runs a kernel with the parameters `out` and `n`: 64 bytes of zeros, and a word that is zero.
fn run(body: &str, config: LaunchConfig) -> Report {
    let head = "ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [n]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;\n";
    let text = wrap(".param .u64 out, .param .u64 n", &format!("{head}{body}"));
    let mut dev = device();
    let [out, n] = [64, 4].map(|bytes| dev.upload(&vec![0; bytes]).expect("memory"));
    dev.launch(&kernel(&text), config, &Params::default().u64(out).u64(n).0).expect("runs")
}

/// Lanes that have exited may stand in a mask; a value of one of them is still a defect.
#[test]
fn masks_may_have_lanes_that_have_exited() {
    let warp = LaunchConfig::linear(1, 32);
    for inst in [
        "bar.warp.sync -1;",
        "shfl.sync.bfly.b32 %r5, %r1, 1, 31, -1;",
        "vote.sync.ballot.b32 %r5, %p1, -1;",
        "redux.sync.add.u32 %r5, %r1, -1;",
    ] {
        clean(&run(&format!("setp.ge.u32 %p1, %r1, 16;\n@%p1 ret;\n{inst}"), warp));
    }
    let body = "setp.ge.u32 %p1, %r1, 16;\n@%p1 ret;\nshfl.sync.bfly.b32 %r5, %r1, 16, 31, -1; // bug";
    let report = run(body, warp);
    let line = line_of(&wrap("", &format!("\n{body}")), "// bug");
    expect(&report, Check::DivergentMask, line, [0; 3], [0; 3]);
}

/// Blocks 0 and 1 read a word, then publish that they have; block 2 waits for both and writes it.
const READERS: &str = "setp.ne.u32 %p1, %r2, 2;
@%p1 bra READ;
WAIT:
atom.global.add.u32 %r3, [%rd2], 0;
setp.ne.u32 %p2, %r3, 2;
$
membar.gl;
st.global.u32 [%rd1], %r2; // write
bra END;
READ:
setp.gt.u32 %p3, %r2, 2;
@%p3 bra END;
ld.global.u32 %r4, [%rd1];
membar.gl;
red.global.add.u32 [%rd2], 1;
END:
";

#[test]
fn a_word_may_be_written_when_its_readers_are_done() {
    // Block 3 never touches the word.
    clean(&run(&READERS.replace('$', "@%p2 bra WAIT;"), LaunchConfig::linear(4, 1)));
}

#[test]
fn a_word_that_several_blocks_read_without_order_may_not_be_written() {
    let body = "setp.ne.u32 %p1, %r2, 2;
@%p1 bra READ;
mov.u32 %r5, 0;
SPIN:
add.u32 %r5, %r5, 1;
ld.relaxed.gpu.global.u32 %r3, [%rd2];
setp.ne.u32 %p2, %r3, 2;
@%p2 bra SPIN;
st.global.u32 [%rd1], %r2; // write
bra END;
READ:
ld.global.u32 %r4, [%rd1];
red.global.add.u32 [%rd2], 1;
END:
";
    let report = run(body, LaunchConfig { cooperative: true, ..LaunchConfig::linear(3, 1) });
    let line = line_of(&wrap("", &format!("\n{body}")), "// write");
    expect(&report, Check::GlobalRace, line, [2, 0, 0], [0; 3]);
}

/// Locks: each holder reads and writes the word.
#[test]
fn a_lock_orders_any_number_of_holders() {
    let body = "LOCK:
atom.global.cas.b32 %r3, [%rd2], 0, 1;
setp.ne.u32 %p1, %r3, 0;
@%p1 bra LOCK;
membar.gl;
ld.global.u32 %r4, [%rd1];
add.u32 %r4, %r4, 1;
st.global.u32 [%rd1], %r4;
membar.gl;
atom.global.exch.b32 %r3, [%rd2], 0;
";
    clean(&run(body, LaunchConfig::linear(8, 1)));
}

/// A loop of compare-and-swap may begin with a plain load: a value that is out of date makes the first attempt fail. The same load is a
/// race where its value is used in another way, or where others write without atomics.
#[test]
fn a_compare_and_swap_may_expect_what_a_plain_load_gave() {
    let text = |guess: &str, other: &str| {
        format!(
            "ld.global.u32 %r8, [%rd1]; // load
setp.eq.u32 %p2, %r2, 3;
@%p2 bra OTHER;
LOOP:
add.u32 %r7, %r8, 1;
atom.global.cas.b32 %r3, [%rd1], {guess}, %r7;
setp.ne.s32 %p1, %r3, {guess};
mov.u32 %r8, %r3;
@%p1 bra LOOP;
bra END;
OTHER:
{other}
END:
"
        )
    };
    let config = LaunchConfig::linear(4, 1);
    clean(&run(&text("%r8", "red.global.add.u32 [%rd1], 5;"), config));
    for body in
        [text("%r8", "st.global.u32 [%rd1], 5;"), text("0", "red.global.add.u32 [%rd1], 5;").replace("LOOP;", "END;")]
    {
        let report = run(&body, config);
        assert!(!report.findings.is_empty(), "{body}");
        assert!(report.findings.iter().all(|found| found.check == Check::GlobalRace), "{:?}", report.findings);
    }
}
