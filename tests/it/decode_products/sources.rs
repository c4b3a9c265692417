//! What the kernels' sources and compiled entries must be for decode products to be correct and fast.

/// The host counts steps by chunks: of 32 elements, but for Q8_0.
#[test]
fn chunks_of_quantized_types_are_as_the_host_counts_them() {
    let formats = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/formats");
    let text = |file: &str| std::fs::read_to_string(formats.join(file)).expect("a source");
    let all = ["plain.cuh", "k.cuh", "table.cuh", "codebook.cuh"].map(text).concat();
    let structs = all.split("\nstruct ").filter_map(|text| text.split_once(" : Quantized<"));
    let mut others: Vec<_> = structs.filter(|(_, body)| body.contains("CHUNK = ")).collect();
    let (name, body) = others.pop().expect("one of them");
    assert!(others.is_empty() && name == "Q8_0" && body.contains("CHUNK = 16"), "{name}, {others:?}");
    assert!(text("decode.cuh").contains("static constexpr u32 CHUNK = 32"));
}

/// `__restrict__` on an argument lets the compiler load through the read-only cache what a kernel before may still write.
#[test]
fn nothing_is_restrict() {
    let kernels = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    for folder in ["attention", "formats", "ops", "products", "shared"] {
        for file in std::fs::read_dir(kernels.join(folder)).expect("a folder") {
            let path = file.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("text");
            assert!(!text.contains("__restrict"), "{}", path.display());
        }
    }
}

/// Two blocks of 256 threads fit an SM.
#[test]
fn registers_leave_room_for_two_blocks() {
    let resources = include_str!("../../../kernels/ptx/resources.md");
    let rows = resources.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let streams: Vec<_> = rows.filter(|row| row.len() > 6 && row[1].ends_with("_stream")).collect();
    assert!(streams.len() > 200, "{}", streams.len());
    for row in streams {
        let number = |i: usize| row[i].parse::<u32>().expect("a number");
        assert!(number(3) <= 128 && number(4) <= 49152 && number(6) == 0, "{row:?}");
    }
}
