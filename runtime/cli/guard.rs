use super::args::{ModelArgs, tokenizer};
use super::interrupt::{self, Interrupted, Work};
use super::output::{count, notice, stdout};
use super::perplexity::log_sum_exp;
use super::text::TextArgs;
use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use pronk::backend::cpu::argmax;
use pronk::generate::{Outputs, Session, check_logits};
use pronk::gguf::excerpt;
use pronk::text::guard::{self, CATEGORIES, Speaker, Verdict};
use pronk::text::{EncodeOptions, Tokenizer};
use serde::Serialize;
use std::io::Write;
use std::time::Instant;

/// Ask Llama Guard 2 whether the last message of a conversation is safe
///
/// Prints safe or unsafe, the categories of unsafe content, and the unsafe score: the probability that the answer begins with
/// "unsafe". Exit code 0 either way.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The one message, the user's
    #[command(flatten)]
    text: TextArgs,
    /// A message of the user; may be given several times, the agent answers in between
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "TextArgs")]
    user: Vec<String>,
    /// An answer of the agent; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "TextArgs")]
    agent: Vec<String>,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
    /// Exit code 3 if the message is unsafe
    #[arg(long)]
    pub fail_unsafe: bool,
}

/// Exit code of an unsafe message with `--fail-unsafe`.
pub const EXIT_CODE: u8 = 3;
/// Most tokens of an answer: `unsafe`, and all codes with commas in between.
const MOST_TOKENS: usize = 64;

#[derive(Serialize)]
struct Report {
    model: String,
    /// Whose message it is: User or Agent.
    role: String,
    verdict: &'static str,
    /// The probability that the answer begins with `unsafe`.
    unsafe_score: f64,
    categories: Vec<Category>,
}

#[derive(Serialize)]
struct Category {
    code: String,
    /// None: the model made it up.
    name: Option<&'static str>,
}

/// Whether the message is safe.
pub fn run(args: &Args) -> Result<bool> {
    let begin = Instant::now();
    let turns = turns(args)?;
    let role = if turns.len().is_multiple_of(2) { Speaker::Agent } else { Speaker::User };
    let (gguf, model) = args.model.file.model()?;
    let in_file = || args.model.file.model.display().to_string();
    let tokenizer = tokenizer(&gguf, &model)?;
    let mark = guard::unsafe_token(&tokenizer).with_context(in_file)?;
    // Nothing that was said is a control token.
    let options = EncodeOptions { add_bos: tokenizer.bos().is_some(), parse_special: false };
    let prompt = tokenizer.encode(&guard::prompt(&turns), options).with_context(in_file)?;
    let name = model.config.name.clone();
    let options = args.model.on.options(Some(u32::try_from(prompt.len() + MOST_TOKENS)?));
    let mut session = args.model.on.load(model, &options)?.session;
    if prompt.len() >= session.room() as usize {
        bail!("the prompt has {} tokens, the context holds {} with the answer (-c)", prompt.len(), session.room());
    }

    let _work = Work::begin()?;
    let (answer, unsafe_score) = answer(&mut session, &tokenizer, &prompt, mark)?;
    let Some(verdict) = Verdict::read(&answer) else {
        bail!("{}: answers \"{}\", expected safe or unsafe: is it Llama Guard 2?", in_file(), excerpt(answer.trim()));
    };
    let name_of = |code: &str| CATEGORIES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name);
    let categories = verdict.categories.into_iter().map(|code| Category { name: name_of(&code), code });
    let report = Report {
        model: name,
        role: role.to_string(),
        verdict: if verdict.is_safe { "safe" } else { "unsafe" },
        unsafe_score,
        categories: categories.collect(),
    };
    print(&report, args.json)?;
    if !args.model.on.quiet {
        let (device, seconds) = (session.device(), begin.elapsed().as_secs_f64());
        notice(format!("{device}: {role} message, prompt {} tokens, {seconds:.2} s in all", prompt.len()));
    }
    Ok(verdict.is_safe)
}

/// The messages of the conversation, the user's first.
fn turns(args: &Args) -> Result<Vec<String>> {
    if let Some(text) = args.text.prompt()? {
        return Ok(vec![text]);
    }
    let (users, agents) = (args.user.len(), args.agent.len());
    if users == 0 {
        let what = "one of --prompt, --file and --user is required";
        super::usage_error("guard", ErrorKind::MissingRequiredArgument, what);
    }
    if users != agents && users != agents + 1 {
        let what = format!("{users} of --user and {agents} of --agent: they take turns, the user begins");
        super::usage_error("guard", ErrorKind::WrongNumberOfValues, &what);
    }
    let agents = args.agent.iter().map(Some).chain([None]);
    Ok(args.user.iter().zip(agents).flat_map(|(user, agent)| [Some(user), agent]).flatten().cloned().collect())
}

/// The likeliest answer, and the probability that its first word begins with `mark`. Errors: the answer was cut.
fn answer(session: &mut Session, tokenizer: &Tokenizer, prompt: &[u32], mark: u32) -> Result<(String, f64)> {
    let mut done = 0;
    session.feed(prompt, Outputs::Last, |n, _| {
        done = n;
        !interrupt::asked()
    })?;
    if done < prompt.len() {
        return Err(Interrupted.into());
    }
    let (mut bytes, mut logits, mut score) = (vec![], vec![], None);
    let mut n = 0;
    loop {
        session.logits(&mut logits)?;
        check_logits(&logits)?;
        let next = argmax(&logits) as u32;
        let piece = tokenizer.token_bytes(next, false);
        // White space may come before the first word.
        let is_end = tokenizer.is_end(next);
        if is_end || !piece.iter().all(u8::is_ascii_whitespace) {
            let score = *score.get_or_insert_with(|| probability(&logits, mark));
            if is_end {
                return Ok((String::from_utf8_lossy(&bytes).into_owned(), score));
            }
        }
        if interrupt::asked() {
            return Err(Interrupted.into());
        }
        if n == MOST_TOKENS {
            bail!("the answer has no end after {}: is it Llama Guard 2?", count(n, "token"));
        }
        if session.room() == 0 {
            bail!("the answer was cut after {}: -c gives more room", count(n, "token"));
        }
        bytes.extend_from_slice(piece);
        session.decode(next)?;
        n += 1;
    }
}

fn probability(logits: &[f32], token: u32) -> f64 {
    (logits[token as usize] as f64 - log_sum_exp(logits)).exp()
}

fn print(report: &Report, as_json: bool) -> Result<()> {
    let mut out = stdout();
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(report)?)?;
    } else {
        writeln!(out, "{}", report.verdict)?;
        for Category { code, name } in &report.categories {
            writeln!(out, "{}: {}", excerpt(code), name.unwrap_or("not a category of Llama Guard 2"))?;
        }
        writeln!(out, "unsafe score {:.6}", report.unsafe_score)?;
    }
    Ok(out.flush()?)
}
