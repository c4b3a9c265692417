//! Exchanges between lanes, control flow, special registers.

mod common;

use common::{Params, Rng, clean, device, kernel, lanes32, wrap};
use ptx_sim::{LaunchConfig, Report};

/// One warp; every lane stores %r20. Its lane number is in %r1.
fn warp(text: &str) -> Vec<u32> {
    grid(text, LaunchConfig::linear(1, 32)).0
}

fn grid(text: &str, config: LaunchConfig) -> (Vec<u32>, Report) {
    let body = format!(
        "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %ctaid.x;\n\
         {text}\nmov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z; mov.u32 %r4, %ntid.y; mad.lo.u32 %r2, %r3, %r4, %r2;\n\
         mov.u32 %r4, %ntid.x; mad.lo.u32 %r1, %r2, %r4, %r1; mov.u32 %r3, %ctaid.x; mov.u32 %r2, {};\n\
         mad.lo.u32 %r1, %r3, %r2, %r1; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], %r20;",
        config.block.iter().product::<u32>()
    );
    let n = (config.block.iter().product::<u32>() * config.grid[0]) as usize;
    let mut dev = device();
    let p = dev.alloc(4 * n as u64).unwrap();
    let report = dev.launch(&kernel(&wrap(".param .u64 p", &body)), config, &Params::default().u64(p).0).unwrap();
    clean(&report);
    let mut bytes = vec![0; 4 * n];
    dev.read(p, &mut bytes).unwrap();
    (bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect(), report)
}

fn per_lane(f: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..32).map(f).collect()
}

#[test]
fn shuffles() {
    assert_eq!(warp("shfl.sync.bfly.b32 %r20, %r1, 5, 31, -1;"), per_lane(|l| l ^ 5));
    assert_eq!(warp("shfl.sync.idx.b32 %r20, %r1, 7, 31, -1;"), per_lane(|_| 7));
    assert_eq!(warp("shfl.sync.up.b32 %r20, %r1, 3, 0, -1;"), per_lane(|l| if l < 3 { l } else { l - 3 }));
    assert_eq!(warp("shfl.sync.down.b32 %r20, %r1, 3, 31, -1;"), per_lane(|l| if l + 3 > 31 { l } else { l + 3 }));
    // Segments of 8: mask 24 in bits 8..13.
    assert_eq!(warp("shfl.sync.idx.b32 %r20, %r1, 2, 0x181f, -1;"), per_lane(|l| l / 8 * 8 + 2));
    assert_eq!(warp("shfl.sync.up.b32 %r20, %r1, 1, 0x1800, -1;"), per_lane(|l| if l % 8 == 0 { l } else { l - 1 }));
    let range = "shfl.sync.down.b32 %r5|%p1, %r1, 4, 0x181f, -1; selp.b32 %r20, 1, 0, %p1;";
    assert_eq!(warp(range), per_lane(|l| u32::from(l % 8 + 4 < 8)));
    // Per-lane sources.
    assert_eq!(warp("mul.lo.u32 %r5, %r1, 7; shfl.sync.idx.b32 %r20, %r1, %r5, 31, -1;"), per_lane(|l| l * 7 % 32));
}

#[test]
fn votes_matches_reductions() {
    let odd = "and.b32 %r5, %r1, 1; setp.ne.u32 %p1, %r5, 0;";
    assert_eq!(warp(&format!("{odd} vote.sync.ballot.b32 %r20, %p1, -1;")), per_lane(|_| 0xaaaa_aaaa));
    assert_eq!(warp(&format!("{odd} vote.sync.ballot.b32 %r20, !%p1, -1;")), per_lane(|_| 0x5555_5555));
    for (mode, want) in [("all", 0), ("any", 1), ("uni", 0)] {
        assert_eq!(
            warp(&format!("{odd} vote.sync.{mode}.pred %p2, %p1, -1; selp.b32 %r20, 1, 0, %p2;")),
            per_lane(|_| want)
        );
    }
    // Two groups with masks of their own at one instruction.
    let groups = format!(
        "{odd} selp.b32 %r6, 0xaaaaaaaa, 0x55555555, %p1; vote.sync.all.pred %p2, %p1, %r6; selp.b32 %r20, 1, 0, %p2;"
    );
    assert_eq!(warp(&groups), per_lane(|l| l % 2));
    assert_eq!(warp("and.b32 %r5, %r1, 3; match.any.sync.b32 %r20, %r5, -1;"), per_lane(|l| 0x1111_1111 << (l % 4)));
    assert_eq!(warp("shr.u32 %r5, %r1, 5; match.all.sync.b32 %r20|%p1, %r5, -1;"), per_lane(|_| u32::MAX));
    assert_eq!(warp("match.all.sync.b32 %r20|%p1, %r1, -1;"), per_lane(|_| 0));
    assert_eq!(warp("redux.sync.add.u32 %r20, %r1, -1;"), per_lane(|_| 496));
    assert_eq!(warp("sub.s32 %r5, %r1, 16; redux.sync.min.s32 %r20, %r5, -1;"), per_lane(|_| -16i32 as u32));
    assert_eq!(warp("redux.sync.xor.b32 %r20, %r1, -1;"), per_lane(|_| 0));
    assert_eq!(warp("elect.sync %r5|%p1, -1; selp.b32 %r20, 1, 0, %p1;"), per_lane(|l| u32::from(l == 0)));
    let active = format!("{odd} mov.u32 %r20, 0; @%p1 activemask.b32 %r20;");
    assert_eq!(warp(&active), per_lane(|l| if l % 2 == 1 { 0xaaaa_aaaa } else { 0 }));
}

#[test]
fn divergence_and_reconvergence() {
    // Different trip counts, then a shuffle that needs all lanes.
    let collatz = "mov.u32 %r5, %r1; add.u32 %r5, %r5, 1; mov.u32 %r6, 0;\nL:\nsetp.eq.u32 %p1, %r5, 1;\n@%p1 bra DONE;\n\
                   and.b32 %r7, %r5, 1; setp.eq.u32 %p2, %r7, 0;\n@%p2 bra EVEN;\nmad.lo.u32 %r5, %r5, 3, 1;\nbra NEXT;\n\
                   EVEN:\nshr.u32 %r5, %r5, 1;\nNEXT:\nadd.u32 %r6, %r6, 1;\nbra L;\nDONE:\nshfl.sync.bfly.b32 %r20, %r6, 1, 31, -1;";
    let steps = |l: u32| {
        let (mut n, mut s) = (l + 1, 0);
        while n != 1 {
            n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
            s += 1;
        }
        s
    };
    assert_eq!(warp(collatz), per_lane(|l| steps(l ^ 1)));
    // The lanes of a loop with a break run its body together: the instruction after the loop is executed once.
    let (_, report) = grid(
        "mov.u32 %r6, 0; and.b32 %r9, %r1, 3;\nL:\nadd.u32 %r6, %r6, 1; setp.gt.u32 %p1, %r6, %r9;\n@%p1 bra DONE;\n\
         setp.lt.u32 %p2, %r6, 100;\n@%p2 bra L;\nDONE:\nmov.u32 %r20, %r6;",
        LaunchConfig::linear(1, 32),
    );
    let once: Vec<_> = report.counters.lines.values().filter(|v| **v == (1, 32)).collect();
    assert!(once.len() >= 2, "{:?}", report.counters.lines);
    assert!(report.counters.lines.values().all(|v| v.0 <= 100));
}

#[test]
fn a_lane_may_wait_for_another_of_its_warp() {
    // A lock that each lane takes in turn: needs independent scheduling of the lanes.
    let text = ".shared .align 4 .b8 lock[4]; .shared .align 4 .b8 sum[4];\nsetp.eq.u32 %p3, %r1, 0;\n@%p3 st.shared.u32 [lock], 0;\n\
                @%p3 st.shared.u32 [sum], 0;\nbar.sync 0;\nSPIN:\natom.shared.cas.b32 %r5, [lock], 0, 1;\nsetp.ne.u32 %p1, %r5, 0;\n@%p1 bra SPIN;\n\
                atom.shared.add.u32 %r6, [sum], %r1;\natom.shared.exch.b32 %r7, [lock], 0;\nbar.sync 0;\nld.shared.u32 %r20, [sum];";
    assert_eq!(warp(text), per_lane(|_| 496));
}

#[test]
fn indirect_branches() {
    let text = "and.b32 %r5, %r1, 3;\ntab: .branchtargets A, B, C, D;\nbrx.idx %r5, tab;\nA:\nmov.u32 %r20, 10;\nbra E;\n\
                B:\nmov.u32 %r20, 11;\nbra E;\nC:\nmov.u32 %r20, 12;\nbra E;\nD:\nmov.u32 %r20, 13;\nE:\nshfl.sync.bfly.b32 %r20, %r20, 1, 31, -1;";
    assert_eq!(warp(text), per_lane(|l| 10 + ((l % 4) ^ 1)));
}

#[test]
fn special_registers() {
    for (name, want) in [
        ("%laneid", (|l| l) as fn(u32) -> u32),
        ("%lanemask_eq", |l| 1 << l),
        ("%lanemask_lt", |l| (1 << l) - 1),
        ("%lanemask_le", |l| u32::MAX >> (31 - l)),
        ("%lanemask_gt", |l| !(u32::MAX >> (31 - l))),
        ("%lanemask_ge", |l| !((1 << l) - 1)),
        ("%nwarpid", |_| 1),
        ("%dynamic_smem_size", |_| 0),
        ("WARP_SZ", |_| 32),
    ] {
        assert_eq!(warp(&format!("mov.u32 %r20, {name};")), per_lane(want), "{name}");
    }
    let config = LaunchConfig { block: [5, 4, 3], ..LaunchConfig::linear(2, 1) };
    let packed = "mov.u32 %r5, %tid.x; mov.u32 %r6, %tid.y; mov.u32 %r7, %tid.z; shl.b32 %r6, %r6, 4; shl.b32 %r7, %r7, 8;\
                  or.b32 %r5, %r5, %r6; or.b32 %r5, %r5, %r7; mov.u32 %r6, %ctaid.x; shl.b32 %r6, %r6, 12; or.b32 %r20, %r5, %r6;";
    let (got, _) = grid(packed, config);
    for (i, v) in got.iter().enumerate() {
        let (block, t) = (i as u32 / 60, i as u32 % 60);
        assert_eq!(*v, (t % 5) | ((t / 5 % 4) << 4) | (t / 20) << 8 | block << 12);
    }
    let clock =
        "mov.u64 %rd5, %clock64; mov.u64 %rd6, %clock64; setp.lt.u64 %p1, %rd5, %rd6; selp.b32 %r20, 1, 0, %p1;";
    assert_eq!(warp(clock), per_lane(|_| 1));
}

#[test]
fn barrier_reductions() {
    let config = LaunchConfig::linear(1, 96);
    let third = "rem.u32 %r5, %r1, 3; setp.eq.u32 %p1, %r5, 0;";
    assert_eq!(grid(&format!("{third} bar.red.popc.u32 %r20, 0, %p1;"), config).0, vec![32; 96]);
    for (op, want) in [("and", 0), ("or", 1)] {
        let text = format!("{third} bar.red.{op}.pred %p2, 0, %p1; selp.b32 %r20, 1, 0, %p2;");
        assert_eq!(grid(&text, config).0, vec![want; 96]);
    }
}

#[test]
fn ragged_blocks_and_guards() {
    // 37 threads: the second warp has five lanes.
    let (got, report) = grid("activemask.b32 %r20;", LaunchConfig::linear(3, 37));
    assert_eq!((got[0], got[36], report.counters.warps), (u32::MAX, 31, 6));
    let guarded = lanes32(
        "mov.u32 %r20, 1; setp.gt.u32 %p1, %r10, %r11; @%p1 mov.u32 %r20, 2; @!%p1 add.u32 %r20, %r20, %r12;",
        &{
            let mut rng = Rng(9);
            (0..100).map(|_| [rng.u32(), rng.u32(), rng.u32() & 7]).collect::<Vec<_>>()
        },
    );
    let mut rng = Rng(9);
    for v in guarded {
        let (a, b, c) = (rng.u32(), rng.u32(), rng.u32() & 7);
        assert_eq!(v, if a > b { 2 } else { 1 + c });
    }
}
