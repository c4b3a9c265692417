//! The WGSL sources, and how they are put together: each piece imports those that it needs.

use crate::quant::GgmlType;

/// Every file of `shaders/`: its path without the ending, and its text. Written by `build.rs`.
pub const PIECES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// What the line begins with by which a piece names another one that it needs.
const IMPORT: &str = "// #import ";

/// Stands in imports for the piece of the weight type.
pub const TYPE: &str = "formats/TYPE";

/// Stands in imports for the piece that takes the results of a product.
const END: &str = "products/END";

fn piece(name: &str) -> Option<&'static str> {
    PIECES.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

fn type_piece(ty: GgmlType) -> String {
    format!("formats/{}", ty.name().to_lowercase())
}

/// Whether the kernels can decode weights of this type.
pub fn has_type(ty: GgmlType) -> bool {
    piece(&type_piece(ty)).is_some()
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

/// The names of a piece and of those that it imports, each after its own imports. `ty`: the weights' type; without one its import
/// stays [`TYPE`]. `end`: the piece that takes the results of a product.
pub fn pieces(name: &str, ty: Option<GgmlType>, end: Option<&str>) -> Vec<String> {
    let mut found = vec![];
    import(name, ty, end, &mut found);
    found
}

fn import(name: &str, ty: Option<GgmlType>, end: Option<&str>, found: &mut Vec<String>) {
    let name = match (name, ty, end) {
        (TYPE, Some(ty), _) => type_piece(ty),
        (END, _, Some(end)) => end.to_string(),
        _ => name.to_string(),
    };
    if found.contains(&name) {
        return;
    }
    for line in piece(&name).unwrap_or_default().lines() {
        if let Some(other) = line.strip_prefix(IMPORT) {
            import(other, ty, end, found);
        }
    }
    found.push(name);
}

/// The text of these pieces with `constants` written in, one after the other. The error names the piece or constant that is missing.
pub fn compose<'a>(pieces: &[String], constants: impl Iterator<Item = &'a (&'a str, u32)>) -> Result<Composed, String> {
    let mut source = String::new();
    for name in pieces {
        source += piece(name).ok_or_else(|| format!("no shader piece {name}"))?;
        source.push('\n');
    }
    for (name, value) in constants {
        source =
            with_constant(&source, name, *value).ok_or_else(|| format!("its shader declares no constant {name}"))?;
    }
    let cols = constant(&source, "COLS").unwrap_or(1);
    let tokens = constant(&source, "TOKENS").unwrap_or(1);
    Ok(Composed { source, cols, tokens })
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
