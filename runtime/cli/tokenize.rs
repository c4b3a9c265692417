//! `pronk tokenize`: the tokens of a text.

use super::args::FileArgs;
use super::output::{notice, plain_table, print, stdout};
use super::overrides::notice_unread;
use super::text::{TextArgs, notice_two_bos};
use anyhow::{Context, Result};
use pronk::text::{EncodeOptions, Tokenizer, VocabNotice};
use std::io::Write;

/// Show the tokens of a text
#[derive(clap::Args)]
#[command(mut_group("TextArgs", |group| group.required(true)))]
pub struct Args {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Print only the ids, separated by spaces
    #[arg(long)]
    ids: bool,
    /// Add no beginning-of-text token, even if the model expects one
    #[arg(long)]
    no_bos: bool,
    /// Parse control tokens such as <|eot_id|> in the text
    #[arg(long)]
    special: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let text = args.text.text()?.unwrap_or_default();
    let gguf = args.file.gguf()?;
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    notice_unread(&gguf);
    VocabNotice::of(&gguf).iter().for_each(notice);
    let options = EncodeOptions { add_bos: tokenizer.add_bos() && !args.no_bos, parse_special: args.special };
    let ids = tokenizer.encode(&text, options).with_context(|| args.file.model.display().to_string())?;
    notice_two_bos(&ids, &tokenizer);
    if args.ids {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        writeln!(stdout(), "{}", ids.join(" "))?;
        return Ok(());
    }
    let mut table = plain_table(&["id", "piece"]);
    for id in ids {
        // Tokens that are not whole characters are shown as bytes.
        let bytes = tokenizer.token_bytes(id, true);
        let piece =
            str::from_utf8(bytes).map_or_else(|_| format!("\"{}\"", bytes.escape_ascii()), |text| format!("{text:?}"));
        table.add_row([id.to_string(), piece]);
    }
    Ok(print(&table)?)
}
