//! Blocks as integers, for products in integer arithmetic.
//!
//! A value of such a type is `x = d * scale * (q - zero) + m * min`. Each factor that a type lacks is 1, each term that it lacks is 0.

use super::Block;

/// A block whose values are integers times scales.
pub trait Integers: Block {
    /// `[u8; TY.block_size()]`
    type Quants: bytemuck::Pod;
    /// The number of bits of a quant: 2, 3, 4, 5, 6 or 8.
    const BITS: u32;
    /// The quant, or the entry of [`Integers::CODES`], that stands for 0.
    const ZERO: u8;
    /// What the quants index, if they are codes: the integer of each code.
    const CODES: Option<[u8; 16]> = None;
    /// Where the scales come from.
    const SCALING: Scaling;

    /// The quants in the order of the values.
    fn quants(&self) -> Self::Quants;

    /// The scales. Only the fields that [`Integers::SCALING`] names are meaningful.
    fn scales(&self) -> Scales;
}

/// Which scales a block has: fields of [`Scales`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scaling {
    /// `x = d * (q - zero)`
    Block,
    /// `x = d * q + m`
    BlockMin,
    /// `x = 2^(scales[0] - 128) * (q - zero)`
    Exponent,
    /// `x = e4m3(scales[g]) / 2 * (q - zero)` for group g of 16 values. No sign; 0x7f does not occur.
    Float8,
    /// `x = d * scales[g] * (q - zero)` for group g of this number of values. Scales are signed.
    Groups(usize),
    /// `x = d * scales[g] * q + m * mins[g]` for group g of 32 values.
    GroupsMin,
    /// `x = d * (scales[g] & 15) * q + m * (scales[g] >> 4)` for group g of 16 values.
    NibblesMin,
}

impl Scaling {
    /// Values that one scale multiplies, of the 32 of a unit: 16 or 32.
    pub const fn group(self) -> usize {
        match self {
            Scaling::Float8 | Scaling::Groups(16) | Scaling::NibblesMin => 16,
            _ => 32,
        }
    }

    /// Whether values have a minimum.
    pub const fn has_min(self) -> bool {
        matches!(self, Scaling::BlockMin | Scaling::GroupsMin | Scaling::NibblesMin)
    }
}

/// Scales of one block.
#[derive(Clone, Copy, Default, Debug)]
pub struct Scales {
    /// The scale of the block, f16.
    pub d: [u8; 2],
    /// The factor of the minimums, f16, with the sign that makes them a summand.
    pub m: [u8; 2],
    /// Scales of groups.
    pub scales: [u8; 16],
    /// Minimums of groups.
    pub mins: [u8; 16],
}

/// An f16 with the other sign.
pub(super) fn negated([low, high]: [u8; 2]) -> [u8; 2] {
    [low, high ^ 0x80]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::*;

    /// Values of a block from its integers, in the arithmetic of the formula above.
    fn from_integers<B: Integers>(block: &B) -> Vec<f32> {
        let (quants, scales) = (block.quants(), block.scales());
        let [d, m] = [scales.d, scales.m].map(|bytes| half::f16::from_le_bytes(bytes).to_f32());
        let quants: &[u8] = bytemuck::bytes_of(&quants);
        let value = |(i, q): (usize, &u8)| {
            assert!(u32::from(*q) < 1 << B::BITS);
            let q = i32::from(B::CODES.map_or(*q, |codes| codes[usize::from(*q)])) - i32::from(B::ZERO);
            let (q, g) = (q as f32, i / B::SCALING.group());
            let signed = |g: usize| f32::from(scales.scales[g].cast_signed());
            match B::SCALING {
                Scaling::Block => d * q,
                Scaling::BlockMin => d * q + m,
                Scaling::Exponent => ((f64::from(scales.scales[0]) - 128.0).exp2() * f64::from(q)) as f32,
                Scaling::Float8 => {
                    let (exponent, mantissa) = (scales.scales[g] >> 3, f32::from(scales.scales[g] & 7));
                    let half = match exponent {
                        0 => mantissa * (-10f32).exp2(),
                        e => (1.0 + mantissa / 8.0) * (f32::from(e) - 8.0).exp2(),
                    };
                    half * q
                }
                Scaling::Groups(_) => d * signed(g) * q,
                Scaling::GroupsMin => d * signed(g) * q + m * f32::from(scales.mins[g]),
                Scaling::NibblesMin => d * f32::from(scales.scales[g] & 15) * q + m * f32::from(scales.scales[g] >> 4),
            }
        };
        quants.iter().enumerate().map(value).collect()
    }

    fn check<B: Integers>() {
        let n = 64 * B::TY.block_size();
        let blocks = random_blocks(B::TY, n, &mut Random::new(1));
        let mut expected = vec![0.0; n as usize];
        decode(B::TY, &blocks, &mut expected);
        let blocks: &[B] = bytemuck::cast_slice(&blocks);
        let values: Vec<f32> = blocks.iter().flat_map(from_integers).collect();
        for (i, (value, expected)) in values.iter().zip(&expected).enumerate() {
            assert_eq!(value, expected, "{} value {i}", B::TY);
        }
    }

    #[test]
    fn the_integers_of_a_block_give_its_values() {
        check::<Q4_0>();
        check::<Q4_1>();
        check::<Q5_0>();
        check::<Q5_1>();
        check::<Q8_0>();
        check::<Q2_K>();
        check::<Q3_K>();
        check::<Q4_K>();
        check::<Q5_K>();
        check::<Q6_K>();
        check::<IQ4_NL>();
        check::<IQ4_XS>();
        check::<MXFP4>();
        check::<NVFP4>();
        check::<TQ1_0>();
        check::<TQ2_0>();
    }
}
