//! The WGSL sources: every operation has one, every permutation is valid, and Rust and shader agree on every parameter.

use naga::valid::{Capabilities, ValidationFlags, Validator};
use pronk::backend::wgpu::memory::KV_UNIT;
use pronk::backend::wgpu::ops::mirror;
use pronk::backend::wgpu::permutations::{Kernel, Permutation, permutations};
use pronk::backend::wgpu::shaders::{Access, Binding, Bound, Constant, PIECES, Var, bindings, type_piece};
use pronk::plan::{CoreKind, FusedKind, KV_BLOCK, MAX_HEAD_DIM, NEXT_TOKEN, NOT_FINITE};
use pronk::quant::{FORMATS, Format, GgmlType};

/// The types that a permutation is compiled for.
fn types(row: &Permutation) -> Vec<Option<GgmlType>> {
    match row.is_typed() {
        true => FORMATS.iter().map(|format| Some(format.ty)).collect(),
        false => vec![None],
    }
}

fn parse(row: &Permutation, ty: Option<GgmlType>) -> (String, naga::Module) {
    let composed = row.compose(ty, &[]).unwrap_or_else(|e| panic!("{e}"));
    let module = naga::front::wgsl::parse_str(&composed.source)
        .unwrap_or_else(|e| panic!("{} {ty:?}: {}", row.kernel, e.emit_to_string(&composed.source)));
    (composed.source, module)
}

#[test]
fn every_kernel_has_a_shader_and_permutations() {
    for kernel in Kernel::all() {
        let named = |(name, _): &(&str, &str)| name.rsplit('/').next() == Some(kernel.stem());
        assert!(PIECES.iter().any(named), "no {kernel}.wgsl");
        assert!(permutations().iter().any(|row| row.kernel == kernel), "no permutation of {kernel}");
    }
}

#[test]
fn every_file_is_a_piece_and_every_piece_is_used() {
    let shaders = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let names = |folder: &std::path::Path| -> Vec<String> {
        let files = std::fs::read_dir(folder).expect("a folder").map(|f| f.expect("a file").file_name());
        files.map(|name| name.into_string().expect("UTF-8")).collect()
    };
    let folders = names(&shaders).into_iter().filter(|name| shaders.join(name).is_dir());
    let files =
        folders.flat_map(|folder| names(&shaders.join(&folder)).into_iter().map(move |f| format!("{folder}/{f}")));
    for file in files {
        let name = file.strip_suffix(".wgsl").expect("a shader");
        assert!(PIECES.iter().any(|(piece, _)| *piece == name), "shaders/{file} is not a piece");
        let used = permutations().iter().any(|row| row.pieces(None).iter().any(|piece| piece == name));
        assert!(used || name.starts_with("formats/"), "shaders/{file} is in no permutation");
    }
}

/// The header of a kernel: an equation, then the same three paragraphs as in `kernels/`.
#[test]
fn every_kernel_file_begins_with_equation_grid_layout_and_traffic() {
    let of_kernel = |name: &str, text: &str| text.contains("@compute") || name.starts_with("products/");
    for (name, text) in PIECES.iter().filter(|(name, text)| of_kernel(name, text)) {
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("//")).collect();
        assert!(header.iter().take(3).any(|line| line.contains(" = ") || line.contains(" += ")), "{name}: no equation");
        let mut at = 0;
        for word in ["// Grid     ", "// Layout   ", "// Traffic  "] {
            let found = header[at..].iter().position(|line| line.starts_with(word));
            at += found.unwrap_or_else(|| panic!("{name}: no line {word:?} in its place"));
        }
    }
    for (name, text) in PIECES.iter().filter(|(name, _)| name.starts_with("formats/")) {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.contains(":  w[i] = "), "{name}: no equation of w[i]");
    }
}

#[test]
fn every_layout_has_a_decoder_with_its_planes_and_codebook() {
    for Format { layout, .. } in &FORMATS {
        let piece = type_piece(layout.ty);
        let found = PIECES.iter().find(|(name, _)| *name == piece);
        let (_, source) = found.unwrap_or_else(|| panic!("no shaders/{piece}.wgsl"));
        let grid = layout.grid.map(|_| "grid");
        for (i, name) in layout.planes.iter().map(|plane| plane.kind.binding()).chain(grid).enumerate() {
            let binding = format!("@group(1) @binding({i}) var<storage, read> {name}:");
            assert!(source.contains(&binding), "{piece}: no {binding}");
        }
    }
}

#[test]
fn every_permutation_is_valid() {
    let mut count = 0;
    for row in permutations() {
        for ty in types(row) {
            let (source, module) = parse(row, ty);
            let capabilities = match row.subgroup {
                Some(_) => Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16_IN_FLOAT32,
                None => Capabilities::SHADER_FLOAT16_IN_FLOAT32, // unpack2x16float: every adapter of WebGPU has it
            };
            let checked = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
            if let Err(e) = checked {
                panic!("{} {ty:?}: {}", row.kernel, e.emit_to_string(&source));
            }
            assert_eq!(module.entry_points.len(), 1, "{} {ty:?}", row.kernel);
            count += 1;
        }
    }
    assert!(count > 100, "{count} permutations");
}

/// An import that nothing is taken from would be a piece too many in every shader.
#[test]
fn every_import_names_a_piece_that_is_used() {
    for (name, text) in PIECES {
        let code: String =
            text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
        for import in text.lines().filter_map(|line| line.strip_prefix("// #import ")) {
            let declared: Vec<&str> = match import {
                "formats/TYPE" => vec!["decode"],
                "products/END" => vec!["finish"],
                _ => {
                    let (_, other) = PIECES.iter().find(|(piece, _)| *piece == import).expect(import);
                    let after =
                        ["\nfn ", "\nconst ", "\nstruct ", "> "].iter().flat_map(|key| other.split(key).skip(1));
                    after
                        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""))
                        .collect()
                }
            };
            let words =
                code.split(|c: char| !c.is_alphanumeric() && c != '_').collect::<std::collections::HashSet<_>>();
            assert!(declared.iter().any(|word| !word.is_empty() && words.contains(word)), "{name} imports {import}");
        }
    }
}

/// Kernels that store pairs do not compile for a cache of blocks.
#[test]
fn pairs_are_never_stored_in_a_q8_0_cache() {
    for kernel in [CoreKind::KvStore.into(), FusedKind::NormQkvRopeStore.into()] {
        for row in permutations().iter().filter(|row| row.kernel == kernel) {
            let composed = row.compose(types(row)[0], &[(Constant::KvQ8_0, 1)]).unwrap_or_else(|e| panic!("{e}"));
            let error = naga::front::wgsl::parse_str(&composed.source).expect_err("const_assert");
            assert!(error.to_string().contains("const_assert"), "{kernel}: {error}");
        }
    }
}

/// A kernel's permutations come in the order of the rows that they are for, the last one for any number.
#[test]
fn some_permutation_fits_every_step() {
    for row in permutations() {
        let alike = permutations().iter().filter(|p| (&p.kernel, p.subgroup) == (&row.kernel, row.subgroup));
        let most: Vec<u32> = alike.map(|p| p.up_to.unwrap_or(u32::MAX)).collect();
        assert!(most.is_sorted(), "{}: {most:?}", row.kernel);
        assert_eq!(most.last(), Some(&u32::MAX), "{}: {most:?}", row.kernel);
    }
}

fn bound(row: &Permutation, ty: Option<GgmlType>) -> Vec<Binding> {
    let mut all = bindings(&parse(row, ty).0).unwrap_or_else(|e| panic!("{} {ty:?}: {e}", row.kernel));
    all.sort_by_key(|b| (b.group, b.binding));
    all
}

/// Permutations of a kernel share their bind groups: the same variables at the same places.
#[test]
fn permutations_of_a_kernel_bind_the_same() {
    for row in permutations() {
        let first = permutations().iter().find(|p| p.kernel == row.kernel).expect("row itself");
        for ty in types(row) {
            assert_eq!(bound(row, ty), bound(first, ty), "{} {ty:?}", row.kernel);
        }
    }
}

/// `supports` counts a kernel's storage buffers without compiling it.
#[test]
fn storage_buffers_are_those_that_the_shader_binds() {
    for row in permutations() {
        let buffers = bound(row, types(row)[0]).into_iter().filter(|b| b.access != Access::Uniform);
        let vars = buffers.filter(|b| matches!(b.bound, Bound::Var(_))).count();
        assert_eq!(row.kernel.storage_buffers() as usize, vars, "{}", row.kernel);
        assert!(vars > 0, "{}", row.kernel);
    }
}

/// A name that no shader declares is in no enum. The other way around, `bindings` refuses a variable that is not in the enum.
#[test]
fn every_variable_and_constant_is_declared_by_a_shader() {
    let declared: Vec<Bound> =
        permutations().iter().flat_map(|row| bound(row, types(row)[0])).map(|b| b.bound).collect();
    for var in Var::ALL {
        assert!(declared.contains(&Bound::Var(*var)), "no shader binds {}", var.name());
    }
    for constant in Constant::ALL {
        let line = format!("\nconst {}: ", constant.name());
        assert!(PIECES.iter().any(|(_, text)| text.contains(&line)), "no shader declares {}", constant.name());
    }
}

#[test]
fn parameters_lie_where_the_shader_expects_them() {
    for row in permutations() {
        let (_, module) = parse(row, types(row)[0]);
        let params = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params"));
        let Some((_, naga::Type { inner: naga::TypeInner::Struct { members, span }, .. })) = params else {
            panic!("{}: no struct Params", row.kernel);
        };
        let shader: Vec<(String, usize)> =
            members.iter().map(|m| (m.name.clone().unwrap_or_default(), m.offset as usize)).collect();
        let rust = mirror(row.kernel).expect("permutations are of kernels");
        let fields: Vec<(String, usize)> = rust.fields.iter().map(|(name, at)| (name.to_string(), *at)).collect();
        assert_eq!(fields, shader, "{}", row.kernel);
        assert_eq!(rust.size, *span as usize, "{}", row.kernel);
    }
}

/// Numbers that the plan owns and the shaders repeat.
#[test]
fn the_plans_numbers_are_the_shaders() {
    let constant = |piece: &str, name: &str| {
        let (_, text) = PIECES.iter().find(|(n, _)| *n == piece).expect(piece);
        let (_, after) = text.split_once(&format!("\nconst {name}: u32 = ")).expect(name);
        let value = after.split(['u', ';']).next().expect("a value");
        value.strip_prefix("0x").map_or_else(|| value.parse(), |hex| u32::from_str_radix(hex, 16)).expect(value)
    };
    assert_eq!(constant("ops/embed", "NEXT_TOKEN"), NEXT_TOKEN);
    assert_eq!(constant("ops/embed", "NOT_FINITE"), NOT_FINITE);
    assert_eq!(constant("ops/argmax", "NOT_FINITE"), NOT_FINITE);
    assert_eq!(4 * constant("attention/kv_store_q8_0", "BLOCK"), KV_BLOCK, "4 elements an invocation");
    assert_eq!(KV_UNIT * constant("attention/attention_query", "UNITS"), MAX_HEAD_DIM);
    assert!(KV_UNIT * constant("attention/attention", "THREADS") >= MAX_HEAD_DIM, "an invocation per unit");
}

#[test]
fn step_rows_lie_where_the_shader_expects_them() {
    let row = permutations().iter().find(|row| row.kernel == CoreKind::Gather.into()).expect("gather reads the step");
    let (_, module) = parse(row, None);
    let find = |wanted: &str| match module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(wanted)) {
        Some((_, naga::Type { inner: naga::TypeInner::Struct { members, span }, .. })) => (members.clone(), *span),
        _ => panic!("no struct {wanted}"),
    };
    let (members, span) = find("StepRow");
    assert_eq!(span as usize, size_of::<pronk::plan::StepRow>());
    let names: Vec<&str> = members.iter().filter_map(|m| m.name.as_deref()).collect();
    assert_eq!(names[..6], ["token", "position", "slot", "kv_start", "kv_len", "output"]);
    let (members, _) = find("Step");
    let rows = members.iter().find(|m| m.name.as_deref() == Some("rows")).expect("rows");
    assert_eq!(rows.offset as usize, size_of::<pronk::plan::StepRow>(), "the header is as long as a row");
}
