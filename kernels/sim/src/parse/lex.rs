//! PTX text to tokens.
//!
//! A word keeps its dots (`ld.global.v4.f32`, `%tid.x`; but `.reg.b32` is two words) and its double colons (`.L1::no_allocate`), so an
//! opcode with its modifiers is one token.

use crate::error::At;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Tok<'a> {
    Word(&'a str),
    Num(&'a str),
    Str(&'a str),
    Punct(char),
    End,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub tok: Tok<'a>,
    pub line: u32,
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'.' | b'%')
}

pub(crate) fn lex(text: &str) -> Result<Vec<Token<'_>>, At> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut i, mut line) = (0, 1u32);
    while i < bytes.len() {
        let (start, first_line) = (i, line);
        match bytes[i] {
            b'\n' => {
                line += 1;
                i += 1;
                continue;
            }
            c if c.is_ascii_whitespace() || c == 0 => {
                i += 1;
                continue;
            }
            b'/' if bytes.get(i + 1) == Some(&b'/') => {
                while i < bytes.len() && bytes[i] != b'\n' {
                    i += 1;
                }
                continue;
            }
            b'/' if bytes.get(i + 1) == Some(&b'*') => {
                i += 2;
                while !bytes[i..].starts_with(b"*/") {
                    if i >= bytes.len() {
                        return Err(At::new(first_line, "comment without an end"));
                    }
                    line += u32::from(bytes[i] == b'\n');
                    i += 1;
                }
                i += 2;
                continue;
            }
            b'"' => {
                i += 1;
                while i < bytes.len() && bytes[i] != b'"' {
                    if bytes[i] == b'\n' {
                        return Err(At::new(first_line, "string without an end"));
                    }
                    i += 1;
                }
                if i >= bytes.len() {
                    return Err(At::new(first_line, "string without an end"));
                }
                tokens.push(Token { tok: Tok::Str(&text[start + 1..i]), line });
                i += 1;
                continue;
            }
            c if c.is_ascii_digit() => {
                let hex = bytes[i..].len() > 1 && matches!(bytes[i + 1], b'x' | b'X' | b'f' | b'F' | b'd' | b'D');
                while i < bytes.len() {
                    let exponent =
                        !hex && i > start && matches!(bytes[i - 1], b'e' | b'E') && matches!(bytes[i], b'+' | b'-');
                    if !(bytes[i].is_ascii_alphanumeric() || matches!(bytes[i], b'_' | b'.') || exponent) {
                        break;
                    }
                    i += 1;
                }
                tokens.push(Token { tok: Tok::Num(&text[start..i]), line });
                continue;
            }
            c if is_word(c) => {
                i += 1;
                while i < bytes.len() {
                    // Directives may touch: `.reg.b32`.
                    if c == b'.' && bytes[i] == b'.' {
                        break;
                    }
                    if is_word(bytes[i]) {
                        i += 1;
                    } else if bytes[i..].starts_with(b"::") {
                        i += 2;
                    } else {
                        break;
                    }
                }
                tokens.push(Token { tok: Tok::Word(&text[start..i]), line });
                continue;
            }
            c if c.is_ascii() => {
                tokens.push(Token { tok: Tok::Punct(c as char), line });
                i += 1;
            }
            _ => return Err(At::new(line, "a character outside ASCII")),
        }
    }
    tokens.push(Token { tok: Tok::End, line });
    Ok(tokens)
}
