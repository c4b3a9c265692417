//! Jinja as Hugging Face transformers sets it up, on minijinja.
//!
//! Before the engine runs a template, its source is brought into the engine's dialect, and its instructions are changed: `%` calls
//! [`python::remainder`], and whatever is stored in a variable or an attribute passes by [`Budget::check`].

mod budget;
mod builtins;
mod json;
mod namespaces;
mod python;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::machinery::{
    CodeGenerator, Instruction, Instructions, Token, ast, eval, make_string_output, parse, tokenize,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};

use super::template::one_line;
use budget::Budget;
pub(super) use budget::{LATE, Limits, TOO_LONG};

/// Depth of calls, loops and blocks.
const MAX_DEPTH: usize = 100;
/// Names under which instructions call our functions: no template can spell them.
const REMAINDER: &str = "operator %";
const CHECKED: &str = "checked value";

/// A source text in the engine's dialect, with the end of the line and the statements that transformers adds.
pub(super) fn dialect(source: &str) -> Result<String, Error> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut edits: Vec<(usize, usize, &str)> = vec![];
    let tokens = tokenize(&source, false, syntax()?).collect::<Result<Vec<_>, _>>();
    // What has no tokens has no statements to change: parsing will say what is wrong, and in which line.
    let tokens = tokens.unwrap_or_default();
    for (i, window) in tokens.windows(2).enumerate() {
        let [(Token::BlockStart, _), (Token::Ident(word), span)] = window else { continue };
        let end =
            tokens[i..].iter().position(|(token, _)| matches!(token, Token::BlockEnd)).map(|n| &tokens[i + n - 1].1);
        let Some(end) = end else { continue };
        let range = (span.start_offset as usize, end.end_offset as usize);
        match (*word, &tokens[i + 2..]) {
            // Both begin a scope, and their text stays where it is.
            ("generation", [(Token::BlockEnd, _), ..])
            | ("block", [(Token::Ident(_), _), (Token::BlockEnd, _), ..]) => {
                edits.push((range.0, range.1, "with"));
            }
            ("block", [(Token::Ident(_), _), (Token::Ident("scoped"), _), (Token::BlockEnd, _), ..]) => {
                edits.push((range.0, range.1, "with"));
            }
            ("endgeneration", [(Token::BlockEnd, _), ..])
            | ("endblock", [(Token::BlockEnd, _), ..] | [(Token::Ident(_), _), (Token::BlockEnd, _), ..]) => {
                edits.push((range.0, range.1, "endwith"));
            }
            _ => {}
        }
    }
    let (mut out, mut at) = (String::with_capacity(source.len()), 0);
    for (start, end, text) in edits {
        out.push_str(&source[at..start]);
        out.push_str(text);
        at = end;
    }
    Ok(out + &source[at..])
}

/// Whether a source in the engine's dialect is one that can be rendered.
///
/// Errors: bad syntax; a namespace where it could become a part of itself.
pub(super) fn check(source: &str) -> Result<(), crate::text::Error> {
    let parsed = syntax().and_then(|syntax| parse(source, "chat", syntax)).map_err(|e| one_line(&e))?;
    namespaces::check(&parsed)
}

/// Renders a source that [`check`] has passed.
pub(super) fn render(source: &str, variables: Value, limits: Limits) -> Result<String, Error> {
    let budget = Arc::new(Budget::new(limits));
    let mut engine = Environment::new();
    engine.set_debug(false);
    engine.set_recursion_limit(MAX_DEPTH);
    engine.set_fuel(Some(limits.fuel));
    builtins::add(&mut engine, limits.output);
    engine.add_function(REMAINDER, python::remainder);
    let checking = Arc::clone(&budget);
    engine.add_function(CHECKED, move |value: Value| checking.check(&value).map(|()| value));
    let writing = Arc::clone(&budget);
    engine.set_formatter(move |out, _, value| {
        let text = match value.kind() {
            ValueKind::Number if !value.is_integer() => python::float(f64::try_from(value.clone())?),
            _ => writing.text(value)?,
        };
        writing.write(text.len())?;
        out.write_str(&text).map_err(Error::from)
    });
    let (instructions, blocks) = compile(source)?;
    let mut text = String::new();
    let mut out = make_string_output(&mut text);
    let rendered = eval(&engine, &instructions, variables, &blocks, &mut out, AutoEscape::None).map(drop);
    drop(out);
    rendered.map_err(|e| budget.exceeded().unwrap_or(e))?;
    Ok(text)
}

fn syntax() -> Result<SyntaxConfig, Error> {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()
}

type Blocks<'s> = BTreeMap<&'s str, Instructions<'s>>;

/// The instructions of a template, with calls of our functions in them.
fn compile(source: &str) -> Result<(Instructions<'_>, Blocks<'_>), Error> {
    let parsed: ast::Stmt = parse(source, "chat", syntax()?)?;
    let mut generator = CodeGenerator::new("chat", source);
    generator.compile_stmt(&parsed);
    let (plain, blocks) = generator.finish();
    // By instruction of `plain`, and its end: where it begins in `code`.
    let mut places: Vec<u32> = vec![];
    let mut code = Instructions::new("chat", source);
    for at in 0.. {
        places.push(code_len(&code, places.last().copied().unwrap_or(0)));
        let Some(instruction) = plain.get(at) else { break };
        let is_checked = match (instruction, plain.get(at + 1)) {
            (Instruction::StoreLocal(_), _) => true,
            (Instruction::Lookup(_), Some(Instruction::SetAttr(_))) => true, // the value lies below the namespace
            _ => false,
        };
        if is_checked {
            add(&mut code, Instruction::CallFunction(CHECKED, Some(1)), &plain, at);
        }
        let instruction = match instruction {
            Instruction::Rem => Instruction::CallFunction(REMAINDER, Some(2)),
            other => other.clone(),
        };
        add(&mut code, instruction, &plain, at);
    }
    for at in 0.. {
        let Some(instruction) = code.get_mut(at) else { break };
        match instruction {
            Instruction::Jump(target)
            | Instruction::JumpIfFalse(target)
            | Instruction::JumpIfFalseOrPop(target)
            | Instruction::JumpIfTrueOrPop(target)
            | Instruction::Iterate(target)
            | Instruction::BuildMacro(_, target, _) => {
                let place = places.get(*target as usize).copied();
                *target = place.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "a jump out of the template"))?;
            }
            _ => {}
        }
    }
    Ok((code, blocks))
}

/// How many instructions there are, if there are at least `known`.
fn code_len(code: &Instructions, known: u32) -> u32 {
    (known..).find(|at| code.get(*at).is_none()).unwrap_or(known)
}

/// Adds an instruction that stands for number `at` of `plain`.
fn add<'s>(code: &mut Instructions<'s>, instruction: Instruction<'s>, plain: &Instructions<'s>, at: u32) {
    match (plain.get_span(at), plain.get_line(at)) {
        (Some(span), _) => code.add_with_span(instruction, span),
        (None, Some(line)) => code.add_with_line(instruction, line as u16),
        (None, None) => code.add(instruction),
    };
}
