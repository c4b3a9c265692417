//! How each kernel is compiled: from which file, for how many rows of a step, with which constants.
//!
//! A file of `shaders/` whose entry point has the file's name is a kernel without further words. Products and attention have several
//! permutations. None of their numbers is measured on a GPU.

use super::shaders::{self, Composed, PIECES};
use crate::quant::GgmlType;
use std::sync::LazyLock;

/// One way to compile a kernel.
#[derive(Clone, Debug)]
pub struct Permutation {
    /// The stem of the operation.
    pub kernel: &'static str,
    /// The piece that has the entry point.
    pub file: &'static str,
    /// What `products/END` stands for in imports: the piece that takes the results of a product.
    pub end: Option<&'static str>,
    /// The largest number of rows that it is for; none: any number.
    pub up_to: Option<u32>,
    /// Only for adapters that are CPUs and whose subgroups have this many invocations, each a vector lane.
    pub subgroup: Option<u32>,
    /// Values for constants that the pieces declare, in place of those written there.
    pub constants: Vec<(&'static str, u32)>,
}

impl Permutation {
    /// The names of its pieces for weights of type `ty`, each after those that it imports.
    pub fn pieces(&self, ty: Option<GgmlType>) -> Vec<String> {
        shaders::pieces(self.file, ty, self.end)
    }

    /// Whether it decodes weights.
    pub fn is_typed(&self) -> bool {
        self.pieces(None).iter().any(|name| name == shaders::TYPE)
    }

    /// The shader for weights of type `ty`, with the permutation's constants and then `constants` written in. The error names the
    /// kernel and the piece or constant that is missing.
    pub fn compose(&self, ty: Option<GgmlType>, constants: &[(&str, u32)]) -> Result<Composed, String> {
        let all = self.constants.iter().chain(constants);
        shaders::compose(&self.pieces(ty), all).map_err(|what| format!("{}: {what}", self.kernel))
    }
}

/// A permutation before its kernel is known.
struct Strategy {
    file: &'static str,
    up_to: Option<u32>,
    subgroup: Option<u32>,
    constants: &'static [(&'static str, u32)],
}

/// Invocations of the subgroups that the broadcasting kernels are written for.
const LANES: Option<u32> = Some(8);

/// Of every matrix product, in the order of `up_to`.
const PRODUCTS: [Strategy; 7] = [
    // A decoded unit of w serves every row of x of the workgroup. 64 invocations: 8 for each of 8 pairs. unmeasured.
    vector(1, &[("LANES", 8), ("COLS", 8), ("TOKENS", 1)]),
    vector(2, &[("LANES", 8), ("COLS", 8), ("TOKENS", 2)]),
    // 4 rows of x: 8 sums an invocation. From 9 rows on the tile of 64 is taken, though most of it is empty. unmeasured.
    vector(8, &[("LANES", 8), ("COLS", 8), ("TOKENS", 4)]),
    Strategy { file: "products/mat_mul_tiled", up_to: None, subgroup: None, constants: &[] },
    // A subgroup each. One row of x: two pairs a lane, so that a load of x serves 4 rows of w; up to 4 rows of x: one pair, 8 sums;
    // more: two pairs and 8 rows, 32 sums. unmeasured.
    broadcast(Some(1), &[("COLS", 16), ("PAIRS", 2), ("TOKENS", 1)]),
    broadcast(Some(4), &[("COLS", 8), ("PAIRS", 1), ("TOKENS", 4)]),
    broadcast(None, &[("COLS", 16), ("PAIRS", 2), ("TOKENS", 8)]),
];

const fn vector(up_to: u32, constants: &'static [(&'static str, u32)]) -> Strategy {
    Strategy { file: "products/mat_mul", up_to: Some(up_to), subgroup: None, constants }
}

const fn broadcast(up_to: Option<u32>, constants: &'static [(&'static str, u32)]) -> Strategy {
    Strategy { file: "products/mat_mul_broadcast", up_to, subgroup: LANES, constants }
}

/// A matrix product: its stem, the piece that takes its results, and constants of that piece.
type Product = (&'static str, &'static str, &'static [(&'static str, u32)]);

const PRODUCT_KERNELS: [Product; 4] = [
    ("mat_mul", "products/mat_mul_out", &[]),
    ("mat_mul_add", "products/mat_mul_out", &[("ADD", 1)]),
    ("norm_gate_up_swi_glu", "products/norm_gate_up_swi_glu", &[]),
    ("norm_qkv_rope_store", "products/norm_qkv_rope_store", &[]),
];

/// Of attention. The rows of a step are its queries: each head of each token.
const ATTENTION: [Strategy; 3] = [
    Strategy { file: "attention/attention", up_to: None, subgroup: None, constants: &[] },
    // Queries of a workgroup share the loads of keys and values; a single one has nothing to share. unmeasured.
    Strategy { file: "attention/attention_broadcast", up_to: Some(1), subgroup: LANES, constants: &[("TOKENS", 1)] },
    Strategy { file: "attention/attention_broadcast", up_to: None, subgroup: LANES, constants: &[("TOKENS", 4)] },
];

impl Strategy {
    fn of(&self, kernel: &'static str, end: Option<&'static str>, constants: &[(&'static str, u32)]) -> Permutation {
        let Strategy { file, up_to, subgroup, .. } = *self;
        Permutation { kernel, file, end, up_to, subgroup, constants: [constants, self.constants].concat() }
    }
}

/// Every permutation. A kernel's come in the order of `up_to`.
pub fn permutations() -> &'static [Permutation] {
    static ROWS: LazyLock<Vec<Permutation>> = LazyLock::new(|| {
        let attention = ATTENTION.iter().map(|strategy| strategy.of("attention", None, &[]));
        let products = PRODUCT_KERNELS.iter().flat_map(|(kernel, end, constants)| {
            PRODUCTS.iter().map(move |strategy| strategy.of(kernel, Some(end), constants))
        });
        let mut rows: Vec<Permutation> = attention.chain(products).collect();
        for (file, text) in PIECES {
            let kernel = file.rsplit('/').next().unwrap_or(file);
            let has_entry = text.contains("@compute") && text.contains(&format!("\nfn {kernel}("));
            if has_entry && !rows.iter().any(|row| row.kernel == kernel) {
                rows.push(Permutation { kernel, file, end: None, up_to: None, subgroup: None, constants: vec![] });
            }
        }
        rows
    });
    &ROWS
}

/// Whether there is a kernel of this stem.
pub fn has_kernel(stem: &str) -> bool {
    permutations().iter().any(|p| p.kernel == stem)
}

/// The permutations of kernel `stem` for an adapter, in the order of `up_to`. `subgroup`: see [`Permutation::subgroup`].
pub fn permutations_of(stem: &str, subgroup: Option<u32>) -> Vec<&'static Permutation> {
    let rows = |subgroup: Option<u32>| {
        let fits = move |p: &&Permutation| p.kernel == stem && p.subgroup == subgroup;
        permutations().iter().filter(fits).collect::<Vec<_>>()
    };
    let special = rows(subgroup);
    if special.is_empty() { rows(None) } else { special }
}
