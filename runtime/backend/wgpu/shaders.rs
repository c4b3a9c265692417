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

/// An enum of names that shaders declare.
macro_rules! names {
    ($(#[$doc:meta])* $Names:ident: $($(#[$item_doc:meta])* $Name:ident $name:literal),* $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $Names {
            $($(#[$item_doc])* $Name,)*
        }

        impl $Names {
            /// All of them.
            pub const ALL: &[$Names] = &[$($Names::$Name),*];

            /// As shaders write it.
            pub fn name(self) -> &'static str {
                match self {
                    $($Names::$Name => $name,)*
                }
            }
        }
    };
}

names! {
    /// The variables of group 0: parameters, activations, the KV cache, and weights that are read as floats.
    Var:
    /// What varies from step to step.
    Step "step",
    /// The parameters.
    Params "p",
    /// The result.
    Out "out",
    /// The only or the first operand.
    X "x",
    /// The second operand.
    Y "y",
    /// What a product is added to.
    Residual "residual",
    /// The activated operand of SwiGLU.
    Gate "gate",
    /// The other operand of SwiGLU.
    Up "up",
    /// Factors of a norm.
    NormWeight "w",
    /// A bias.
    Bias "b",
    /// Cosines and sines.
    Table "table",
    /// Token ids that an earlier step chose.
    Next "next",
    /// Queries.
    Q "q",
    /// New keys.
    K "k",
    /// New values.
    V "v",
    /// The cache's keys.
    Keys "keys",
    /// The cache's values.
    Values "values",
    /// The cache's scales.
    Scales "scales",
}

names! {
    /// The constants that get their value when a shader is composed.
    Constant:
    /// Columns that a workgroup covers.
    Cols "COLS",
    /// Rows that a workgroup covers.
    Tokens "TOKENS",
    /// Invocations that share a row of a product.
    Lanes "LANES",
    /// Pairs of rows of a product per invocation.
    Pairs "PAIRS",
    /// The first operand is the result's buffer.
    XInPlace "X_IN_PLACE",
    /// The second operand is the result's buffer.
    YInPlace "Y_IN_PLACE",
    /// The cache holds halves.
    KvF16 "KV_F16",
    /// The cache holds blocks of 8-bit quants.
    KvQ8_0 "KV_Q8_0",
    /// Units of a head that there is room for.
    Units "UNITS",
}

fn piece(name: &str) -> Option<&'static str> {
    PIECES.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

/// The piece that decodes weights of this type.
pub fn type_piece(ty: GgmlType) -> String {
    format!("formats/{}", ty.name().to_lowercase())
}

/// A shader, ready to compile, and what its grid covers.
#[derive(Clone, Debug)]
pub struct Composed {
    pub source: String,
    /// Columns per workgroup in x: constant COLS, 1 without it.
    pub cols: u32,
    /// Rows per workgroup in y: constant TOKENS, 1 without it.
    pub rows: u32,
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
pub fn compose<'a>(
    pieces: &[String],
    constants: impl Iterator<Item = &'a (Constant, u32)>,
) -> Result<Composed, String> {
    let mut source = String::new();
    for name in pieces {
        source += piece(name).ok_or_else(|| format!("no shader piece {name}"))?;
        source.push('\n');
    }
    for (name, value) in constants {
        let missing = || format!("its shader declares no constant {}", name.name());
        source = with_constant(&source, *name, *value).ok_or_else(missing)?;
    }
    let cols = constant(&source, Constant::Cols).unwrap_or(1);
    let rows = constant(&source, Constant::Tokens).unwrap_or(1);
    Ok(Composed { source, cols, rows })
}

/// The storage buffers that a piece declares in group [`VARS`]; 0 for the placeholders of imports.
pub fn storage_buffers(name: &str) -> u32 {
    let declared = |line: &&str| line.starts_with("@group(0) ") && line.contains(" var<storage, ");
    piece(name).map_or(0, |text| text.lines().filter(declared).count() as u32)
}

/// The line `const name: type = value;`, cut into what comes before the value, the value, and what follows.
fn declaration(source: &str, name: Constant) -> Option<(&str, &str, &str)> {
    let start = source.find(&format!("\nconst {}: ", name.name()))?;
    let value = start + source[start..].find(" = ")? + 3;
    let end = value + source[value..].find(';')?;
    Some((&source[..value], &source[value..end], &source[end..]))
}

fn constant(source: &str, name: Constant) -> Option<u32> {
    declaration(source, name)?.1.parse().ok()
}

fn with_constant(source: &str, name: Constant, value: u32) -> Option<String> {
    let (before, old, after) = declaration(source, name)?;
    let value = match old {
        "true" | "false" => (value != 0).to_string(),
        _ => value.to_string(),
    };
    Some(format!("{before}{value}{after}"))
}

/// How a shader uses a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// `var<uniform>`
    Uniform,
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// The group of the variables that [`Var`] names.
pub const VARS: u32 = 0;
/// The group of the weights' planes, in the order of the type's layout, and of its codebook behind them.
pub const PLANES: u32 = 1;

/// What a variable stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// A variable of group [`VARS`].
    Var(Var),
    /// A plane of the weights, or their codebook, by its number in group [`PLANES`].
    Plane(usize),
}

/// A `@group(..) @binding(..)` variable of a shader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    /// `@group`
    pub group: u32,
    /// `@binding`
    pub binding: u32,
    /// What it stands for.
    pub bound: Bound,
    /// How the shader uses it.
    pub access: Access,
}

/// The bindings that a shader declares. The error is the compiler's, or names a variable that [`Var`] does not have.
pub fn bindings(source: &str) -> Result<Vec<Binding>, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let bound = module.global_variables.iter().filter_map(|(_, var)| Some((var, var.binding.as_ref()?)));
    let binding = |(var, at): (&naga::GlobalVariable, &naga::ResourceBinding)| {
        let access = match var.space {
            naga::AddressSpace::Uniform => Access::Uniform,
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => Access::ReadWrite,
            _ => Access::Read,
        };
        let name = var.name.as_deref().unwrap_or_default();
        let bound = match at.group {
            PLANES => Bound::Plane(at.binding as usize),
            _ => {
                let known = Var::ALL.iter().find(|var| at.group == VARS && var.name() == name);
                Bound::Var(*known.ok_or_else(|| format!("its shader binds {name}, an unknown variable"))?)
            }
        };
        Ok(Binding { group: at.group, binding: at.binding, bound, access })
    };
    bound.map(binding).collect()
}
