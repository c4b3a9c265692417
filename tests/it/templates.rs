//! Chat templates: the golden renderings of real ones, and hostile ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use pronk::text::{ChatTemplate, Message, NamedTemplate, TokenType, Vocab};
use serde_json::{Map, Value, json};

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/templates").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// Renders a conversation of one user message; on failure, the message.
fn render(source: &str) -> Result<String, String> {
    let template = ChatTemplate::new(source, "<s>", "</s>").map_err(|e| e.to_string())?;
    template.render(&[Message::new("user", "Hi")], true, &Map::new()).map_err(|e| e.to_string())
}

#[derive(serde::Deserialize)]
struct Turn {
    role: String,
    content: String,
}

/// By template, then by conversation and whether the assistant's turn is begun.
type Rendered = BTreeMap<String, BTreeMap<String, String>>;

#[derive(serde::Deserialize)]
struct Golden {
    conversations: BTreeMap<String, Vec<Turn>>,
    variables: Map<String, Value>,
    tools: Value,
    rendered: Rendered,
    rendered_with_tools: Rendered,
}

impl Golden {
    fn read() -> Golden {
        serde_json::from_str(&data("rendered.json")).unwrap()
    }

    /// Renders the conversations of `rendered` with the variables of `extra`, and compares. Returns their number.
    fn compare(&self, rendered: &Rendered, extra: Value) -> usize {
        let variable = |name: &str| self.variables[name].as_str().unwrap();
        let mut extra = object(extra);
        extra.insert("date_string".to_string(), variable("date_string").into());
        for (file, cases) in rendered {
            let template = ChatTemplate::new(&data(file), variable("bos_token"), variable("eos_token")).unwrap();
            for (case, expected) in cases {
                let (conversation, gen_prompt) = case.split_once("/gen=").unwrap();
                let turns = self.conversations[conversation].iter();
                let messages: Vec<Message> = turns.map(|turn| Message::new(&turn.role, &turn.content)).collect();
                let rendered = template.render(&messages, gen_prompt == "True", &extra).unwrap();
                assert_eq!(&rendered, expected, "{file} {case}");
            }
        }
        rendered.values().map(BTreeMap::len).sum()
    }
}

#[test]
fn golden_renderings() {
    let golden = Golden::read();
    assert_eq!(golden.compare(&golden.rendered, json!({})), 30);
}

/// Qwen2.5's template has a branch for tools: without the variable, with null, with an empty list, and with a tool.
#[test]
fn golden_renderings_with_tools() {
    let golden = Golden::read();
    let qwen = |(file, _): &(&String, _)| file.starts_with("Qwen");
    let without: Rendered = golden.rendered.iter().filter(qwen).map(|(f, c)| (f.clone(), c.clone())).collect();
    for tools in [json!(null), json!([])] {
        assert_eq!(golden.compare(&without, json!({"tools": tools})), 6);
    }
    assert_eq!(golden.compare(&golden.rendered_with_tools, json!({"tools": golden.tools})), 8);
}

#[test]
fn a_template_needs_no_date() {
    let source = data("meta-llama-Llama-3.2-3B-Instruct.jinja");
    let template = ChatTemplate::new(&source, "<s>", "</s>").unwrap();
    let rendered = template.render(&[Message::new("user", "Hi")], true, &Map::new()).unwrap();
    let date = rendered.split_once("Today Date: ").unwrap().1.split_once('\n').unwrap().0;
    jiff::civil::Date::strptime("%d %b %Y", date).unwrap();
}

#[test]
fn long_conversations_fit_the_budget() {
    let template = ChatTemplate::new(&data("meta-llama-Llama-3.1-8B-Instruct.jinja"), "<s>", "</s>").unwrap();
    let roles = ["user", "assistant"].into_iter().cycle();
    let short: Vec<Message> = roles.take(5000).map(|role| Message::new(role, "word ".repeat(100))).collect();
    assert!(template.render(&short, true, &Map::new()).unwrap().len() > 5000 * 500);
    let long = [Message::new("user", "x".repeat(8 << 20))];
    assert!(template.render(&long, true, &Map::new()).unwrap().len() > 8 << 20);
}

fn vocab() -> Vocab {
    Vocab {
        model: "gpt2".into(),
        pre: None,
        tokens: ["a", "<s>", "</s>"].map(String::from).into(),
        not_utf8: Default::default(),
        scores: vec![],
        types: vec![TokenType::Normal, TokenType::Control, TokenType::Control],
        merges: vec![],
        bos: Some(1),
        eos: Some(2),
        eot: None,
        eom: None,
        unk: None,
        add_bos: None,
        add_space_prefix: None,
        chat_template: Some("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}".into()),
    }
}

#[test]
fn a_vocabulary_brings_its_template() {
    let template = ChatTemplate::from_vocab(&vocab()).unwrap();
    assert_eq!(template.render(&[Message::new("user", "Hi")], true, &Map::new()).unwrap(), "<s>Hi</s>");
    let none = Vocab { chat_template: None, ..vocab() };
    assert_eq!(
        ChatTemplate::from_vocab(&none).unwrap_err().to_string(),
        "key tokenizer.chat_template: is missing, the file does not say how to chat"
    );
}

#[test]
fn templates_speak_python() {
    let cases = [
        ("{% if true %}\n  x\n  {% endif %}\ny\n", "  x\ny"), // trimmed blocks, no last newline
        ("{{ ' a '.strip() }}|{{ 'a,b'.split(',')[1] }}|{{ 'aa'.replace('a', 'bc') }}", "a|b|bcbc"),
        ("{{ ', '.join(['a', 'b']) }}|{{ '{}-{}'.format(1, 'x') }}", "a, b|1-x"),
        ("{{ {'b': [1, 'ü<'], 'a': none} | tojson }}", r#"{"b": [1, "ü<"], "a": null}"#),
        ("{{ {'b': [1], 'a': {}} | tojson(indent=4) }}", "{\n    \"b\": [\n        1\n    ],\n    \"a\": {}\n}"),
        ("{{ messages[0] | tojson(ensure_ascii=false) }}", r#"{"role": "user", "content": "Hi"}"#),
        ("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("{{ undefined_name }}|{{ messages[0].tool_calls is defined }}", "|False"),
        ("{{ bos_token + messages[0]['content'] + eos_token }}", "<s>Hi</s>"),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn failures_are_one_line_that_names_the_place() {
    let cases = [
        ("\n{{ messages | nofilter }}", "chat template: line 2: unknown filter: filter nofilter is unknown"),
        ("{% if %}", "chat template: line 1: syntax error: unexpected end of block"),
        (
            "{{ raise_exception('roles\nmust alternate') }}",
            "chat template: line 1: invalid operation: roles\\nmust alternate",
        ),
        ("{{ strftime_now('%') }}", "chat template: line 1: invalid operation: strftime_now: "),
        ("{{ 1 | tojson(indent=1000) }}", "chat template: line 1: invalid operation: tojson: indent 1000, at most 16"),
        ("{% include '/etc/passwd' %}", "chat template: line 1: syntax error: unknown statement include"),
    ];
    for (source, expected) in cases {
        let error = render(source).unwrap_err();
        assert!(error.starts_with(expected) && !error.contains('\n') && error.len() < 400, "{source}: {error}");
    }
    let long = render("{{ raise_exception('x' * 5000) }}").unwrap_err();
    assert!(long.len() < 400, "{long}");
}

#[test]
fn hostile_templates_are_stopped() {
    let long = "{% set a = 'x' * 100000 %}";
    let nest = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}";
    let (work, depth) = ("does more work than a conversation needs", "invalid operation: recursion limit exceeded");
    let cases = [
        ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}".to_string(), work),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_string(), depth),
        ("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_string(), depth),
        ("{% import 'chat' as 1 %}".to_string(), "syntax error: unknown statement import"),
        (format!("{{{{ {}1{} }}}}", "(".repeat(30_000), ")".repeat(30_000)), "syntax error"),
        (nest.to_string(), work),
        ("{{ 'x' * 50000000 }}".to_string(), work),
        (
            "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
                .to_string(),
            work,
        ),
        (format!("{long}{{{{ a.replace('x', a) }}}}"), work),
        (format!("{long}{{{{ a | replace('x', a) }}}}"), work),
        (format!("{long}{{{{ a.join(range(100000)) }}}}"), work),
        (format!("{long}{{{{ ('{{}}' * 100000).format(a) }}}}"), work),
        ("{{ '{:>4000000000}'.format(1) }}".to_string(), "invalid operation"),
        ("{{ '%4000000000d' | format(1) }}".to_string(), work),
        ("{{ 'a' | indent(4000000000, true) }}".to_string(), work),
        (format!("{long}{{{{ [a] * 1000000 }}}}"), "makes more than 1048"),
        (format!("{long}{{{{ [a] * 1000000 | tojson }}}}"), "invalid operation"),
        (format!("{long}{{{{ ([a] * 1000000) | tojson }}}}"), "tojson: more than 1048576 bytes"),
        (format!("{long}{{% for i in range(1000) %}}{{{{ a }}}}{{% endfor %}}"), "makes more than 1048"),
    ];
    for (source, expected) in cases {
        let start = Instant::now();
        let error = render(&source).unwrap_err();
        let source: String = source.chars().take(120).collect();
        assert!(error.contains(expected), "{source}: {error}");
        assert!(start.elapsed() < Duration::from_secs(4), "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn a_namespace_is_a_variable_with_attributes_and_nothing_else() {
    let allowed = [
        ("{% set ns = namespace(a=1) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}", "4"),
        ("{% set ns = namespace() %}{% set ns.a %}x{% endset %}{{ ns['a'] ~ ns.a | upper }}", "xX"),
        ("{% set ns = namespace(l=[]) %}{{ ns is defined }}{{ ns.a is defined }}{{ ns.l | length }}", "TrueFalse0"),
        ("{% set ns = namespace(a=1) %}{% macro f() %}{{ ns.a }}{% endmacro %}{{ f() }}", "1"),
        ("{% with ns = namespace(a=1) %}{% set ns.b = {'c': ns.a} %}{{ ns.b.c if ns.b else 0 }}{% endwith %}", "1"),
    ];
    for (source, expected) in allowed {
        assert_eq!(render(source).as_deref(), Ok(expected), "{source}");
    }
    // Each of these could make a namespace a member of itself.
    let two = "{% set a = namespace() %}{% set b = namespace() %}";
    let refused = [
        "{% set a.x = a %}{% set b.x = b %}{{ a == b }}",
        "{% set a.x = b %}{% set b.x = a %}{{ [a, b] | sort }}",
        "{% set a.x = [b.x, a] %}",
        "{% set a.x = {'a': a} %}",
        "{% set a.x = (a, 1) %}",
        "{% set c = a %}{% set c.x = c %}",
        "{% set c = a or b %}",
        "{% set c = 1 if b.x else a %}",
        "{% set a.x = a if b.x else 1 %}",
        "{% set a.x = namespace() %}{% set a.x.y = a.x %}",
        "{% set make = namespace %}{% set c = make() %}",
        "{% set c = [namespace()] %}",
        "{% set c = namespace(a=namespace()) %}",
        "{% set c = namespace(a=b) %}",
        "{% set c = namespace() if b.x else 1 %}",
        "{% set c, d = namespace(), namespace() %}",
        "{% for c in [a, b] %}{% set c.x = c %}{% endfor %}",
        "{% for c in a %}{% endfor %}",
        "{% macro f(c) %}{% set c.x = c %}{% endmacro %}{{ f(a) }}",
        "{% macro f(c=a) %}{% set c.x = c %}{% endmacro %}{{ f() }}",
        "{% call(c) f(a) %}{% endcall %}",
        "{% with c = a %}{% set c.x = c %}{% endwith %}",
        "{{ {a: 1} }}",
        "{{ a }}",
        "{{ a == b }}",
        "{{ a | tojson }}",
        "{{ a.x.append(a) }}",
        "{{ b[a] }}",
        "{{ loop(a) }}",
        // Macros may have one, and are held to the same.
        "{% macro f(c) %}{% set b.x = c %}{% endmacro %}{{ f(a) }}",
        "{% macro f(x, c) %}{{ [c] }}{% endmacro %}{{ f(1, c=a) }}",
        "{% macro f(c) %}{{ g(c) }}{% endmacro %}{% macro g(d) %}{% set d.x = d %}{% endmacro %}{{ f(a) }}",
        "{% macro f(c) %}{% endmacro %}{{ f(*[a]) }}",
        "{% macro f(c) %}{% endmacro %}{% set f = dict %}{{ f(a) }}",
        "{% macro f(c) %}{% endmacro %}{% for f in [dict] %}{{ f(a) }}{% endfor %}",
        "{% macro dict(c) %}{% endmacro %}{% set a.x = dict(a) %}",
        "{% macro f() %}{{ caller(a) }}{% endmacro %}{% call(c) f() %}{% set c.x = c %}{% endcall %}",
        "{% set c = cycler(a) %}",
    ];
    for source in refused {
        let error = render(&format!("{two}{source}")).unwrap_err();
        let problem = ": namespaces may only be set as variables and used by their attributes";
        assert!(error.starts_with("chat template: line 1: ") && error.ends_with(problem), "{source}: {error}");
    }
}

#[test]
fn deeply_nested_values_do_not_overflow_the_stack() {
    // A long conversation raises the work limit enough for this depth.
    let messages = [Message::new("user", "x".repeat(8 << 20))];
    let nest = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}";
    let compared = "{{ ns.x == [ns.x] }}{{ [[ns.x], ns.x] | sort | length }}{{ {ns.x: 1} | length }}{{ [ns.x] | unique | length }}";
    for (show, len) in [("", 0), ("{{ ns.x }}", 2 * 90001), (compared, "False211".len())] {
        let template = ChatTemplate::new(&format!("{nest}{show}"), "<s>", "</s>").unwrap();
        assert_eq!(template.render(&messages, true, &Map::new()).map(|text| text.len()), Ok(len), "{show}");
    }
}

/// A list that has another twice, again and again: small in memory, and longer than any machine holds when it is walked through.
#[test]
fn a_value_of_too_many_parts_is_refused() {
    let join = "{% set ns = namespace(x=['ab']) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}";
    let levels: Vec<String> = (1..41).map(|i| format!("{{% set a{i} = [a{}, a{}] %}}", i - 1, i - 1)).collect();
    let nested = format!("{{% set a0 = [1, 1] %}}{}{{{{ a40 | string | length }}}}", levels.concat());
    for source in [join, &nested] {
        let start = Instant::now();
        let error = render(source).unwrap_err();
        assert_eq!(error, "chat template: line 1: invalid operation: a value with more than 262152 parts", "{source}");
        assert!(start.elapsed() < Duration::from_secs(4), "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn a_template_that_never_ends_is_abandoned() {
    let list = "{% set ns = namespace(x=['ab']) %}{% for i in range(17) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
    let endless = format!("{list}{{% for i in range(9000) %}}{{% set b = ns.x %}}{{% endfor %}}");
    assert_eq!(render(&endless).unwrap_err(), "chat template: takes more than 5 s");
    #[cfg(target_os = "linux")]
    ends_within(Duration::from_secs(60));
}

/// Waits for a moment in which no thread renders a template; those of other tests end by themselves.
#[cfg(target_os = "linux")]
fn ends_within(limit: Duration) {
    let start = Instant::now();
    let renders = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "chat template")
    };
    while std::fs::read_dir("/proc/self/task").unwrap().flatten().any(|task| renders(&task)) {
        assert!(start.elapsed() < limit, "a thread still renders");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_long_message_may_be_looked_at_character_by_character() {
    let message = [Message::new("user", "a word, \n".repeat(50_000))];
    let loops = "{% for c in messages[0].content %}{% if c == 'w' %}{{ c }}{% endif %}{% endfor %}";
    let lines = "{% for line in messages[0].content.split('\n') %}{{ line | trim | replace('word', 'x') }}{% endfor %}";
    let passes =
        "{% set m = messages[0].content %}{{ (m | trim | upper | lower | replace(',', ';')).split(';') | length }}";
    for (source, len) in [(loops, 50_000), (lines, 50_000 * 4), (passes, 5)] {
        let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
        assert_eq!(template.render(&message, true, &Map::new()).map(|text| text.len()), Ok(len), "{source}");
    }
}

#[test]
fn sources_of_the_limit_are_parsed_and_freed_whatever_their_shape() {
    const LIMIT: usize = 64 << 10;
    let shapes = [
        ("{{ x", "|e", " }}"),
        ("{{ ", "-", "1 }}"),
        ("{% if x %}", "{%elif x%}", "{% endif %}"),
        ("{{ x", ".a", " }}"),
        ("{{ x", "[0]", " }}"),
        ("{{ x", "()", " }}"),
        ("{{ ", "1 if x else ", "1 }}"),
    ];
    for (begin, repeated, end) in shapes {
        let n = (LIMIT - begin.len() - end.len()) / repeated.len();
        let source = format!("{begin}{}{end}", repeated.repeat(n));
        // Some of them are refused. The program must go on.
        if let Err(error) = ChatTemplate::new(&source, "", "") {
            assert!(error.to_string().contains("syntax error"), "{repeated}: {error}");
        }
    }
    let error = ChatTemplate::new(&"x".repeat(LIMIT + 1), "", "").unwrap_err();
    assert_eq!(error.to_string(), "chat template: 65537 bytes, at most 65536");
    assert!(ChatTemplate::new(&"x".repeat(LIMIT), "", "").is_ok());
}

/// A source text and what transformers renders it to; None where it refuses.
#[derive(serde::Deserialize)]
struct Snippet {
    source: String,
    expected: Option<String>,
}

#[derive(serde::Deserialize)]
struct Snippets {
    variables: Map<String, Value>,
    snippets: Vec<Snippet>,
}

/// Snippets of Jinja, each with the text that Hugging Face transformers makes of it.
#[test]
fn snippets_render_as_in_transformers() {
    let Snippets { mut variables, snippets } = serde_json::from_str(&data("snippets.json")).unwrap();
    let turns: Vec<Turn> = serde_json::from_value(variables.remove("messages").unwrap()).unwrap();
    let messages: Vec<Message> = turns.iter().map(|turn| Message::new(&turn.role, &turn.content)).collect();
    // What render() provides itself.
    for name in ["tools", "documents", "bos_token", "eos_token", "add_generation_prompt"] {
        variables.remove(name).unwrap();
    }
    assert!(variables.is_empty() && snippets.len() >= 150);
    let mut wrong = vec![];
    for Snippet { source, expected } in &snippets {
        let rendered = ChatTemplate::new(source, "<s>", "</s>").and_then(|t| t.render(&messages, true, &variables));
        if rendered.as_ref().ok() != expected.as_ref() {
            wrong.push(format!("{source:?}\n    expected {expected:?}\n    rendered {rendered:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), snippets.len(), wrong.join("\n"));
}

/// What each of the named templates makes of a system message, and of a question, a reply and another question.
#[test]
fn named_templates_render_as_their_names_say() {
    let messages = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")]
        .map(|(r, c)| Message::new(r, c));
    let expected = [
        (
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "command-r",
            "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        ),
        (
            "deepseek",
            "<s>Be brief.### Instruction:\nHi\n### Response:\nHello\n<|EOT|>\n### Instruction:\nBye\n### Response:\n",
        ),
        ("deepseek2", "<s>Be brief.\n\nUser: Hi\n\nAssistant: Hello</s>User: Bye\n\nAssistant:"),
        ("deepseek3", "<s>Be brief.\n\n<｜User｜>Hi<｜Assistant｜>Hello</s><｜User｜>Bye<｜Assistant｜>"),
        (
            "gemma",
            "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
        ),
        ("llama2", "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Bye [/INST]"),
        (
            "llama3",
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("mistral-v1", "<s> [INST] Be brief.\n\nHi [/INST] Hello</s> [INST] Bye [/INST]"),
        ("mistral-v3", "<s>[INST] Be brief.\n\nHi[/INST] Hello</s>[INST] Bye[/INST]"),
        ("mistral-v3-tekken", "<s>[INST]Be brief.\n\nHi[/INST]Hello</s>[INST]Bye[/INST]"),
        ("mistral-v7", "<s>[SYSTEM_PROMPT] Be brief.[/SYSTEM_PROMPT][INST] Hi[/INST] Hello</s>[INST] Bye[/INST]"),
        (
            "phi3",
            "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n",
        ),
        ("vicuna", "<s>Be brief.\n\nUSER: Hi\nASSISTANT: Hello</s>\nUSER: Bye\nASSISTANT:"),
        (
            "zephyr",
            "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
        ),
    ];
    let names: Vec<&str> = NamedTemplate::all().map(NamedTemplate::name).collect();
    assert_eq!(names, expected.map(|(name, _)| name));
    for (template, (name, expected)) in NamedTemplate::all().zip(expected) {
        assert_eq!(template.name(), name); // its row is its own
        let template = ChatTemplate::for_vocab(template.source(), &vocab()).unwrap();
        assert_eq!(template.render(&messages, true, &Map::new()).as_deref(), Ok(expected), "{name}");
    }
}
