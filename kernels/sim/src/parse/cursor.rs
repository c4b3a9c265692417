//! A cursor over the tokens, and numeric literals.

use super::ast::Arg;
use super::lex::{Tok, Token, lex};
use crate::error::At;

pub(crate) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str) -> Result<Parser<'a>, At> {
        Ok(Parser { tokens: lex(text)?, at: 0 })
    }

    /// The next token.
    pub fn peek(&self) -> Tok<'a> {
        self.tokens[self.at].tok
    }

    /// The token `ahead` places after the next one.
    pub fn peek_at(&self, ahead: usize) -> Tok<'a> {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].tok
    }

    /// The line of the next token.
    pub fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    /// Takes a token; the end of the text stays.
    pub fn next(&mut self) -> Tok<'a> {
        let tok = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        tok
    }

    /// The place of the next token, for [`Parser::skip_block`].
    pub fn mark(&self) -> usize {
        self.at
    }

    /// Goes behind the block whose `{` is at `start`. Errors: it has no end.
    pub fn skip_block(&mut self, start: usize) -> Result<(), At> {
        self.at = start;
        let mut depth = 0;
        loop {
            match self.next() {
                Tok::Punct('{') => depth += 1,
                Tok::Punct('}') if depth == 1 => return Ok(()),
                Tok::Punct('}') => depth -= 1,
                Tok::End => return self.fail("'}'"),
                _ => {}
            }
        }
    }

    /// An error at the next token.
    pub fn fail<T>(&self, expected: &str) -> Result<T, At> {
        let found = match self.peek() {
            Tok::Word(w) => format!("'{w}'"),
            Tok::Num(n) => format!("'{n}'"),
            Tok::Str(s) => format!("\"{s}\""),
            Tok::Punct(c) => format!("'{c}'"),
            Tok::End => "the end of the text".into(),
        };
        Err(At::new(self.line(), format!("{expected} expected, {found} found")))
    }

    /// Takes the character, if it is next.
    pub fn eat(&mut self, c: char) -> bool {
        let yes = self.peek() == Tok::Punct(c);
        if yes {
            self.next();
        }
        yes
    }

    pub fn expect(&mut self, c: char) -> Result<(), At> {
        if self.eat(c) { Ok(()) } else { self.fail(&format!("'{c}'")) }
    }

    pub fn word(&mut self) -> Result<&'a str, At> {
        match self.peek() {
            Tok::Word(w) => {
                self.next();
                Ok(w)
            }
            _ => self.fail("a name"),
        }
    }

    pub fn int(&mut self) -> Result<u64, At> {
        let negative = self.eat('-');
        match self.peek() {
            Tok::Num(n) => match number(n) {
                Some(Arg::Int(v)) => {
                    self.next();
                    Ok(if negative { v.wrapping_neg() } else { v })
                }
                _ => self.fail("an integer"),
            },
            _ => self.fail("an integer"),
        }
    }

    pub fn u32(&mut self) -> Result<u32, At> {
        let line = self.line();
        let v = self.int()?;
        u32::try_from(v).map_err(|_| At::new(line, format!("{v} does not fit 32 bits")))
    }

    /// Directives for the debugger end with their line.
    pub fn skip_line(&mut self) {
        let line = self.line();
        while self.line() == line && self.peek() != Tok::End {
            self.next();
        }
    }
}

/// A numeric literal: decimal, hexadecimal, octal or binary integer with an optional `U`, `0f`/`0d` bits, decimal float.
pub(crate) fn number(text: &str) -> Option<Arg> {
    let lower = text.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0f") {
        return (hex.len() == 8).then(|| u32::from_str_radix(hex, 16).ok().map(Arg::F32)).flatten();
    }
    if let Some(hex) = lower.strip_prefix("0d") {
        return (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok().map(Arg::F64)).flatten();
    }
    let digits = lower.strip_suffix('u').unwrap_or(&lower);
    let (digits, radix) = match digits {
        d if d.starts_with("0x") => (&d[2..], 16),
        d if d.starts_with("0b") => (&d[2..], 2),
        d if d.len() > 1 && d.starts_with('0') && !d.contains('.') && !d.contains('e') => (&d[1..], 8),
        d => (d, 10),
    };
    match u64::from_str_radix(digits, radix) {
        Ok(v) => Some(Arg::Int(v)),
        Err(_) if radix == 10 => digits.parse::<f64>().ok().map(|v| Arg::F64(v.to_bits())),
        Err(_) => None,
    }
}
