//! The public interface of the library: generating, chatting and scoring with tiny models.

use crate::common;
use crate::common::gguf_builder::GgufBuilder;
use pronk::generate::score::{Base, BaseError, BaseWriter, Difference, Text, log_sum_exp};
use pronk::gguf::Gguf;
use pronk::{
    ContextEnd, DeviceChoice, End, Error, GenerateEvent, GenerateOptions, Generator, LanguageModel, LoadError,
    LoadOptions, Piece, SamplerOptions,
};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

const PROMPT: &str = "Hello the world";

fn path() -> PathBuf {
    common::data("models/tiny-llama3.q4_0.gguf")
}

fn model_of(n_ctx: u32, chunk: u32) -> LanguageModel {
    let options = LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(n_ctx), chunk, ..LoadOptions::default() };
    LanguageModel::load(path(), &options, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"))
}

fn model() -> LanguageModel {
    model_of(128, 16)
}

fn greedy(max_tokens: usize) -> GenerateOptions {
    let sampler = SamplerOptions { temperature: 0.0, ..SamplerOptions::default() };
    GenerateOptions { sampler, max_tokens, ignore_ends: true, ..GenerateOptions::default() }
}

fn collect(generator: &mut Generator) -> Vec<Piece> {
    generator.map(|piece| piece.unwrap_or_else(|e| panic!("{e}"))).collect()
}

fn text(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

fn tokens(pieces: &[Piece]) -> Vec<u32> {
    pieces.iter().filter_map(|piece| piece.token).collect()
}

fn generate(model: &mut LanguageModel, options: GenerateOptions) -> (Vec<Piece>, Option<End>) {
    let mut generator = model.generate_with(PROMPT, options).expect("a prompt");
    (collect(&mut generator), generator.end())
}

#[test]
fn pieces_are_the_text_of_their_tokens() {
    let mut model = model();
    let (pieces, end) = generate(&mut model, greedy(30));
    assert_eq!((tokens(&pieces).len(), end), (30, Some(End::Limit)));
    let all = tokens(&pieces);
    let bytes: Vec<u8> = all.iter().flat_map(|token| model.tokenizer().token_bytes(*token, false)).copied().collect();
    assert_eq!(text(&pieces), String::from_utf8_lossy(&bytes));
    assert!(pieces.iter().all(|piece| piece.log_prob.is_none()));
    let (none, end) = generate(&mut model, greedy(0));
    assert_eq!((none, end), (vec![], Some(End::Limit)));
}

/// The device finds the largest logit; with a tiny penalty the host does.
#[test]
fn the_host_and_the_device_choose_the_same() {
    let mut model = model();
    let by_device = GenerateOptions { ignore_ends: false, ..greedy(20) };
    let mut by_host = by_device.clone();
    by_host.sampler.repeat_penalty = 1.000_000_1;
    assert_eq!(generate(&mut model, by_device), generate(&mut model, by_host));
}

#[test]
fn log_probabilities_are_those_of_the_logits() {
    let mut model = model();
    let options = GenerateOptions { log_probs: true, ..greedy(5) };
    let (pieces, _) = generate(&mut model, options);
    let mut all = model.encode(PROMPT).expect("tokens");
    let n_prompt = all.len();
    all.extend(tokens(&pieces));
    let mut session = pronk::generate::load(
        &path(),
        &LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(128), max_outputs: 64, ..LoadOptions::default() },
        &mut |_| {},
    )
    .expect("a model")
    .session;
    let mut rows: Vec<Vec<f32>> = vec![];
    let n_vocab = session.n_vocab() as usize;
    let fed = session.feed(&all, pronk::generate::Outputs::All, |_, logits| {
        rows.extend(logits.chunks(n_vocab).map(<[f32]>::to_vec));
        true
    });
    fed.expect("tokens");
    for (piece, row) in pieces.iter().zip(&rows[n_prompt - 1..]) {
        let want = f64::from(row[piece.token.expect("a token") as usize]) - log_sum_exp(row);
        let got = f64::from(piece.log_prob.expect("asked for"));
        assert!((got - want).abs() < 1e-3 && got < 0.0, "{got}, {want} from the logits");
    }
}

#[test]
fn what_the_cache_holds_is_not_fed_again() {
    let mut model = model();
    let n = model.encode(PROMPT).expect("tokens").len();
    let feeds = |model: &mut LanguageModel, more: &[u32]| {
        let prompt = [&model.encode(PROMPT).expect("tokens")[..], more].concat();
        let mut generator = model.generate_tokens(&prompt, greedy(6)).expect("a prompt");
        let pieces = collect(&mut generator);
        let stats = generator.stats();
        assert_eq!((stats.generated, stats.steps, stats.shifts), (6, 5, 0));
        assert_eq!(stats.cached + stats.fed, prompt.len());
        (stats.cached, tokens(&pieces))
    };
    let (cached, first) = feeds(&mut model, &[]);
    assert_eq!(cached, 0);
    let (cached, again) = feeds(&mut model, &[]);
    assert_eq!((cached, &again), (n - 1, &first), "the last token is fed in any case");
    // The reply as part of the next text: its last token was chosen, but not fed.
    assert_eq!(feeds(&mut model, &first).0, n + 5);
    assert_eq!(feeds(&mut model, &[first[0], 0]).0, n + 1);
    model.clear();
    assert_eq!(feeds(&mut model, &[]), (0, first));
}

#[test]
fn a_dropped_generator_leaves_the_cache_in_step() {
    let mut model = model();
    let whole = generate(&mut model, greedy(12)).0;
    model.clear();
    let begun: Vec<_> = model.generate_with(PROMPT, greedy(12)).expect("a prompt").take(4).collect();
    assert_eq!(begun.len(), 4);
    assert_eq!(generate(&mut model, greedy(12)).0, whole);
}

#[test]
fn stop_strings_end_the_text_and_are_left_out() {
    let mut model = model();
    let whole = text(&generate(&mut model, greedy(40)).0);
    let stop: String = whole.chars().skip(20).take(3).collect();
    let stops = vec!["not in there".to_string(), stop.clone()];
    let (pieces, end) = generate(&mut model, GenerateOptions { stops, ..greedy(40) });
    assert_eq!((text(&pieces).as_str(), end), (whole.split(&stop).next().expect("a part"), Some(End::StopString)));
    // Text that was held back for a stop string comes last, without a token.
    let last = whole.chars().last().expect("text").to_string();
    let (pieces, end) = generate(&mut model, GenerateOptions { stops: vec![last.clone() + "\u{0}"], ..greedy(40) });
    let rest = pieces.last().expect("a piece");
    assert_eq!((rest.text.as_str(), rest.token, end), (last.as_str(), None, Some(End::Limit)));
    assert_eq!(text(&pieces), whole);
    let error = model.generate_with(PROMPT, GenerateOptions { stops: vec![String::new()], ..greedy(1) }).err();
    assert!(matches!(error, Some(Error::EmptyStop(0))), "{error:?}");
}

/// The tiny model, changed so that the first token that it chooses ends the text.
#[test]
fn a_token_that_ends_the_text_ends_it() {
    let first = tokens(&generate(&mut model(), greedy(1)).0)[0];
    let gguf = Gguf::open(&path()).expect("the model");
    let file = GgufBuilder::of(&gguf).without("tokenizer.ggml.eot_token_id").u32("tokenizer.ggml.eot_token_id", first);
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("m.gguf");
    std::fs::write(&path, file.build()).expect("a writable folder");
    let options = LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(64), ..LoadOptions::default() };
    let mut model = LanguageModel::load(&path, &options, &mut |_| {}).expect("a model");
    let ends = GenerateOptions { ignore_ends: false, ..greedy(5) };
    assert_eq!(generate(&mut model, ends), (vec![], Some(End::EndToken)));
    assert_eq!(generate(&mut model, greedy(5)).1, Some(End::Limit));
}

#[test]
fn a_full_context_stops_or_shifts() {
    let mut model = model_of(16, 16);
    let n = model.encode(PROMPT).expect("tokens").len();
    let (stopped, end) = generate(&mut model, greedy(60));
    // The last token is chosen, but does not fit.
    assert_eq!((tokens(&stopped).len(), end), (16 - n + 1, Some(End::ContextFull)));

    let shifts = RefCell::new(vec![]);
    let shift = GenerateOptions { context_end: ContextEnd::Shift { keep: 1 }, ..greedy(60) };
    let generator = model.generate_with(PROMPT, shift).expect("a prompt");
    let mut generator = generator.on_event(|event| {
        if let GenerateEvent::Shift { .. } = event {
            shifts.borrow_mut().push(event);
        }
    });
    let pieces = collect(&mut generator);
    assert_eq!((tokens(&pieces).len(), generator.end()), (60, Some(End::Limit)));
    assert!(text(&pieces).starts_with(&text(&stopped)));
    assert_eq!(generator.stats().shifts, shifts.borrow().len());
    drop(generator);
    assert!(shifts.borrow().len() > 3);
    // The beginning-of-text token is kept as well.
    assert_eq!(shifts.borrow()[0], GenerateEvent::Shift { kept: 2, dropped: 7, again: 7 });
    let all = GenerateOptions { context_end: ContextEnd::Shift { keep: usize::MAX }, ..greedy(60) };
    model.clear();
    let full = vec![1; 15];
    let mut generator = model.generate_tokens(&full, all).expect("a prompt");
    assert_eq!((collect(&mut generator).len(), generator.end()), (2, Some(End::ContextFull)), "nothing can be dropped");
}

#[test]
fn prompts_that_cannot_be_continued_are_refused() {
    let mut model = model_of(8, 8);
    let error = model.generate_tokens(&[1; 9], greedy(1)).err().expect("too long");
    assert!(matches!(error, Error::TooLong { n_tokens: 9, n_ctx: 8 }), "{error:?}");
    assert_eq!(error.to_string(), "the prompt has 9 tokens, the context holds 8");
    assert!(matches!(model.generate_tokens(&[], greedy(1)).err(), Some(Error::EmptyPrompt)));
    // A refused prompt changes nothing.
    assert_eq!(collect(&mut model.generate_tokens(&[1; 8], greedy(9)).expect("it fits")).len(), 1);
}

#[test]
fn the_caller_sees_the_prompt_progress_and_may_cancel() {
    let mut model = model_of(128, 8);
    let prompt = [1; 30];
    let whole = collect(&mut model.generate_tokens(&prompt, greedy(9)).expect("a prompt"));
    model.clear();

    let (steps, cancel) = (RefCell::new(vec![]), Cell::new(false));
    let generator = model.generate_tokens(&prompt, greedy(9)).expect("a prompt");
    let mut generator = generator.on_event(|event| {
        if let GenerateEvent::Prompt { done, total } = event {
            steps.borrow_mut().push((done, total));
            cancel.set(done == 16);
        }
    });
    generator = generator.cancel_when(|| cancel.get());
    assert_eq!((collect(&mut generator), generator.end()), (vec![], Some(End::Cancelled)));
    assert_eq!((generator.stats().fed, generator.next().is_none()), (16, true));
    drop(generator);
    assert_eq!(*steps.borrow(), [(0, 30), (8, 30), (16, 30)]);

    // It goes on where it was cancelled; the reply can be cancelled as well.
    let flag = AtomicBool::new(false);
    let generator = model.generate_tokens(&prompt, greedy(9)).expect("a prompt");
    let mut generator = generator.cancel_when(|| flag.load(Ordering::Relaxed));
    assert_eq!(generator.stats().cached, 16);
    let mut pieces: Vec<Piece> = generator.by_ref().take(3).map(|piece| piece.expect("a piece")).collect();
    flag.store(true, Ordering::Relaxed);
    pieces.extend(collect(&mut generator));
    assert_eq!(generator.end(), Some(End::Cancelled));
    assert!(tokens(&pieces) == tokens(&whole)[..3], "{pieces:?}");
}

#[test]
fn a_chat_keeps_history_and_cache_in_step() {
    let mut model = model_of(256, 16);
    let mut chat = model.chat().expect("a template");
    chat.set_system(Some("Be brief."));
    chat.options = greedy(8);
    let said = |chat: &mut pronk::Chat, message: &str| {
        let mut turn = chat.say(message).expect("a message");
        let text: String = turn.by_ref().map(|piece| piece.expect("a piece").text).collect();
        assert_eq!((turn.end(), turn.n_forgotten()), (Some(End::Limit), 0));
        (text, turn.stats().clone())
    };
    let (first, stats) = said(&mut chat, "Hello");
    assert_eq!(stats.cached, 0);
    let (_, stats) = said(&mut chat, "And the world?");
    assert!(stats.cached > 10, "the first turn is not fed again: {stats:?}");
    let turns: Vec<(&str, &str)> = chat.turns().iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
    assert_eq!(turns[..3], [("user", "Hello"), ("assistant", first.as_str()), ("user", "And the world?")]);
    assert_eq!(turns.len(), 4);
    chat.clear();
    assert!(chat.turns().is_empty());
    let (again, stats) = said(&mut chat, "Hello");
    assert_eq!((again, stats.cached), (first, 0));
}

#[test]
fn a_failed_or_abandoned_turn_is_as_if_nothing_was_said() {
    let mut model = model_of(64, 16);
    let mut chat = model.chat().expect("a template");
    chat.options = greedy(4);
    chat.say("Hello").expect("a message").for_each(|piece| drop(piece.expect("a piece")));
    let before = chat.turns().to_vec();
    assert_eq!(before.len(), 2);
    let error = chat.say(&"Hello ".repeat(99)).err();
    assert!(matches!(error, Some(Error::TooLong { .. })), "{error:?}");
    assert_eq!(chat.turns(), before);
    let begun = chat.say("Hello").expect("a message").next();
    assert!(begun.is_some_and(|piece| piece.is_ok()));
    assert_eq!(chat.turns(), before, "the turn was dropped before its end");
    let cancelled = chat.say("Hello").expect("a message").cancel_when(|| true);
    cancelled.for_each(|piece| drop(piece.expect("a piece")));
    assert_eq!(chat.turns().len(), 4, "a turn that was cancelled has ended");
}

#[test]
fn a_chat_forgets_its_oldest_turns_where_it_shifts() {
    let mut model = model_of(64, 16);
    let mut chat = model.chat().expect("a template");
    chat.options = GenerateOptions { context_end: ContextEnd::Shift { keep: 0 }, ..greedy(8) };
    let mut forgotten = 0;
    for _ in 0..6 {
        let mut turn = chat.say("Hello").expect("a message");
        turn.by_ref().for_each(|piece| drop(piece.expect("a piece")));
        assert_eq!(turn.end(), Some(End::Limit));
        forgotten += turn.n_forgotten();
    }
    assert!(forgotten >= 4 && forgotten.is_multiple_of(2), "{forgotten}");
    assert_eq!(chat.turns().len(), 12 - forgotten);
    let error = chat.say(&"Hello ".repeat(99)).err();
    assert!(matches!(error, Some(Error::TooLong { .. })), "one message that does not fit is refused: {error:?}");
    assert_eq!(chat.turns().len(), 12 - forgotten, "and makes the chat forget nothing");
}

/// Each reply has its own seed, and the same conversation has the same replies.
#[test]
fn replies_of_a_chat_are_drawn_anew() {
    let talk = || {
        let mut model = model_of(256, 16);
        let mut chat = model.chat().expect("a template");
        chat.options = GenerateOptions { sampler: SamplerOptions::default(), ..greedy(12) };
        let mut replies = vec![];
        for _ in 0..2 {
            let reply = chat.say("Hello").expect("a message").map(|piece| piece.expect("a piece").text);
            replies.push(reply.collect::<String>());
            chat.clear();
        }
        replies
    };
    let replies = talk();
    assert_ne!(replies[0], replies[1]);
    assert_eq!(replies, talk());
}

#[test]
fn scores_come_window_by_window() {
    const TEXT: &str = "the world is with the man and there is nothing";
    let mut model = model_of(8, 8);
    let n = model.encode(TEXT).expect("tokens").len() - 1;
    let mut score = model.score(TEXT).expect("a text");
    assert_eq!((score.window(), score.n_windows(), score.n_reads()), (8, n.div_ceil(7), n + n.div_ceil(7)));
    let (mut reads, mut windows, mut nll) = (0, 0, 0.0);
    while let Some(window) = score.next_window(|predictions| {
        reads += predictions.n_read;
        let rows = predictions.logits.chunks(predictions.logits.len() / predictions.next.len().max(1));
        for (row, next) in rows.zip(predictions.next) {
            nll += log_sum_exp(row) - f64::from(row[*next as usize]);
        }
        true
    }) {
        window.expect("a window");
        windows += 1;
    }
    assert_eq!((reads, windows), (score.n_reads(), score.n_windows()));
    assert_eq!(score.nll().n(), n as u64);
    assert!((score.nll().estimate().value - nll / n as f64).abs() < 1e-9);
    let stopped = score.next_window(|_| true);
    assert!(stopped.is_none());
    assert!(matches!(model.score("").err(), Some(Error::NothingToScore { tokens: 0 })));
    // The scored text has replaced the contents of the cache.
    assert_eq!(model.generate_tokens(&[504, 1, 2], greedy(1)).expect("a prompt").stats().cached, 0);
}

#[test]
fn files_of_predictions_say_what_they_are_about() {
    let text = Text { n_vocab: 4, bos: Some(1), tokens: vec![2, 3] };
    let mut file = BaseWriter::new(vec![], &text, 3).expect("memory").into_inner();
    file.resize(text.base_bytes(3) as usize, 0);
    let open = |text: &Text, file: &[u8]| Base::new(file, file.len() as u64, text).map(drop);
    let base = Base::new(&file[..], file.len() as u64, &text).expect("its own file");
    assert!(base.check_window(3).is_ok());
    let differs = |e: Result<(), BaseError>, what: Difference| match e {
        Err(BaseError::Other { what: found, .. }) => assert_eq!(found, what),
        other => panic!("{other:?}"),
    };
    differs(base.check_window(4), Difference::Window);
    differs(open(&Text { n_vocab: 5, ..text.clone() }, &file), Difference::Vocabulary);
    differs(open(&Text { bos: None, ..text.clone() }, &file), Difference::Bos);
    differs(open(&Text { tokens: vec![2], ..text.clone() }, &file), Difference::Length);
    differs(open(&Text { tokens: vec![2, 1], ..text.clone() }, &file), Difference::Token(1));
    assert!(matches!(open(&text, &file[..file.len() - 1]), Err(BaseError::Length { .. })));
    assert!(matches!(open(&text, &file[..10]), Err(BaseError::NotPredictions)));
    assert!(matches!(open(&text, &[0; 99]), Err(BaseError::NotPredictions)));
}

#[test]
fn errors_carry_data_and_name_no_flag() {
    let options = LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(1 << 24), ..LoadOptions::default() };
    let options = LoadOptions { kv: pronk::plan::KvType::F32, ..options };
    let shape = pronk::model::Shape::find("llama3.1-405b").expect("a known shape");
    let model = pronk::model::Synth { shape, ty: pronk::quant::GgmlType::Q4_0, seed: 1 }.model();
    match pronk::generate::load_model(model, &options, &mut |_| {}).err().expect("it does not fit") {
        error @ LoadError::Memory { .. } => {
            let LoadError::Memory { misfit } = &error else { return };
            assert_eq!((misfit.wanted, misfit.device.as_str()), (1 << 24, "cpu"));
            assert!(
                matches!(&misfit.lack, pronk::generate::Lack::Memory { needs, free } if needs.total() > *free),
                "{misfit:?}"
            );
            assert!(misfit.fits < misfit.wanted, "{misfit:?}");
            assert!(!error.to_string().contains(" -"), "{error}");
        }
        other => panic!("{other}"),
    }
    let absent = LoadOptions { device: common::device("wgpu:9999"), ..LoadOptions::default() };
    let error = LanguageModel::load(path(), &absent, &mut |_| {}).err().expect("no such adapter");
    assert!(matches!(error, Error::Load(LoadError::Refused(_))), "{error:?}");
    assert!(error.to_string().ends_with("; the CPU can run it") && !error.to_string().contains("--"), "{error}");
}
