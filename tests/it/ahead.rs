//! What a device chooses by itself, on the simulator, whose backend works as a GPU's does: greedy decoding whose steps begin before the host
//! knows the choice of the one before, against steps that wait; sampling from the most likely tokens, against sampling from all.

use crate::common;
use pronk::generate::{Error, GenerateOptions, LanguageModel, LoadOptions, Outputs, Session, load};
use pronk::plan::KvType;

const PROMPT: [u32; 3] = [405, 42, 89];

fn session(n_ctx: u32) -> Session {
    let options = LoadOptions {
        device: common::device("sim"),
        n_ctx: Some(n_ctx),
        kv: KvType::F32,
        chunk: 8,
        max_outputs: 1,
        ..LoadOptions::default()
    };
    let path = common::data("models/tiny-llama3.q4_0.gguf");
    load(&path, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{e}")).session
}

/// A session that has read the prompt, and the choice after it.
fn prompted(n_ctx: u32) -> (Session, u32) {
    let mut session = session(n_ctx);
    session.feed(&PROMPT, Outputs::Last, |_, _| true).expect("a prompt");
    let next = session.argmax().expect("a choice");
    (session, next)
}

fn logits(session: &mut Session) -> Vec<f32> {
    let mut logits = vec![];
    session.logits(&mut logits).expect("logits");
    logits
}

/// What steps that wait give: the choice after each of `n` tokens, and the logits after the last.
fn waiting(n: usize) -> (Vec<u32>, Vec<f32>) {
    let (mut session, mut next) = prompted(64);
    let mut step = |_| {
        session.decode(next).expect("a step");
        next = session.argmax().expect("a choice");
        next
    };
    let choices = (0..n).map(&mut step).collect();
    (choices, logits(&mut session))
}

#[test]
fn logits_are_those_of_the_last_token_that_counts() {
    let (choices, want) = waiting(2);
    let (mut session, first) = prompted(64);
    assert_eq!(session.decode_greedy(first, 100).expect("a step"), choices[0]);
    assert_eq!(session.n_past(), 4, "steps that were begun ahead do not count");
    assert_eq!(session.decode_greedy(choices[0], 100).expect("a step"), choices[1]);
    assert!(logits(&mut session) == want);
    assert_eq!(session.argmax().expect("a choice"), choices[1]);
    assert_eq!(session.n_past(), 5);
}

/// The text goes on with another token than the device chose, from an earlier place, or with a prompt.
#[test]
fn steps_begun_ahead_are_forgotten_where_the_text_goes_another_way() {
    let (mut plain, first) = prompted(64);
    plain.decode(first).expect("a step");
    let choice = plain.argmax().expect("a choice");
    let other = (choice + 1) % plain.n_vocab();
    plain.decode(other).expect("a step");
    let want = logits(&mut plain);

    let (mut session, first) = prompted(64);
    session.decode_greedy(first, 100).expect("a step");
    let after_other = session.decode_greedy(other, 0).expect("a step");
    assert_eq!(after_other, plain.argmax().expect("a choice"));
    assert!(logits(&mut session) == want);

    session.truncate(3);
    session.decode_greedy(first, 100).expect("a step");
    session.truncate(3);
    session.feed(&[first, other], Outputs::Last, |_, _| true).expect("fed");
    assert_eq!(session.argmax().expect("a choice"), after_other);

    session.truncate(3);
    assert_eq!(session.decode_greedy(first, 100).expect("a step"), choice);
    session.truncate(3);
    assert_eq!(session.decode_greedy(first, 1).expect("a step"), choice, "the same token in the same place again");
}

#[test]
fn no_step_begins_beyond_the_context() {
    let (choices, _) = waiting(3);
    let (mut session, mut next) = prompted(6);
    for choice in choices {
        next = session.decode_greedy(next, 100).expect("a step");
        assert_eq!(next, choice);
    }
    assert_eq!(session.room(), 0);
    let full = session.decode_greedy(next, 100);
    assert!(matches!(full, Err(Error::ContextFull { n_tokens: 7, n_ctx: 6 })), "{full:?}");
}

#[test]
fn the_device_selects_the_most_likely_tokens() {
    let (mut session, first) = prompted(64);
    let all = logits(&mut session);
    for k in [1, 40, 64] {
        let best = session.best(k).expect("a selection").expect("so many are selected");
        let mut want: Vec<(u32, f32)> = (0..).zip(all.iter().copied()).collect();
        want.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        want.truncate(k);
        assert_eq!(best, want, "k = {k}");
    }
    assert_eq!(session.best(65).expect("no failure"), None, "more than the kernels select");
    session.decode_greedy(first, 100).expect("a step");
    let after = session.best(1).expect("a selection").expect("one is selected");
    assert_eq!(after[0].0, session.argmax().expect("a choice"), "of the last token that counts");
}

/// Log-probabilities need all logits: with them the host selects.
#[test]
fn sampling_gives_the_same_text_from_the_most_likely_tokens() {
    let text = |change: &dyn Fn(&mut GenerateOptions)| {
        let load = LoadOptions { device: common::device("sim"), n_ctx: Some(64), ..LoadOptions::default() };
        let path = common::data("models/tiny-llama3.q4_0.gguf");
        let mut model = LanguageModel::load(&path, &load, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
        let mut options = GenerateOptions { max_tokens: 12, ..GenerateOptions::default() };
        options.sampler.temperature = 1.5;
        change(&mut options);
        let pieces = model.generate_with("Hello there", options).expect("it fits");
        pieces.filter_map(|piece| piece.expect("a piece").token).collect::<Vec<u32>>()
    };
    let penalties = |o: &mut GenerateOptions| {
        (o.sampler.top_k, o.sampler.repeat_penalty, o.sampler.frequency_penalty) = (10, 1.2, 0.1);
    };
    let seeded = |o: &mut GenerateOptions| (o.sampler.seed, o.ignore_ends) = (5, true);
    let all: [&dyn Fn(&mut GenerateOptions); 3] = [&|_| {}, &penalties, &seeded];
    for change in all {
        let of_all = |o: &mut GenerateOptions| {
            change(o);
            o.log_probs = true;
        };
        assert_eq!(text(change), text(&of_all));
    }
}
