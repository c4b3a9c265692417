//! `pronk guard`: whether a message is safe, by Llama Guard 2.

use super::args::ModelArgs;
use super::interrupt::{self, Interrupted, Work};
use super::output::{notice, stdout};
use super::text::TextArgs;
use anyhow::{Context, Error, Result};
use clap::error::ErrorKind;
use pronk::generate::score::{GuardError, GuardPrompt, Judgement};
use pronk::generate::{LanguageModel, tokenizer};
use pronk::gguf::excerpt;
use pronk::text::guard::{CATEGORIES, Speaker};
use serde::Serialize;
use std::io::Write;
use std::time::Instant;

/// Ask Llama Guard 2 whether the last message of a conversation is safe
///
/// Prints safe or unsafe, the categories of the unsafe content, and the unsafe score: the probability that the answer
/// begins with "unsafe". The exit code is 0 in both cases, unless --fail-unsafe is given.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The one message, the user's
    #[command(flatten)]
    text: TextArgs,
    /// Message of the user; may be given several times, with an --agent message between two of them
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "TextArgs")]
    user: Vec<String>,
    /// Message of the agent; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "TextArgs")]
    agent: Vec<String>,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
    /// End with exit code 3 if the message is unsafe
    #[arg(long)]
    pub fail_unsafe: bool,
}

/// Exit code for an unsafe message with `--fail-unsafe`.
pub const EXIT_CODE: u8 = 3;

#[derive(Serialize)]
struct Report {
    model: String,
    /// The speaker of the message: User or Agent.
    role: String,
    verdict: &'static str,
    /// The probability that the answer begins with `unsafe`.
    unsafe_score: f64,
    categories: Vec<Category>,
}

#[derive(Serialize)]
struct Category {
    code: String,
    /// None: Llama Guard 2 has no category of this code.
    name: Option<&'static str>,
}

/// Returns whether the message is safe.
pub fn run(args: &Args) -> Result<bool> {
    let begin = Instant::now();
    let turns = turns(args)?;
    let role = if turns.len().is_multiple_of(2) { Speaker::Agent } else { Speaker::User };
    let (gguf, model) = args.model.file.model()?;
    let in_file = || args.model.file.model.display().to_string();
    let tokenizer = tokenizer(&gguf, &model)?;
    let prompt = GuardPrompt::new(&tokenizer, &turns).with_context(in_file)?;
    let name = model.config.name.clone();
    let options = args.model.on.options(Some(u32::try_from(prompt.n_ctx())?));
    let mut model = LanguageModel::new(args.model.on.load(model, &options)?, tokenizer);

    let _work = Work::begin();
    let Judgement { verdict, unsafe_score } = prompt.ask(&mut model, interrupt::asked).map_err(|e| match e {
        GuardError::Cancelled => Interrupted.into(),
        GuardError::Answer(_) => Error::from(e).context(in_file()),
        e => e.into(),
    })?;
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
        let (device, seconds) = (model.device(), begin.elapsed().as_secs_f64());
        notice(format!("{device}: {role} message, prompt {} tokens, {seconds:.2} s in all", prompt.n_tokens()));
    }
    Ok(verdict.is_safe)
}

/// The messages of the conversation in order. The user speaks first.
fn turns(args: &Args) -> Result<Vec<String>> {
    if let Some(text) = args.text.prompt()? {
        return Ok(vec![text]);
    }
    let (users, agents) = (args.user.len(), args.agent.len());
    if users == 0 {
        let what = "one of --prompt, --file and --user is required";
        super::usage::error("guard", ErrorKind::MissingRequiredArgument, what);
    }
    if users != agents && users != agents + 1 {
        let what = format!("{users} --user and {agents} --agent messages: expected turns, the user's first");
        super::usage::error("guard", ErrorKind::WrongNumberOfValues, &what);
    }
    let agents = args.agent.iter().map(Some).chain([None]);
    Ok(args.user.iter().zip(agents).flat_map(|(user, agent)| [Some(user), agent]).flatten().cloned().collect())
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
