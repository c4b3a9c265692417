//! What is checked in under kernels/ptx belongs to the kernels' sources and to the host's mirrors of their parameters. Needs
//! neither a compiler nor a GPU: kernels/build.py compiles again and compares.

use pronk::backend::cuda::{
    Arch, Cubins, Entry, FLASH_HEAD_DIMS, FUSED_TYPES, MACHINES, MIXED_TYPES, MMA_COLUMNS, MMA_HEAD_DIMS, cubins,
    layouts, params,
};
use pronk::plan::{DECODE_TOKENS, KV_BLOCK, MAX_HEAD_DIM, NEXT_TOKEN, NOT_FINITE, OpKind, StepRow};
use pronk::quant;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;
use std::path::{Path, PathBuf};

/// Architecture of the PTX and NVRTC's name for it.
const ARCHS: [(&str, &str); 2] = [("sm_80", "compute_80"), ("sm_90", "compute_90")];

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names in a folder.
fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap())
}

/// Each file of the folders of `kernels/` that has sources, relative to `kernels/`.
fn files() -> Vec<String> {
    let folders = ["attention", "formats", "ops", "products", "shared"];
    let in_folder = |folder: &str| names(&kernels().join(folder)).map(|n| format!("{folder}/{n}")).collect::<Vec<_>>();
    folders.into_iter().flat_map(in_folder).collect()
}

/// Each kernel source, relative to `kernels/`, by its stem: `ops/add.cu` by `add`.
fn stems() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for file in files() {
        if let Some((stem, "cu")) = file.rsplit('/').next().unwrap().split_once('.') {
            assert_eq!(found.insert(stem.to_string(), file.clone()), None, "{stem} is in two folders");
        }
    }
    found
}

fn ptx(stem: &str, arch: &str) -> String {
    text(&kernels().join("ptx").join(format!("{stem}.{arch}.ptx")))
}

/// Entries of a PTX file and the bytes of their one parameter.
fn entries(ptx: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for piece in ptx.split(".visible .entry ").skip(1) {
        let name = piece.split('(').next().unwrap().trim();
        let (_, param) =
            piece.split_once(&format!("{name}_param_0[")).unwrap_or_else(|| panic!("{name}: no parameter"));
        found.insert(name.to_string(), param.split(']').next().unwrap().parse().unwrap());
    }
    found
}

/// Names of the weight types of a table in types.cuh.
pub fn weight_types(table: &str) -> Vec<String> {
    let types = text(&kernels().join("formats/types.cuh"));
    let (_, table) = types.split_once(&format!("#define {table}(X)")).unwrap();
    let rows = table.lines().take_while(|line| !line.is_empty()).flat_map(|line| line.split_whitespace());
    // A row `X(q4_0, Q4_0)`, or another table that belongs to this one: `COMMON_TYPES(X)`.
    let names = |word: &str| match (word.strip_prefix("X("), word.strip_suffix("(X)")) {
        (Some(row), _) => vec![row.trim_end_matches(',').to_string()],
        (_, Some(table)) => weight_types(table),
        _ => vec![],
    };
    rows.flat_map(names).collect()
}

#[test]
fn every_operation_has_its_source_and_its_entries() {
    let sources = stems();
    for (arch, _) in ARCHS {
        let end = format!(".{arch}.ptx");
        let built = names(&kernels().join("ptx")).filter_map(|n| n.strip_suffix(&end).map(str::to_string));
        assert_eq!(built.collect::<BTreeSet<_>>(), sources.keys().cloned().collect(), "{arch}");
    }
    let [fused, types, quantized] = ["FUSED_TYPES", "WEIGHT_TYPES", "QUANTIZED_TYPES"].map(weight_types);
    let known: BTreeSet<String> = quant::FORMATS.iter().map(|f| f.ty.name().to_lowercase()).collect();
    assert_eq!(types.iter().cloned().collect::<BTreeSet<_>>(), known, "types that the CPU decodes");
    for stem in OpKind::all().map(OpKind::stem) {
        assert!(sources.contains_key(stem), "{stem}: no source");
        let found: Vec<_> = ARCHS.map(|(arch, _)| entries(&ptx(stem, arch))).into_iter().collect();
        assert_eq!(found[0], found[1], "{stem}: the architectures differ");
        let wanted: Vec<String> = match stem {
            "embed" => types.iter().map(|ty| format!("embed_{ty}")).collect(),
            stem if sources[stem].starts_with("products/") => {
                let entries = |types: &[String], forms: &[&str]| -> Vec<String> {
                    types.iter().flat_map(|ty| forms.iter().map(move |form| format!("{stem}_{ty}_{form}"))).collect()
                };
                let exact = if stem == "mat_mul" { &types } else { &fused };
                [entries(exact, &["t1", "t4", "tiled"]), entries(&quantized, &["stream", "rows"])].concat()
            }
            "attention" => {
                let splits = ["f16", "f32"].into_iter().flat_map(|ty| [1, 2, 4, 8].map(|h| format!("split_{ty}_h{h}")));
                let flash = FLASH_HEAD_DIMS.map(|d| format!("flash_d{d}"));
                let source = text(&kernels().join("attention/attention_mma.cuh"));
                assert!(source.contains(&format!("constexpr u32 MMA_COLUMNS = {MMA_COLUMNS};")), "heads of a block");
                let mma = MMA_HEAD_DIMS.map(|d| format!("mma_f16_d{d}"));
                splits.chain(mma).chain(flash).map(|kind| format!("attention_{kind}")).collect()
            }
            stem => vec![stem.to_string()],
        };
        for entry in wanted {
            assert!(found[0].contains_key(&entry), "{stem}: no entry {entry}");
        }
    }
}

#[test]
fn every_kernel_begins_with_what_it_computes() {
    for source in stems().into_values() {
        let text = text(&kernels().join(&source));
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("//")).collect();
        for part in ["// Grid     ", "// Layout   ", "// Traffic  "] {
            assert!(header.iter().any(|line| line.starts_with(part)), "{source}: no line {part}");
        }
    }
}

/// A supported type without its kernel, or a name that is spelled in two ways, is found here and not when a model is loaded.
#[test]
fn the_host_asks_for_the_entries_that_there_are_and_for_no_others() {
    let asked: Vec<(&str, String)> = Entry::all().into_iter().map(Entry::symbol).collect();
    let wanted: BTreeSet<(String, String)> =
        asked.iter().map(|(stem, name)| (stem.to_string(), name.clone())).collect();
    assert_eq!(wanted.len(), asked.len(), "each is listed once");
    for (arch, _) in ARCHS {
        let in_stem = |stem: String| entries(&ptx(&stem, arch)).into_keys().map(move |name| (stem.clone(), name));
        let found: BTreeSet<(String, String)> = stems().into_keys().flat_map(in_stem).collect();
        let missing: Vec<_> = wanted.difference(&found).collect();
        let idle: Vec<_> = found.difference(&wanted).collect();
        assert!(missing.is_empty() && idle.is_empty(), "{arch}: missing {missing:?}, never asked for {idle:?}");
    }
}

#[test]
fn the_host_fuses_the_types_that_the_kernels_list() {
    let name = |ty: quant::GgmlType| ty.name().to_lowercase();
    assert_eq!(FUSED_TYPES.map(name).to_vec(), weight_types("FUSED_TYPES"));
    let source = text(&kernels().join("products/norm_qkv_rope_store.cu"));
    let rows = source.lines().filter(|line| !line.starts_with("#define")).flat_map(|line| line.split("MIXED(").skip(1));
    let types = rows.map(|row| row.split(',').next().unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(types, MIXED_TYPES.map(|(first, last)| format!("{}_{}", name(first), name(last))).to_vec());
}

/// A source and every file of ours that it includes, in order of first mention.
fn sources(source: &str) -> Vec<String> {
    let mut found = vec![];
    let mut queue = std::collections::VecDeque::from([source.to_string()]);
    while let Some(name) = queue.pop_front() {
        if !found.contains(&name) {
            let source = text(&kernels().join(&name));
            let included = |l: &str| Some(l.strip_prefix("#include \"")?.strip_suffix('"')?.to_string());
            queue.extend(source.lines().filter_map(included));
            found.push(name);
        }
    }
    found
}

#[test]
fn ptx_is_made_of_these_sources() {
    let mut stale = vec![];
    for (stem, source) in stems() {
        for (arch, option) in ARCHS {
            let mut sha = Sha256::new();
            let mut part = |bytes: &[u8]| {
                sha.update(bytes);
                sha.update(b"\n");
            };
            part(text(&kernels().join("toolchain.txt")).as_bytes());
            part(format!("--gpu-architecture={option}").as_bytes());
            for name in sources(&source) {
                part(name.as_bytes());
                part(text(&kernels().join(&name)).as_bytes());
            }
            let hash: String = sha.finalize().iter().map(|b| format!("{b:02x}")).collect();
            let ptx = ptx(&stem, arch);
            if ptx.lines().next() != Some(&format!("// pronk kernels: sha256 {hash}")) {
                stale.push(format!("{stem}.{arch}.ptx"));
            }
        }
    }
    assert!(stale.is_empty(), "not built from the current sources (kernels/build.py build): {}", stale.join(" "));
}

/// A struct: fields with the Rust types that mirror theirs, in order.
type Fields = Vec<(String, String)>;

/// The structs of a source that `wanted` accepts by name.
fn c_structs(source: &str, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Fields> {
    let mut structs = BTreeMap::new();
    let mut current: Option<(String, Fields)> = None;
    for line in source.lines() {
        let line = line.split("//").next().unwrap().trim();
        if let Some(name) = line.strip_prefix("struct ") {
            let name = name.trim_end_matches('{').trim().to_string();
            current = wanted(&name).then_some((name, vec![]));
        } else if line == "};" {
            structs.extend(current.take());
        } else if let (Some((_, fields)), Some(field)) = (&mut current, line.strip_suffix(';')) {
            let (ty, name) = field.rsplit_once([' ', '*']).unwrap();
            let ty = if field.contains('*') { "DevicePtr" } else { ty.trim() };
            let ty = if ty == "float" { "f32" } else { ty };
            match name.split_once('[') {
                Some((name, n)) => fields.push((name.into(), format!("[{ty}; {}]", n.trim_end_matches(']')))),
                None => fields.push((name.into(), ty.into())),
            }
        }
    }
    structs
}

/// The structs that the host passes: those of params.h, and `<Op>Params` of every other source.
fn all_structs() -> BTreeMap<String, Fields> {
    let mut all = c_structs(&text(&kernels().join("shared/params.h")), |_| true);
    for file in files().iter().filter(|file| *file != "shared/params.h") {
        for (name, fields) in c_structs(&text(&kernels().join(file)), |name| name.ends_with("Params")) {
            assert!(all.insert(name.clone(), fields).is_none(), "{file}: a second struct {name}");
        }
    }
    all
}

/// Size and alignment that CUDA C++ gives a type.
fn c_size(ty: &str, structs: &BTreeMap<String, Fields>) -> (usize, usize) {
    match ty {
        "u32" | "f32" => (4, 4),
        "u64" | "DevicePtr" => (8, 8),
        _ if ty.starts_with('[') => {
            let (element, n) = ty[1..ty.len() - 1].split_once("; ").unwrap();
            let (size, align) = c_size(element, structs);
            (n.parse::<usize>().unwrap() * size, align)
        }
        _ => {
            let (offsets, align) = c_offsets(&structs[ty], structs);
            (offsets.last().unwrap().next_multiple_of(align), align)
        }
    }
}

/// Offset of each field, and where the last one ends; the struct's alignment.
fn c_offsets(fields: &Fields, structs: &BTreeMap<String, Fields>) -> (Vec<usize>, usize) {
    let (mut offsets, mut end, mut most) = (vec![], 0usize, 1);
    for (_, ty) in fields {
        let (size, align) = c_size(ty, structs);
        end = end.next_multiple_of(align);
        offsets.push(end);
        end += size;
        most = most.max(align);
    }
    offsets.push(end);
    (offsets, most)
}

#[test]
fn mirrors_are_exact() {
    let structs = all_structs();
    let step_row: &[(&str, &str, usize)] = &[
        ("token", "u32", offset_of!(StepRow, token)),
        ("position", "u32", offset_of!(StepRow, position)),
        ("slot", "u32", offset_of!(StepRow, slot)),
        ("kv_start", "u32", offset_of!(StepRow, kv_start)),
        ("kv_len", "u32", offset_of!(StepRow, kv_len)),
        ("output", "u32", offset_of!(StepRow, output)),
        ("reserved", "[u32; 2]", offset_of!(StepRow, reserved)),
    ];
    let mut mirrored = BTreeSet::from(["StepRow"]);
    let check = |name: &str, size: usize, mirror: &[(&str, &str, usize)]| {
        let fields = structs.get(name).unwrap_or_else(|| panic!("{name} is in no source"));
        let (offsets, _) = c_offsets(fields, &structs);
        let wanted: Vec<_> = fields.iter().zip(&offsets).map(|((n, ty), at)| (n.as_str(), ty.as_str(), *at)).collect();
        assert_eq!(mirror, wanted, "{name}");
        assert_eq!(size, c_size(name, &structs).0, "{name}");
    };
    check("StepRow", size_of::<StepRow>(), step_row);
    for layout in all_layouts() {
        check(layout.name, layout.size, layout.fields);
        assert!(mirrored.insert(layout.name), "{} is mirrored once", layout.name);
    }
    assert_eq!(mirrored, structs.keys().map(String::as_str).collect(), "structs of the kernels and their mirrors");
}

/// Every mirror: of what several kernels share, and of each operation.
fn all_layouts() -> impl Iterator<Item = params::Layout> {
    params::LAYOUTS.into_iter().chain(layouts())
}

/// `RmsNormParams` for `rms_norm`.
fn params_name(stem: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    stem.split('_').map(capital).collect::<String>() + "Params"
}

#[test]
fn parameters_have_the_size_that_the_ptx_says() {
    for stem in stems().into_keys() {
        let name = params_name(&stem);
        let layout = all_layouts().find(|l| l.name == name).unwrap_or_else(|| panic!("{stem}: no {name}"));
        for (arch, _) in ARCHS {
            for (entry, size) in entries(&ptx(&stem, arch)) {
                assert_eq!(size, layout.size, "{entry} for {arch}");
            }
        }
    }
}

#[test]
fn the_program_has_the_text_that_is_checked_in() {
    for stem in stems().into_keys() {
        for arch in Arch::ALL {
            let packed = pronk::backend::cuda::ptx(&stem, arch).expect("the program has every stem");
            assert!(packed == ptx(&stem, arch.name()), "{stem}.{}.ptx", arch.name());
        }
    }
    assert!(pronk::backend::cuda::ptx("no_such_stem", Arch::Sm80).is_err());
}

/// Machine code of another text would run other kernels than those that are checked.
#[test]
fn machine_code_is_that_of_the_ptx() {
    for stem in stems().into_keys() {
        let texts = ARCHS.map(|(arch, _)| ptx(&stem, arch)).concat();
        let hash: String = Sha256::digest(texts.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        let Cubins { ptx_hash, code } = cubins(&stem).unwrap_or_else(|| panic!("{stem}: no machine code"));
        assert!(ptx_hash == hash, "{stem}: the machine code is of another PTX (kernels/build.py build)");
        let targets: Vec<&str> = code.keys().map(String::as_str).collect();
        let wanted = MACHINES.map(|(major, minor)| format!("sm_{major}{minor}"));
        assert_eq!(targets, wanted, "{stem}");
        for (target, code) in &code {
            assert!(code.starts_with(b"\x7fELF"), "{stem} for {target}");
            for entry in entries(&ptx(&stem, "sm_80")).into_keys() {
                let section = format!("\0.text.{entry}\0");
                let found = code.windows(section.len()).any(|bytes| bytes == section.as_bytes());
                assert!(found, "{entry} is not in the machine code for {target}");
            }
        }
    }
}

/// The fused kernel stores pairs; a q8_0 cache has blocks. The host refuses that fusion; if it did not, each entry would trap.
#[test]
fn pairs_are_never_stored_in_a_q8_0_cache() {
    for (arch, _) in ARCHS {
        for stem in ["kv_store", "norm_qkv_rope_store"] {
            let text = ptx(stem, arch);
            for entry in text.split(".visible .entry ").skip(1) {
                assert!(entry.contains("\ntrap;\n"), "{} for {arch}", entry.lines().next().unwrap_or(""));
            }
        }
    }
}

#[test]
fn every_tuned_number_is_known() {
    let header = text(&kernels().join("shared/tuning.h"));
    let names: Vec<_> = header.lines().filter_map(|l| l.strip_prefix("constexpr u32 ")?.split(' ').next()).collect();
    assert_eq!(names, params::TUNED.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

/// Numbers that the plan owns and the kernels repeat.
#[test]
fn the_plans_numbers_are_the_kernels() {
    let header = text(&kernels().join("shared/plan.h"));
    let lines = header.lines().filter_map(|line| line.strip_prefix("constexpr u32 ")?.split_once(';'));
    let found: BTreeMap<&str, u32> = lines
        .filter_map(|(line, _)| line.split_once(" = "))
        .map(|(name, value)| match value.strip_prefix("0x") {
            Some(digits) => (name, u32::from_str_radix(digits, 16).unwrap()),
            None => (name, value.parse().unwrap()),
        })
        .collect();
    let owned = [
        ("KV_BLOCK", KV_BLOCK),
        ("MAX_HEAD_DIM", MAX_HEAD_DIM),
        ("NEXT_TOKEN", NEXT_TOKEN),
        ("NOT_FINITE", NOT_FINITE),
    ];
    assert_eq!(found, BTreeMap::from(owned));
    assert_eq!(DECODE_TOKENS % params::VEC_TOKENS, 0, "blocks of _t4 entries are full at the most tokens of decode");
    assert_eq!(DECODE_TOKENS, params::ROWS_TOKENS, "mat_rows takes all rows of decode at once");
}

/// Attention on tensor cores has an entry for each size of heads that the host knows, and no other.
#[test]
fn attention_is_compiled_for_the_heads_that_the_host_knows() {
    let halves = FLASH_HEAD_DIMS.iter().map(|d| format!("attention_flash_d{d}"));
    let whole = FLASH_HEAD_DIMS.iter().filter(|d| d.is_multiple_of(KV_BLOCK));
    let wanted: BTreeSet<String> = halves.chain(whole.map(|d| format!("attention_flash_q8_0_d{d}"))).collect();
    for (arch, _) in ARCHS {
        let all = entries(&ptx("attention", arch)).into_keys();
        let found: BTreeSet<String> = all.filter(|entry| entry.starts_with("attention_flash_")).collect();
        assert_eq!(found, wanted, "{arch}");
    }
}

#[test]
fn resources_of_every_entry_are_recorded_without_spills() {
    let record = text(&kernels().join("ptx/resources.md"));
    let rows: Vec<Vec<&str>> =
        record.lines().skip(6).map(|l| l.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let recorded: BTreeSet<_> = rows.iter().map(|r| (r[0].to_string(), r[1].to_string())).collect();
    let mut wanted = BTreeSet::new();
    for stem in stems().into_keys() {
        for entry in entries(&ptx(&stem, "sm_80")).into_keys() {
            wanted.extend(
                MACHINES.map(|(major, minor)| format!("sm_{major}{minor}")).map(|target| (entry.clone(), target)),
            );
        }
    }
    assert_eq!(recorded, wanted);
    for row in rows {
        assert_eq!(row[5], "0", "{} for {} spills", row[0], row[1]);
    }
}
