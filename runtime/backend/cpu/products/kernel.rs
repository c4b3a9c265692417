//! The product of 16 rows of integer weights with quantized activations, for every type and level of instructions.
//!
//! `sums[t, r] = sum_c w[r, c] * x[t, c]`, where a unit of 32 columns adds `scale_w * scale_x * (q_w . q_x) + min_w * scale_x * sum(q_x)`.
//! The integer sums are exact, and the floats of a unit are added in the order of the columns, each product and sum by one FMA. So the
//! result is the same at every level, for any number of threads, and in a call with any number of other tokens.

use super::activations::Unit;
use super::simd::{Line, Simd, Work};
use crate::quant::integers::{Integers, Scaling};

/// Bytes between the weights that are read and those that are asked for. A product of one vector with Q4_0 reads 23 GB/s so, 19 without;
/// one of 8 vectors 11 instead of 7 (one thread of an AMD EPYC, small pages, 2026-11-25).
const AHEAD: usize = 4096;

/// Units of a block of `K`.
pub const fn units<K: Integers>() -> usize {
    K::TY.block_size() as usize / 32
}

/// Bits of a quant in the first lines of a unit. The others are in the lines after these.
pub const fn low_bits<K: Integers>() -> usize {
    match K::BITS {
        8 => 8,
        4.. => 4,
        _ => 2,
    }
}

/// Lines of 64 bytes that hold the quants of a unit of 16 rows.
pub const fn lines<K: Integers>() -> usize {
    K::BITS as usize
}

/// Bytes of the scales of a block of 16 rows. See [`super::pack`].
pub const fn scale_bytes<K: Integers>() -> usize {
    let groups = 32 / K::SCALING.group() * units::<K>();
    16 * match K::SCALING {
        Scaling::Block => 2,
        Scaling::BlockMin => 4,
        Scaling::Exponent => 1,
        Scaling::Float8 => groups,
        Scaling::Groups(_) => 2 + groups,
        Scaling::GroupsMin => 4 + 2 * groups,
        Scaling::NibblesMin => 4 + groups,
    }
}

/// The largest byte of unpacked weights.
const fn largest<K: Integers>() -> u8 {
    match K::CODES {
        Some(codes) => {
            let (mut largest, mut i) = (0, 0);
            while i < 16 {
                largest = if codes[i] > largest { codes[i] } else { largest };
                i += 1;
            }
            largest
        }
        None => ((1u32 << K::BITS) - 1) as u8,
    }
}

/// The product of one panel with the vectors of one chunk.
pub struct Panel<'a> {
    /// The quants of the panel.
    pub quants: &'a [Line],
    /// Its scales.
    pub scales: &'a [u8],
    /// The units of the chunk: (columns / 32, vectors).
    pub x: &'a [Unit],
    /// (vectors, 16): the results.
    pub sums: &'a mut [[f32; 16]],
}

/// [`Panel`] with weights of the type `K`; `ONE` if there is one vector, whose sums then stay in registers.
pub struct Product<'a, K, const ONE: bool> {
    panel: Panel<'a>,
    ty: std::marker::PhantomData<K>,
}

impl<'a, K: Integers, const ONE: bool> Product<'a, K, ONE> {
    /// The work of a panel.
    pub fn new(panel: Panel<'a>) -> Self {
        Product { panel, ty: std::marker::PhantomData }
    }
}

impl<K: Integers, const ONE: bool> Work for Product<'_, K, ONE> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Panel { quants, scales, x, sums } = self.panel;
        let vectors = if ONE { 1 } else { sums.len() };
        let mut one = [s.float(0.0); 2]; // of at most two parts
        if !ONE {
            sums.fill([0.0; 16]);
        }
        let blocks = quants.chunks_exact(units::<K>() * lines::<K>()).zip(scales.chunks_exact(scale_bytes::<K>()));
        for ((quants, scales), x) in blocks.zip(x.chunks_exact(units::<K>() * vectors)) {
            let units = quants.chunks_exact(lines::<K>()).zip(x.chunks_exact(vectors));
            for (u, (lines, x)) in units.enumerate() {
                for line in lines {
                    s.prefetch(line.0.as_ptr(), AHEAD);
                }
                for part in 0..16 / S::ROWS {
                    let w = unpack::<S, K>(s, lines, part);
                    let factors = Factors::new::<K>(s, scales, u, part);
                    if ONE {
                        one[part] = factors.add::<K>(s, &w, &x[0], one[part]);
                    } else {
                        for (x, sums) in x.iter().zip(&mut *sums) {
                            let sum = factors.add::<K>(s, &w, x, s.load(sums, part));
                            s.store(sum, sums, part);
                        }
                    }
                }
            }
        }
        if ONE {
            for part in 0..16 / S::ROWS {
                s.store(one[part], &mut sums[0], part);
            }
        }
    }
}

/// The weights of a unit, as bytes: element k has columns 4 k to 4 k + 3 of each row.
#[inline(always)]
fn unpack<S: Simd, K: Integers>(s: S, lines: &[Line], part: usize) -> [S::Bytes; 8] {
    let line = |i: usize| s.bytes(&lines[i], part);
    let mut w = [line(0); 8];
    match low_bits::<K>() {
        8 => {
            for k in 1..8 {
                w[k] = line(k);
            }
        }
        4 => {
            for k in 0..4 {
                let both = line(k);
                w[k] = s.and(both, 15);
                w[k + 4] = s.and(s.right(both, 4), 15);
            }
        }
        _ => {
            for k in 0..8 {
                w[k] = s.and(s.right(line(k / 4), 2 * (k as u32 % 4)), 3);
            }
        }
    }
    match (K::BITS as usize - low_bits::<K>(), low_bits::<K>()) {
        (1, low) => {
            let high = line(low);
            for k in 0..8 {
                w[k] = s.or(w[k], s.and(moved(s, high, k, low), 1 << low));
            }
        }
        (2, low) => {
            for k in 0..8 {
                let high = line(low + k / 4);
                w[k] = s.or(w[k], s.and(moved(s, high, 2 * (k % 4), low), 3 << low));
            }
        }
        _ => {}
    }
    if let Some(codes) = &K::CODES {
        for w in &mut w {
            *w = s.look_up(codes, *w);
        }
    }
    if signed::<S, K>() {
        for w in &mut w {
            *w = s.xor(*w, 0x80);
        }
    }
    w
}

/// Bit `from` of every byte in the place of bit `to`.
#[inline(always)]
fn moved<S: Simd>(s: S, v: S::Bytes, from: usize, to: usize) -> S::Bytes {
    if from > to { s.right(v, (from - to) as u32) } else { s.left(v, (to - from) as u32) }
}

/// Whether the level takes the weights as signed numbers, which have no offset.
#[inline(always)]
fn signed<S: Simd, K: Integers>() -> bool {
    S::SIGNED && K::ZERO == 128
}

/// What the integer sums of a unit are multiplied by.
struct Factors<S: Simd> {
    /// Of the halves of the unit; of the whole unit in the first.
    scales: [S::Floats; 2],
    /// The minimums, likewise.
    mins: [S::Floats; 2],
}

impl<S: Simd> Factors<S> {
    /// Of unit `unit` of a block.
    #[inline(always)]
    fn new<K: Integers>(s: S, scales: &[u8], unit: usize, part: usize) -> Self {
        let half = |i: usize| s.halves(scales[16 * i..].first_chunk().expect("scales"), part);
        let bytes = |i: usize| -> &[u8; 16] { scales[16 * i..].first_chunk().expect("scales") };
        let zero = s.float(0.0);
        let mut factors = Factors { scales: [zero; 2], mins: [zero; 2] };
        let n_groups = 32 / K::SCALING.group(); // of a unit
        for i in 0..n_groups {
            let g = unit * n_groups + i;
            (factors.scales[i], factors.mins[i]) = match K::SCALING {
                Scaling::Block => (half(0), zero),
                Scaling::BlockMin => (half(0), half(2)),
                // 2^(e - 128) in two factors with exponents in range.
                Scaling::Exponent => {
                    let first = bytes(0).map(|e| e / 2 + 63);
                    let second = bytes(0).map(|e| e - e / 2 + 63);
                    (s.mul(s.bits_at::<23>(&first, part), s.bits_at::<23>(&second, part)), zero)
                }
                // An E4M3 at bit 20 is 2^(127 - 7) too small.
                Scaling::Float8 => {
                    (s.mul(s.float(f32::from_bits((127 + 119) << 23)), s.bits_at::<20>(bytes(g), part)), zero)
                }
                Scaling::Groups(_) => (s.mul(half(0), s.signed(bytes(2 + g), part)), zero),
                Scaling::GroupsMin => {
                    let n = units::<K>();
                    let scale = s.mul(half(0), s.signed(bytes(4 + g), part));
                    (scale, s.mul(half(2), s.signed(bytes(4 + n + g), part)))
                }
                Scaling::NibblesMin => {
                    let both = bytes(4 + g);
                    let (low, high) = (both.map(|b| b & 15), both.map(|b| b >> 4));
                    (s.mul(half(0), s.signed(&low, part)), s.mul(half(2), s.signed(&high, part)))
                }
            };
        }
        factors
    }

    /// `sum` plus the products of the unit.
    #[inline(always)]
    fn add<K: Integers>(&self, s: S, w: &[S::Bytes; 8], x: &Unit, mut sum: S::Floats) -> S::Floats {
        let [low, high]: &[[i8; 16]; 2] = bytemuck::cast_ref(&x.q);
        let max = largest::<K>();
        let without_offset = |sum: i32| match signed::<S, K>() {
            true => s.int(0),
            false => s.int(-(sum * i32::from(K::ZERO))),
        };
        let scale = s.float(x.scale);
        if K::SCALING.group() == 32 {
            let ints = s.dot16(without_offset(x.sum), [w[0], w[1], w[2], w[3]], low, max);
            let ints = s.dot16(ints, [w[4], w[5], w[6], w[7]], high, max);
            sum = s.fma(s.mul(self.scales[0], scale), s.to_floats(ints), sum);
            if K::SCALING.has_min() {
                sum = s.fma(self.mins[0], s.float(x.scaled_sum), sum);
            }
        } else {
            let first = s.dot16(without_offset(x.half_sums[0]), [w[0], w[1], w[2], w[3]], low, max);
            let second = s.dot16(without_offset(x.half_sums[1]), [w[4], w[5], w[6], w[7]], high, max);
            sum = s.fma(s.mul(self.scales[0], scale), s.to_floats(first), sum);
            sum = s.fma(s.mul(self.scales[1], scale), s.to_floats(second), sum);
            if K::SCALING.has_min() {
                sum = s.fma(self.mins[0], s.float(x.scaled_half_sums[0]), sum);
                sum = s.fma(self.mins[1], s.float(x.scaled_half_sums[1]), sum);
            }
        }
        sum
    }
}
