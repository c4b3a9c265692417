//! Texts on the command line and on the terminal: escapes, control tokens, what a terminal obeys.

use super::{file, folder, tiny};
use crate::common::chain::Chain;
use crate::common::program::{fails, finish, pronk, run, with_input};
use std::path::Path;
use std::process::Stdio;

pub(super) fn saved(chain: &Chain, folder: &Path) -> String {
    chain.save(folder).display().to_string()
}

#[test]
fn escapes_are_read_on_the_command_line_only() {
    let folder = folder();
    let model = saved(&Chain::byte_level(&["one", "\n", "two"]), folder.path());
    let ids = |more: &[&str]| run(&[&["tokenize", "-m", &model, "--ids", "--no-bos"], more].concat()).stdout;
    assert_eq!(ids(&["-p", r"a\nb"]), ids(&["-p", "a\nb"]));
    assert_eq!(ids(&["-e", "-p", r"\x61\t"]), ids(&["-p", "a\t"]));
    assert_eq!(ids(&["-p", r"a\nb", "--no-escape"]).split(' ').count(), 4);
    let text = file(&folder, "text", br"a\nb");
    assert_eq!(ids(&["-f", &text]), ids(&["-p", r"a\nb", "--no-escape"]));
    let piped = with_input(&["tokenize", "-m", &model, "--ids", "--no-bos", "-f", "-"], r"a\nb").stdout;
    assert_eq!(piped, ids(&["-f", &text]));
    fails(&["tokenize", "-m", &model, "-p", r"\xff"], &["--prompt: ", "not UTF-8", "--no-escape"]);
    let say = |more: &[&str]| run(&[&["run", "-m", &model, "-p", "x", "--temp", "0", "-q"], more].concat()).stdout;
    assert_eq!(say(&[]), "one\ntwo\n");
    assert_eq!(say(&["--stop", r"\n"]), "one\n");
    assert_eq!(say(&["--stop", r"\n", "--no-escape"]), "one\ntwo\n");
    fails(&["run", "-m", &model, "-p", "x", "--stop", r"\xff"], &["--stop: ", "not UTF-8"]);
    // The template shows the message: in chat, lines of stdin are as they are.
    let refuse = r"{{ raise_exception(messages[0].content | replace('\n', 'LF')) }}";
    let model = saved(&Chain::byte_level(&["ok"]).template(refuse), folder.path());
    fails(&["chat", "-m", &model, "-q", "-p", r"a\nb"], &["aLFb"]);
    assert!(with_input(&["chat", "-m", &model, "-q"], r"a\nb").stderr.contains(r"a\nb"));
}

#[test]
fn control_tokens_are_parsed_and_printed_where_asked() {
    let folder = folder();
    let model = saved(&Chain::byte_level(&["[THINK]", "hm", "[/THINK]", "ok"]), folder.path());
    for command in ["run", "chat"] {
        let say = |text: &str, more: &[&str]| {
            let done = run(&[&[command, "-m", &model, "-p", text, "--temp", "0"], more].concat());
            let tokens = done.stderr.split("prompt ").nth(1).and_then(|rest| rest.split(' ').next());
            (done.stdout, tokens.and_then(|n| n.parse::<usize>().ok()).expect("a number of tokens"))
        };
        let (plain, n) = say("a<|eot_id|>b", &[]);
        assert_eq!((plain.as_str(), n), ("hmok\n", say("a#|eot_id|#b", &[]).1), "{command}");
        let (special, n) = say("a<|eot_id|>b", &["--special"]);
        assert_eq!((special.as_str(), n), ("[THINK]hm[/THINK]ok\n", say("axb", &[]).1), "{command}");
    }
    let system = |text: &str| run(&["chat", "-m", &model, "-p", "x", "--system", text, "--temp", "0"]).stderr;
    let count = |stderr: String| stderr.split(" tokens in").next().map(String::from);
    let n = |text: &str| count(system(text)).and_then(|text| text.rsplit(' ').next().map(String::from));
    assert_eq!(n("a<|eot_id|>b"), n("a#|eot_id|#b"));
}

#[test]
fn two_beginnings_of_text_are_told() {
    let folder = folder();
    let model = saved(&Chain::byte_level(&["ok"]), folder.path());
    const TOLD: &str = "the text begins with BOS (<|begin_of_text|>)";
    let text = "<|begin_of_text|>x";
    let out = folder.path().join("o.npy").display().to_string();
    for command in [&["run", "--temp", "0"][..], &["tokenize"], &["logits", "--out", &out]] {
        let told = |text: &str, more: &[&str]| {
            let done = run(&[command, &["-m", &model, "-p", text], more].concat());
            done.stderr.contains(TOLD)
        };
        assert!(told(text, &["--special"]), "{command:?}");
        assert!(!told(text, &[]) && !told("x", &["--special"]), "{command:?}");
    }
    let once = run(&["chat", "-m", &model, "-p", text, "--special", "--temp", "0"]);
    assert!(!once.stderr.contains("BOS"), "{}", once.stderr);
}

/// A title, a color, eight bits wide, and a text that is shown backwards.
const OBEYED: &str = "\x1b]0;title\x07\u{9b}31m\u{202e}txt\u{2066}";
#[cfg(unix)]
const SHOWN: &str = "<U+001B>]0;title<U+0007><U+009B>31m<U+202E>txt<U+2066>";

#[test]
fn a_pipe_gets_texts_as_they_are() {
    let folder = folder();
    let model = saved(&Chain::byte_level(&[OBEYED, "ok"]), folder.path());
    let done = run(&["run", "-m", &model, "-p", "x", "--temp", "0", "-q"]);
    assert_eq!(done.stdout, format!("{OBEYED}ok\n"));
}

#[cfg(unix)]
#[test]
fn a_terminal_gets_nothing_to_obey() {
    use crate::common::gguf_builder::GgufBuilder;
    use crate::common::terminal::on_terminal;

    let folder = folder();
    let is_clean = |shown: &str| {
        // Progress bars draw with sequences of ours, which no text has.
        let ours = shown.replace("\x1b[2K", "").replace("\x1b[1A", "");
        assert!(!ours.contains(['\x1b', '\x07', '\u{9b}', '\u{202e}', '\u{2066}']), "{shown:?}");
    };
    let template = format!("{{{{ raise_exception('{OBEYED}') if messages[0].content == 'fail' }}}}x");
    // As one token, and with sequences and characters cut into several.
    let bytes: Vec<String> = OBEYED.chars().map(String::from).collect();
    let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
    let pieces = [&[OBEYED, "\n", "ok"][..], &[&bytes[..4], &["ok"]].concat()];
    for (i, pieces) in pieces.into_iter().enumerate() {
        let model = saved(&Chain::byte_level(pieces).template(&template), folder.path());
        for command in ["run", "chat"] {
            let shown = on_terminal(&[command, "-m", &model, "-p", "x", "--temp", "0", "-q"]);
            is_clean(&shown);
            let want = if i == 0 { format!("{SHOWN}\r\nok\r\n") } else { "<U+001B>]0;ok\r\n".to_string() };
            assert!(shown.contains(&want), "{shown:?}");
        }
        is_clean(&on_terminal(&["chat", "-m", &model, "-p", "fail", "-q"]));
    }
    // Names, values and errors of a file.
    let gguf = pronk::gguf::Gguf::open(tiny().as_ref()).expect("the model");
    let hostile = GgufBuilder::of(&gguf).without("general.name").str("general.name", OBEYED);
    let hostile = hostile.str(OBEYED, OBEYED).str("own.text", OBEYED);
    let path = file(&folder, "hostile.gguf", &hostile.build());
    let key = on_terminal(&["info", "-m", &path, "--key", "own.text"]);
    assert!(key.contains(SHOWN), "{key:?}");
    let broken = hostile.tensor_f32(OBEYED, &[2], &[0.5; 2]);
    let broken = file(&folder, "broken.gguf", &broken.build());
    for args in [
        &["info", "--key", "own.text", "-m", &path][..],
        &["info", "--tensors", "-m", &path],
        &["info", "--json", "-m", &path],
        &["info", "--tensors", "-m", &broken],
        &["hash", "-m", &broken],
        &["hash", "--json", "-m", &broken],
        &["tokenize", "-p", "x", "-m", &path],
        &["run", "-p", "x", "-n", "1", "-m", &path],
        &["run", "-p", "x", "-n", "1", "-m", &broken],
    ] {
        is_clean(&on_terminal(args));
    }
}

#[test]
fn errors_of_logits_name_the_file_and_what_helps() {
    let folder = folder();
    let gguf = pronk::gguf::Gguf::open(tiny().as_ref()).expect("the model");
    let mut damaged = crate::common::gguf_builder::GgufBuilder::of(&gguf);
    let norm = damaged.tensors.iter_mut().find(|tensor| tensor.name == b"output_norm.weight").expect("a tensor");
    norm.data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let model = file(&folder, "nan.gguf", &damaged.build());
    for command in
        [&["run", "-p", "x"][..], &["run", "-p", "x", "--temp", "0"], &["perplexity", "-q", "-p", "Hello the world"]]
    {
        let with = |kv: &'static str| [command, &["-m", &model, "--device", "cpu", "--kv", kv]].concat();
        fails(&with("f16"), &["nan.gguf: the model's logits are not finite (--check-tensors", "--kv f32 helps"]);
        fails(&with("f32"), &["nan.gguf: the model's logits are not finite (--check-tensors looks for the cause)"]);
    }
}

#[test]
fn operations_that_a_device_lacks_are_told_with_the_file() {
    let folder = folder();
    let gguf = pronk::gguf::Gguf::open(tiny().as_ref()).expect("the model");
    let mut odd = crate::common::gguf_builder::GgufBuilder::of(&gguf);
    let norm = odd.tensors.iter_mut().find(|tensor| tensor.name == b"output_norm.weight").expect("a tensor");
    norm.ty = pronk::gguf::GgmlType::I8 as u32;
    norm.data = vec![0; norm.shape[0] as usize];
    let model = file(&folder, "odd.gguf", &odd.build());
    let problem = ["odd.gguf: cpu: rms_norm cannot read tensor output_norm.weight of type I8"];
    fails(&["run", "-m", &model, "-p", "x", "-n", "1", "--device", "cpu"], &problem);
}

/// Also where a program that started this one keeps the pipe open and writes nothing.
#[test]
fn stdin_beside_a_text_is_put_after_it() {
    let say = |text: &str| {
        ["run", "-m", &tiny(), "-n", "4", "--temp", "0", "--device", "cpu", "-p", text].map(str::to_string)
    };
    let [alone, both] = ["Hello", "Hello\nthere"].map(|text| run(&say(text).each_ref().map(String::as_str)).stdout);
    assert_ne!(alone, both);
    let args = say("Hello");
    let args = args.each_ref().map(String::as_str);
    assert_eq!(with_input(&args, "there\n").stdout, both);
    assert_eq!(with_input(&args, "").stdout, alone);
    for quiet in [false, true] {
        let more: &[&str] = if quiet { &["-q"] } else { &[] };
        let mut child = pronk(&[&args, more].concat()).stdin(Stdio::piped()).spawn().expect("the program starts");
        let open = child.stdin.take();
        let done = finish(child);
        drop(open);
        assert_eq!((done.code, done.stdout), (Some(0), alone.clone()));
        assert_eq!(done.stderr.contains("stdin: nothing came"), !quiet, "{}", done.stderr);
    }
}
