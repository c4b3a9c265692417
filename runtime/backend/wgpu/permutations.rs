//! How each kernel is compiled: from which file, for how many rows of a step, with which constants.
//!
//! A kernel is the file of `shaders/` that has its name, compiled once. Attention has several permutations, and so have products: a
//! file of `shaders/products/` with a kernel's name takes the results of every loop in [`PRODUCTS`]. None of the numbers is measured on
//! a GPU.

use super::ops;
use super::shaders::{self, Composed, Constant, PIECES};
use crate::plan::{CoreKind, FusedKind, OpKind};
use crate::quant::GgmlType;
use std::fmt;
use std::sync::LazyLock;

/// Which kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kernel {
    /// That of an operation. Fused operations that begin with a norm have it in a launch of its own, and here the rest.
    Op(OpKind),
    /// Stores keys and values in a cache of 8-bit quants.
    KvStoreQ8_0,
}

impl Kernel {
    /// All kernels. Some fused operations have none.
    pub fn all() -> impl Iterator<Item = Kernel> {
        let all = OpKind::all().map(Kernel::Op).chain([Kernel::KvStoreQ8_0]);
        all.filter(|kernel| ops::mirror(*kernel).is_some())
    }

    /// The name of its shader.
    pub fn stem(self) -> &'static str {
        match self {
            Kernel::Op(kind) => kind.stem(),
            Kernel::KvStoreQ8_0 => "kv_store_q8_0",
        }
    }

    /// Storage buffers that it binds besides the planes of a weight, counted in its shader.
    pub fn storage_buffers(self) -> u32 {
        permutations().iter().find(|row| row.kernel == self).map_or(0, |row| row.storage_buffers)
    }
}

impl From<CoreKind> for Kernel {
    fn from(kind: CoreKind) -> Kernel {
        Kernel::Op(kind.into())
    }
}

impl From<FusedKind> for Kernel {
    fn from(kind: FusedKind) -> Kernel {
        Kernel::Op(kind.into())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.stem())
    }
}

/// One way to compile a kernel.
#[derive(Clone, Debug)]
pub struct Permutation {
    /// The kernel that it is a way to compile.
    pub kernel: Kernel,
    /// The piece that has the entry point.
    pub file: &'static str,
    /// What `products/END` stands for in imports: the piece that takes the results of a product.
    pub end: Option<&'static str>,
    /// The largest number of rows that it is for; none: any number.
    pub up_to: Option<u32>,
    /// Only for adapters that are CPUs and whose subgroups have this many invocations, each a vector lane.
    pub subgroup: Option<u32>,
    /// Values for constants that the pieces declare, in place of those written there.
    pub constants: &'static [(Constant, u32)],
    /// See [`Kernel::storage_buffers`].
    storage_buffers: u32,
}

impl Permutation {
    fn new(kernel: Kernel, strategy: &Strategy, end: Option<&'static str>) -> Permutation {
        let Strategy { file, up_to, subgroup, constants } = *strategy;
        let pieces = shaders::pieces(file, None, end);
        let storage_buffers = pieces.iter().map(|name| shaders::storage_buffers(name)).sum();
        Permutation { kernel, file, end, up_to, subgroup, constants, storage_buffers }
    }

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
    pub fn compose(&self, ty: Option<GgmlType>, constants: &[(Constant, u32)]) -> Result<Composed, String> {
        let all = self.constants.iter().chain(constants);
        shaders::compose(&self.pieces(ty), all).map_err(|what| format!("{}: {what}", self.kernel))
    }
}

/// A permutation before its kernel is known.
struct Strategy {
    file: &'static str,
    up_to: Option<u32>,
    subgroup: Option<u32>,
    constants: &'static [(Constant, u32)],
}

/// Invocations of the subgroups that the broadcasting kernels are written for.
const LANES: Option<u32> = Some(8);

/// Of every matrix product, in the order of `up_to`.
const PRODUCTS: [Strategy; 7] = [
    // A decoded unit of w serves every row of x of the workgroup. 64 invocations: 8 for each of 8 pairs. unmeasured.
    vector(1, &[(Constant::Lanes, 8), (Constant::Cols, 8), (Constant::Tokens, 1)]),
    vector(2, &[(Constant::Lanes, 8), (Constant::Cols, 8), (Constant::Tokens, 2)]),
    // 4 rows of x: 8 sums an invocation. From 9 rows on, the tile of 64 rows is taken, even where most of it is empty. unmeasured.
    vector(8, &[(Constant::Lanes, 8), (Constant::Cols, 8), (Constant::Tokens, 4)]),
    Strategy { file: "products/mat_tiled", up_to: None, subgroup: None, constants: &[] },
    // A subgroup each. One row of x: two pairs a lane, so that a load of x serves 4 rows of w; up to 4 rows of x: one pair, 8 sums;
    // more: two pairs and 8 rows, 32 sums. unmeasured.
    broadcast(Some(1), &[(Constant::Cols, 16), (Constant::Pairs, 2), (Constant::Tokens, 1)]),
    broadcast(Some(4), &[(Constant::Cols, 8), (Constant::Pairs, 1), (Constant::Tokens, 4)]),
    broadcast(None, &[(Constant::Cols, 16), (Constant::Pairs, 2), (Constant::Tokens, 8)]),
];

const fn vector(up_to: u32, constants: &'static [(Constant, u32)]) -> Strategy {
    Strategy { file: "products/mat_vec", up_to: Some(up_to), subgroup: None, constants }
}

const fn broadcast(up_to: Option<u32>, constants: &'static [(Constant, u32)]) -> Strategy {
    Strategy { file: "products/mat_broadcast", up_to, subgroup: LANES, constants }
}

/// Of attention. The rows of a step are its queries: each head of each token.
const ATTENTION: [Strategy; 3] = [
    Strategy { file: "attention/attention", up_to: None, subgroup: None, constants: &[] },
    // Queries of a workgroup share the loads of keys and values; a single one has nothing to share. unmeasured.
    Strategy {
        file: "attention/attention_broadcast",
        up_to: Some(1),
        subgroup: LANES,
        constants: &[(Constant::Tokens, 1)],
    },
    Strategy {
        file: "attention/attention_broadcast",
        up_to: None,
        subgroup: LANES,
        constants: &[(Constant::Tokens, 4)],
    },
];

/// Every permutation. A kernel's come in the order of `up_to`.
pub fn permutations() -> &'static [Permutation] {
    static ROWS: LazyLock<Vec<Permutation>> = LazyLock::new(|| Kernel::all().flat_map(from_file).collect());
    &ROWS
}

/// The permutations of the kernel whose shader is the file of its name; none without such a file.
fn from_file(kernel: Kernel) -> Vec<Permutation> {
    let Some((file, _)) = PIECES.iter().find(|(file, _)| file.rsplit('/').next() == Some(kernel.stem())) else {
        return vec![];
    };
    let once = [Strategy { file, up_to: None, subgroup: None, constants: &[] }];
    let (strategies, end) = match file.split_once('/') {
        Some(("products", _)) => (&PRODUCTS[..], Some(*file)),
        _ if kernel == CoreKind::Attention.into() => (&ATTENTION[..], None),
        _ => (&once[..], None),
    };
    strategies.iter().map(|strategy| Permutation::new(kernel, strategy, end)).collect()
}

/// The permutations of a kernel for an adapter, in the order of `up_to`. `subgroup`: see [`Permutation::subgroup`].
pub fn permutations_of(kernel: Kernel, subgroup: Option<u32>) -> Vec<&'static Permutation> {
    let rows = |subgroup: Option<u32>| {
        let fits = move |p: &&Permutation| p.kernel == kernel && p.subgroup == subgroup;
        permutations().iter().filter(fits).collect::<Vec<_>>()
    };
    let special = rows(subgroup);
    if special.is_empty() { rows(None) } else { special }
}
