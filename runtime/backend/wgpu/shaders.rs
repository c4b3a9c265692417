//! The WGSL sources, and how `shaders/permutations.json` puts them together.

use crate::quant::GgmlType;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use wgpu::naga;

/// Every file of `shaders/`: its path without the ending, and its text. Written by `build.rs`.
pub const PIECES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// Stands for the piece of a weight type in a list of pieces.
const TYPE_PIECE: &str = "formats/*";

/// One way to compile a kernel: a row of `permutations.json`.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Permutation {
    /// The stem of the operation.
    pub kernel: String,
    /// Pieces, in order.
    pub pieces: Vec<String>,
    /// The most rows of a step that it is for; absent: any number.
    pub up_to: Option<u32>,
    /// Only for adapters that are CPUs and whose subgroups have this many invocations, each a vector lane.
    pub subgroup: Option<u32>,
    /// Values for constants that the pieces declare, in place of those written there.
    #[serde(default)]
    pub constants: BTreeMap<String, u32>,
}

/// The rows of `permutations.json`. A kernel's rows come in the order of `up_to`.
pub fn permutations() -> &'static [Permutation] {
    static ROWS: LazyLock<Vec<Permutation>> = LazyLock::new(|| {
        let json = include_str!("../../../shaders/permutations.json");
        serde_json::from_str(json).expect("permutations.json is part of the program, and a test reads it")
    });
    &ROWS
}

fn piece(name: &str) -> Option<&'static str> {
    PIECES.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

fn type_piece(ty: GgmlType) -> Option<&'static str> {
    piece(&format!("formats/{}", ty.name().to_lowercase()))
}

/// Whether the kernels can decode weights of this type.
pub fn has_type(ty: GgmlType) -> bool {
    type_piece(ty).is_some()
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

/// A shader, ready to compile, and what its grid covers.
#[derive(Clone, Debug)]
pub struct Composed {
    pub source: String,
    /// Columns per workgroup in x: constant COLS, 1 without it.
    pub cols: u32,
    /// Rows per workgroup in y: constant TOKENS, 1 without it.
    pub tokens: u32,
}

impl Permutation {
    pub fn is_typed(&self) -> bool {
        self.pieces.iter().any(|p| p == TYPE_PIECE)
    }

    /// The pieces, for weights of type `ty`, with the permutation's constants and then `constants` written in.
    /// The error names the piece or constant that is missing.
    pub fn compose(&self, ty: Option<GgmlType>, constants: &[(&str, u32)]) -> Result<Composed, String> {
        let mut source = String::new();
        for name in &self.pieces {
            let text = match ty {
                Some(ty) if name == TYPE_PIECE => type_piece(ty),
                _ => piece(name),
            };
            source += text.ok_or_else(|| format!("{}: no shader piece {name} for {ty:?}", self.kernel))?;
            source.push('\n');
        }
        let tuned = self.constants.iter().map(|(name, value)| (name.as_str(), *value));
        for (name, value) in tuned.chain(constants.iter().copied()) {
            source = with_constant(&source, name, value)
                .ok_or_else(|| format!("{}: its shader declares no constant {name}", self.kernel))?;
        }
        let cols = constant(&source, "COLS").unwrap_or(1);
        let tokens = constant(&source, "TOKENS").unwrap_or(1);
        Ok(Composed { source, cols, tokens })
    }
}

/// The line `const name: type = value;`, cut into what comes before the value, the value, and what follows.
fn declaration<'a>(source: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let start = source.find(&format!("\nconst {name}: "))?;
    let value = start + source[start..].find(" = ")? + 3;
    let end = value + source[value..].find(';')?;
    Some((&source[..value], &source[value..end], &source[end..]))
}

fn constant(source: &str, name: &str) -> Option<u32> {
    declaration(source, name)?.1.parse().ok()
}

fn with_constant(source: &str, name: &str, value: u32) -> Option<String> {
    let (before, old, after) = declaration(source, name)?;
    let value = match old {
        "true" | "false" => (value != 0).to_string(),
        _ => value.to_string(),
    };
    Some(format!("{before}{value}{after}"))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Uniform,
    Read,
    ReadWrite,
}

/// A `@group(..) @binding(..)` variable of a shader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    pub group: u32,
    pub binding: u32,
    pub name: String,
    pub access: Access,
}

/// The bindings that a shader declares. The error is the compiler's.
pub fn bindings(source: &str) -> Result<Vec<Binding>, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let bound = module.global_variables.iter().filter_map(|(_, var)| {
        let at = var.binding.as_ref()?;
        let access = match var.space {
            naga::AddressSpace::Uniform => Access::Uniform,
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => Access::ReadWrite,
            _ => Access::Read,
        };
        let name = var.name.clone().unwrap_or_default();
        Some(Binding { group: at.group, binding: at.binding, name, access })
    });
    Ok(bound.collect())
}
