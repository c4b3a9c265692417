//! Vectors of 16 rows, or of a part of them, at each level of the instruction set.
//!
//! The kernels are written once, over the trait [`Simd`]. A level is a value of a type that only its `detect` makes, on a processor
//! that has the instructions: having the value is the proof that its methods may run. All unsafe code of the products is here.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_256;
#[cfg(target_arch = "x86_64")]
mod x86_512;

use std::sync::LazyLock;

/// 64 bytes of weights or scales on a cache line.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// Instructions of one level. A vector of bytes, ints or floats has [`Simd::ROWS`] lanes of 32 bits, one per row of weights; `part`
/// says which of the 16 rows these are.
pub trait Simd: Copy {
    /// Rows of a vector: 16, or a divisor of it.
    const ROWS: usize;
    /// Whether [`Simd::dot16`] takes weights of 8 bits as signed numbers, the byte minus 128. It takes others unsigned.
    const SIGNED: bool;
    /// Four bytes per row.
    type Bytes: Copy;
    /// A 32-bit integer per row.
    type Ints: Copy;
    /// An f32 per row.
    type Floats: Copy;

    /// Runs the work in a function that is compiled for the instructions of the level.
    fn run<W: Work>(self, work: W);

    /// Asks for the cache line `ahead` bytes after `from`, which will be read soon, and may be outside of any object.
    fn prefetch(self, from: *const u8, ahead: usize);
    /// Four bytes of each row: row r has bytes 4 r to 4 r + 3.
    fn bytes(self, line: &Line, part: usize) -> Self::Bytes;
    /// Every byte `& mask`.
    fn and(self, v: Self::Bytes, mask: u8) -> Self::Bytes;
    /// Every byte `^ mask`.
    fn xor(self, v: Self::Bytes, mask: u8) -> Self::Bytes;
    /// `a | b`
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Bits moved towards the lower ones. Bits of the next byte may come in.
    fn right(self, v: Self::Bytes, n: u32) -> Self::Bytes;
    /// Bits moved towards the higher ones. Bits of the byte before may come in.
    fn left(self, v: Self::Bytes, n: u32) -> Self::Bytes;
    /// `table[v]` for every byte, which is below 16.
    fn look_up(self, table: &[u8; 16], v: Self::Bytes) -> Self::Bytes;

    /// An integer in each lane.
    fn int(self, v: i32) -> Self::Ints;
    /// `sum + w . x` over 16 columns, 4 of each vector of `w`: exact. `max` is the largest byte of `w`; `x` is above -128.
    fn dot16(self, sum: Self::Ints, w: [Self::Bytes; 4], x: &[i8; 16], max: u8) -> Self::Ints;
    /// To floats. Exact for the sums of products, which are below 2^24.
    fn to_floats(self, v: Self::Ints) -> Self::Floats;

    /// A float in each lane.
    fn float(self, v: f32) -> Self::Floats;
    /// `a * b`
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Floats of the rows, as their bytes.
    fn floats(self, v: &[u8; 64], part: usize) -> Self::Floats;
    /// Floats of the rows.
    #[inline(always)]
    fn load(self, v: &[f32; 16], part: usize) -> Self::Floats {
        self.floats(bytemuck::cast_ref(v), part)
    }
    /// Writes the floats of the rows.
    fn store(self, v: Self::Floats, out: &mut [f32; 16], part: usize);
    /// The f16 of each row.
    fn halves(self, v: &[u8; 32], part: usize) -> Self::Floats;
    /// The upper half of an f32 of each row.
    fn upper_halves(self, v: &[u8; 32], part: usize) -> Self::Floats;
    /// The signed byte of each row.
    fn signed(self, v: &[u8; 16], part: usize) -> Self::Floats;
    /// A float of each row whose bits are the byte at bit `N` and zeros.
    fn bits_at<const N: u32>(self, v: &[u8; 16], part: usize) -> Self::Floats;
}

/// What a level runs. `run` must be `#[inline(always)]`, so that it is compiled for the instructions of the level.
pub trait Work {
    /// Does it.
    fn run<S: Simd>(self, simd: S);
}

/// A level of the instruction set that this processor has.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(x86_512::Avx512Vnni),
    /// AVX2 with AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    AvxVnni(x86_256::X86<true>),
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86_256::X86<false>),
    /// NEON with the dot product instructions.
    #[cfg(target_arch = "aarch64")]
    NeonDot(neon::NeonDot),
    /// What the compiler makes of plain loops.
    Portable(portable::Portable),
}

impl Level {
    /// The levels of this processor, the fastest first.
    pub fn available() -> &'static [Level] {
        static AVAILABLE: LazyLock<Vec<Level>> = LazyLock::new(|| {
            let mut levels = Level::of_vectors();
            levels.push(Level::Portable(portable::Portable));
            levels
        });
        &AVAILABLE
    }

    #[cfg(target_arch = "x86_64")]
    fn of_vectors() -> Vec<Level> {
        let avx512 = x86_512::Avx512Vnni::detect().map(Level::Avx512Vnni);
        let avx = x86_256::X86::<true>::detect().map(Level::AvxVnni);
        let avx2 = x86_256::X86::<false>::detect().map(Level::Avx2);
        [avx512, avx, avx2].into_iter().flatten().collect()
    }

    #[cfg(target_arch = "aarch64")]
    fn of_vectors() -> Vec<Level> {
        neon::NeonDot::detect().map(Level::NeonDot).into_iter().collect()
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn of_vectors() -> Vec<Level> {
        vec![]
    }

    /// The fastest level of this processor.
    pub fn best() -> Level {
        Level::available()[0]
    }

    /// `AVX-512 VNNI`
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni(_) => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni(_) => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot(_) => "NEON dotprod",
            Level::Portable(_) => "portable",
        }
    }

    /// Runs the work with the instructions of the level.
    pub fn run<W: Work>(self, work: W) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni(simd) => simd.run(work),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni(simd) => simd.run(work),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(simd) => simd.run(work),
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot(simd) => simd.run(work),
            Level::Portable(simd) => simd.run(work),
        }
    }
}

/// The four bytes of a quad as one word, to put it into each lane.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn word(x: &[i8; 16], quad: usize) -> i32 {
    let bytes: &[u8; 16] = bytemuck::cast_ref(x);
    i32::from_ne_bytes(bytes.as_chunks().0[quad])
}

/// Part `part` of an array, as an array of `N`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
fn piece<T, const N: usize>(v: &[T], part: usize) -> &[T; N] {
    &v.as_chunks().0[part]
}
