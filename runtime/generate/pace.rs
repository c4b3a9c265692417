//! How much of a step begins at a time: between two parts the caller may end the work.
//!
//! A part is some operations of the step's list, so that its results have the same bits as those of the undivided step.

use crate::plan::{Cost, DECODE_TOKENS, Op, Phase, Plan, StepSize};
use std::ops::Range;
use std::time::Instant;

/// Seconds of work that begin before the session waits for them. unmeasured.
const PART: f64 = 0.03;
/// Seconds that an operation of a prompt may take; if one takes more, steps get fewer tokens. unmeasured.
const LONGEST: f64 = 0.06;
/// Fewest tokens of a step that was cut for [`LONGEST`]. A device reads all weights for each step.
const FEWEST: u32 = 16;
/// Numbers of tokens of such steps are multiples of this: kernels take rows of x in groups.
const MULTIPLE: u32 = 8;
const _: () = assert!(FEWEST > DECODE_TOKENS, "a part of a prompt runs the same operations as the whole");
/// Work per second of a device that has run nothing yet. SmolLM2-135M's prompts: 12e9 on the reference (2 cores, x86-64).
const UNKNOWN: f64 = 5e9;
/// Seconds for which [`UNKNOWN`] counts among those that were measured.
const DOUBT: f64 = 0.001;
/// Seconds of measured work after which the earlier counts half: speed follows the clock and the other programs.
const MEMORY: f64 = 0.25;

/// The work of an operation, in floating-point operations and bytes, for any size of a step.
struct OpWork {
    fixed: f64,
    per_token: f64,
    per_output: f64,
    /// For each token and each slot that it attends to.
    per_slot: f64,
}

impl OpWork {
    fn new(plan: &Plan, op: &Op) -> OpWork {
        let at = |n_tokens, n_outputs, kv_len| {
            let cost: Cost = op.cost(plan, StepSize { n_tokens, n_outputs, kv_len });
            (cost.flops + cost.bytes()) as f64
        };
        let fixed = at(0, 0, 0);
        let token = at(1, 0, 0);
        OpWork { fixed, per_token: token - fixed, per_output: at(0, 1, 0) - fixed, per_slot: at(1, 0, 1) - token }
    }

    fn at(&self, size: StepSize) -> f64 {
        let [tokens, outputs, slots] = [size.n_tokens, size.n_outputs, size.kv_len].map(|n| n as f64);
        self.fixed + tokens * self.per_token + outputs * self.per_output + tokens * slots * self.per_slot
    }
}

/// The speed of a device, from the work that it was seen to do.
struct Speed {
    work: f64,
    seconds: f64,
}

impl Speed {
    fn seconds_for(&self, work: f64) -> f64 {
        work * self.seconds / self.work
    }

    fn add(&mut self, work: f64, seconds: f64) {
        self.work += work;
        self.seconds += seconds;
        if self.seconds > MEMORY {
            self.work /= 2.0;
            self.seconds /= 2.0;
        }
    }
}

/// Divides steps into parts of about [`PART`], by the speed of the parts before.
pub struct Pace {
    /// For each phase, that of each operation of its list.
    ops: [Vec<OpWork>; 2],
    /// For each phase: decode is bound by other limits than prefill.
    speed: [Speed; 2],
    /// The most slots that a token attends to.
    window: u64,
    /// What has begun since the device was idle: the work of this phase.
    phase: Phase,
    begun: f64,
    since: Instant,
}

impl Pace {
    /// For the steps of `plan`.
    pub fn new(plan: &Plan) -> Pace {
        Pace {
            ops: Phase::ALL.map(|phase| plan.ops(phase).iter().map(|op| OpWork::new(plan, op)).collect()),
            speed: Phase::ALL.map(|_| Speed { work: UNKNOWN * DOUBT, seconds: DOUBT }),
            window: plan.window.map_or(u64::MAX, u64::from),
            phase: Phase::Decode,
            begun: 0.0,
            since: Instant::now(),
        }
    }

    /// The work of each of these operations of a step of this size.
    fn work(&self, ops: Range<usize>, size: StepSize) -> impl Iterator<Item = f64> {
        let size = StepSize { kv_len: size.kv_len.min(self.window), ..size };
        self.ops[phase(size) as usize][ops].iter().map(move |op| op.at(size))
    }

    fn n_ops(&self, size: StepSize) -> usize {
        self.ops[phase(size) as usize].len()
    }

    fn seconds(&self, work: f64, size: StepSize) -> f64 {
        self.speed[phase(size) as usize].seconds_for(work)
    }

    /// Number of the first tokens of a step of this size that make a step of their own: all, if none of its operations takes too long.
    pub fn tokens(&self, size: StepSize) -> u32 {
        let n = size.n_tokens as u32;
        let longest = self.work(0..self.n_ops(size), size).fold(0.0, f64::max);
        let share = LONGEST / self.seconds(longest, size);
        if n <= DECODE_TOKENS || share >= 1.0 {
            return n;
        }
        let part = ((f64::from(n) * share) as u32 / MULTIPLE * MULTIPLE).max(FEWEST);
        // What is left has the same phase, or there is nothing left.
        match n.saturating_sub(part) {
            0 => n,
            1..=DECODE_TOKENS if part == FEWEST => n,
            1..=DECODE_TOKENS => part - MULTIPLE,
            _ => part,
        }
    }

    /// From now on the device has nothing to do.
    pub fn idle(&mut self) {
        self.begun = 0.0;
        self.since = Instant::now();
    }

    /// The operations of a step of this size that begin next: those from `first` on, as far as [`PART`] goes.
    pub fn part(&mut self, first: usize, size: StepSize) -> Range<usize> {
        if self.phase != phase(size) {
            self.phase = phase(size);
            self.idle(); // nearly: less than a part of the other phase may be under way
        }
        let sums = self.work(first..self.n_ops(size), size).scan(self.begun, |sum, work| {
            *sum += work;
            Some(*sum)
        });
        let n = sums.take_while(|sum| self.seconds(*sum, size) <= PART).count();
        first..(first + n.max(1)).min(self.n_ops(size))
    }

    /// Counts a part, which has begun. Whether it is time to wait for it.
    pub fn is_due(&mut self, part: Range<usize>, size: StepSize) -> bool {
        let next = part.end..(part.end + 1).min(self.n_ops(size));
        self.begun += self.work(part, size).sum::<f64>();
        let with_next = self.begun + self.work(next, size).sum::<f64>();
        self.seconds(with_next, size) > PART || self.since.elapsed().as_secs_f64() > PART
    }

    /// All that has begun has ended.
    pub fn ended(&mut self) {
        self.speed[self.phase as usize].add(self.begun, self.since.elapsed().as_secs_f64());
        self.idle();
    }
}

fn phase(size: StepSize) -> Phase {
    Phase::of(size.n_tokens as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PlanOptions, Shape, Synth};
    use crate::plan::KvType;
    use crate::quant::GgmlType;

    fn pace() -> Pace {
        let shape = Shape::find("llama3-8b").expect("a known shape");
        let model = Synth { shape: Shape { n_layers: 2, ..shape }, ty: GgmlType::Q4_0, seed: 1 }.model();
        let options = PlanOptions { n_ctx: 4096, max_tokens: 512, max_outputs: 64, kv: KvType::F16 };
        Pace::new(&model.plan(&options).expect("a plan"))
    }

    fn size(n_tokens: u64) -> StepSize {
        StepSize { n_tokens, n_outputs: 1, kv_len: n_tokens }
    }

    /// The parts of a step on a device of this speed.
    fn parts(pace: &mut Pace, size: StepSize, speed: f64) -> Vec<Range<usize>> {
        pace.speed[phase(size) as usize] = Speed { work: speed, seconds: 1.0 };
        pace.idle();
        let mut parts = vec![];
        while parts.last().is_none_or(|part: &Range<usize>| part.end < pace.n_ops(size)) {
            let part = pace.part(parts.last().map_or(0, |part| part.end), size);
            if pace.is_due(part.clone(), size) {
                pace.idle();
            }
            parts.push(part);
        }
        parts
    }

    #[test]
    fn parts_take_as_long_on_every_device() {
        let mut pace = pace();
        assert_eq!(parts(&mut pace, size(512), 1e15).len(), 1, "a fast device gets the whole step");
        for speed in [1e10, 1e12, 1e13] {
            let parts = parts(&mut pace, size(512), speed);
            assert!(parts.windows(2).all(|two| two[0].end == two[1].start), "{parts:?}");
            for part in &parts {
                let seconds = pace.work(part.clone(), size(512)).sum::<f64>() / speed;
                assert!(part.len() == 1 || seconds <= PART, "{speed}: {part:?} takes {seconds}");
            }
        }
    }

    #[test]
    fn steps_of_a_slow_device_have_fewer_tokens() {
        let mut pace = pace();
        let mut with_speed = |speed: f64, n: u64| {
            pace.speed[Phase::Prefill as usize] = Speed { work: speed, seconds: 1.0 };
            let fits = pace.tokens(size(n));
            let left = n as u32 - fits;
            assert!(left == 0 || fits >= FEWEST && left > DECODE_TOKENS, "{n}: {fits}");
            fits
        };
        assert_eq!(with_speed(1e15, 512), 512);
        let some = with_speed(1e11, 512);
        assert!((40..100).contains(&some), "{some}"); // 0.117e9 operations per token in the longest product
        for n in 9..=512 {
            assert_eq!(with_speed(1e6, n), if n <= 24 { n as u32 } else { FEWEST });
            with_speed(1e11, n);
        }
        assert_eq!(pace.tokens(size(8)), 8, "decode is not divided");
    }

    #[test]
    fn speed_follows_the_device() {
        let mut speed = Speed { work: UNKNOWN * DOUBT, seconds: DOUBT };
        speed.add(1e12, 0.05);
        assert!(speed.seconds_for(1.6e13) < 1.0);
        (0..40).for_each(|_| speed.add(1e9, 0.05));
        let slow = speed.seconds_for(2e10);
        assert!((0.5..1.5).contains(&slow), "{slow}");
    }
}
