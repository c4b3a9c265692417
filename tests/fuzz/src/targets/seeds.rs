//! The seeds of each target.

use crate::common::gguf_builder::{GgufBuilder, array, id};
use pronk::gguf::GgmlType;

/// A target's name, a seed's name, the seed.
pub type Seed = (&'static str, String, Vec<u8>);

/// All seeds. They are small, since the fuzzer copies them.
pub fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = vec![];
    let ggufs = [
        ("values", values()),
        ("model", model(GgmlType::F32)),
        ("quantized", model(GgmlType::Q4_0)),
        ("words", words()),
    ];
    seeds.extend(ggufs.map(|(name, file)| ("gguf", name.to_string(), file)));
    let noise =
        |n: u32| (0..600).map(|i: u32| (i.wrapping_mul(2654435761).wrapping_add(n * 40503) >> 13) as u8).collect();
    seeds.extend((0..16).map(|n| (["tokenizer", "split"][n as usize % 2], n.to_string(), noise(n))));
    seeds.extend(TEMPLATES.iter().enumerate().map(|(i, text)| ("template", i.to_string(), text.as_bytes().to_vec())));
    seeds
}

/// A value of every type, and tensors.
fn values() -> Vec<u8> {
    GgufBuilder::default()
        .u32("general.alignment", 64)
        .str("general.name", "a name")
        .f32("float", 1e-5)
        .bool("flag", true)
        .kv("long", id::U64, &[1; 8])
        .strings("words", &["one", "", "three"])
        .i32s("ints", &[1, -2, 3])
        .f32s("floats", &[0.5; 5])
        .kv("flags", id::ARRAY, &array(id::BOOL, 3, &[0, 1, 1]))
        .aligned_to(64)
        .tensor_f32("norm.weight", &[8], &[1.0; 8])
        .tensor("a.weight", GgmlType::Q4_0, &[64, 2], &[7; 4 * 18])
        .build()
}

/// A model of one layer that runs, its matrices of type `ty`.
fn model(ty: GgmlType) -> Vec<u8> {
    let width = ty.block_size().max(4);
    let heads = (width / 4).min(4) as u32;
    let numbers = [
        ("block_count", 1),
        ("context_length", 8),
        ("embedding_length", width as u32),
        ("feed_forward_length", width as u32),
    ];
    let keys = GgufBuilder::default().str("general.architecture", "llama").u32("llama.attention.head_count", heads);
    let keys = numbers.iter().fold(keys, |keys, (name, n)| keys.u32(&format!("llama.{name}"), *n));
    let keys = keys
        .u32("llama.attention.head_count_kv", 1)
        .u32("llama.rope.dimension_count", 2)
        .f32("llama.rope.freq_base", 1e4)
        .f32("llama.rope.scaling.factor", 2.0)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
    let kv_width = width / u64::from(heads);
    let vector = |file: GgufBuilder, name: &str| {
        file.tensor_f32(&format!("{name}.weight"), &[width], &vec![1.0; width as usize])
    };
    let matrix = |file: GgufBuilder, name: &str, rows: u64| {
        let bytes = width / ty.block_size() * ty.block_bytes() * rows;
        file.tensor(&format!("{name}.weight"), ty, &[width, rows], &vec![0x3c; bytes as usize])
    };
    let file = matrix(keys, "token_embd", 3);
    let file = ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"].into_iter().fold(file, vector);
    let file = file.tensor_f32("rope_freqs.weight", &[1], &[1.0]);
    let rows = [("q", width), ("k", kv_width), ("v", kv_width), ("output", width)];
    let file = rows.iter().fold(file, |file, (name, rows)| matrix(file, &format!("blk.0.attn_{name}"), *rows));
    ["gate", "up", "down"].iter().fold(file, |file, name| matrix(file, &format!("blk.0.ffn_{name}"), width)).build()
}

/// A vocabulary.
fn words() -> Vec<u8> {
    GgufBuilder::default()
        .str("general.architecture", "llama")
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &["<unk>", "<s>", "</s>", "<0x0A>", "▁a", "b"])
        .f32s("tokenizer.ggml.scores", &[0.0, 0.0, 0.0, 0.0, -1.0, -2.0])
        .i32s("tokenizer.ggml.token_type", &[2, 3, 3, 6, 1, 1])
        .u32("tokenizer.ggml.bos_token_id", 1)
        .bool("tokenizer.ggml.add_bos_token", true)
        .str("tokenizer.chat_template", "{{ messages[0].content }}")
        .build()
}

/// Short sources for every part of the language that templates use; real ones are in `tests/data/templates`.
const TEMPLATES: [&str; 16] = [
    "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}>{% endif %}",
    "{% set ns = namespace(x=0, l=[]) %}{% for i in range(9) %}{% set ns.x = ns.x + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}",
    "{% macro f(a, b=2) %}{{ a ~ b }}{{ caller() if caller }}{% endmacro %}{{ f(1) }}{% call f(2) %}x{% endcall %}",
    "{% for a, b in {'k': [1]} | items recursive %}{{ loop.index0 }}{{ loop.last }}{{ loop(b) if b is mapping }}{% else %}-{% endfor %}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}",
    "{{ ' a '.strip() ~ 'a,b'.split(',')[1] ~ 'x'.replace('x', 'yy') ~ '{}'.format(1) ~ 'ab'.startswith('a') }}",
    "{% if messages[0].role == 'system' and messages | length > 1 %}{{ raise_exception('no') }}{% elif not x is defined %}{{ 1 if y else 2 }}{% endif %}",
    "{{ {'a': [1, 2.5, none, true, 'ü']} | tojson(indent=2) }}{{ strftime_now('%d %b %Y') }}",
    "{% set x %}{{ bos_token }}{% endset %}{% with a = x %}{{ a | upper | replace('S', '-') }}{% endwith %}",
    "{% filter upper %}a{% endfilter %}{% block b %}{{ self.b }}{% endblock %}{% raw %}{{ }}{% endraw %}{# note #}",
    "{{ [3, 1, 2] | sort | reverse | list }}{{ 'abc'[::-1] }}{{ (1, 2) in [(1, 2)] }}{{ 7 // 2 ** 3 % 4 - -1 }}",
    "{% include 'chat' %}{% import 'chat' as c %}{% from 'chat' import x %}{% extends 'chat' %}",
    "{{ [[1, 2], [3]] | sum(start=[]) | unique | batch(2) | list }}{{ 'a' | indent(4) | wordcount }}{{ dict(a=1) | dictsort }}",
    "{%- for m in messages[1:] -%}{%- if loop.first -%}{%- continue -%}{%- endif -%}{%- break -%}{%- endfor -%}",
    "{{ '%s-%05d' | format('a', 3) }}{{ 1 | string ~ 'x' * 3 }}{{ range(3) | groupby | first }}{{ {} | default('d', true) }}",
    "{% do messages.append(1) %}{{ messages.items() }}{{ 'é' | escape | safe | urlencode }}\0Some text",
];
