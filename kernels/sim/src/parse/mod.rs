//! Tokens to [`Ast`]: directives, variables, functions. Statements are in `parse_body`.

use crate::error::At;
use crate::parse::ast::{Arg, Ast, Func, Init, Var};
use crate::parse::lex::{Tok, Token, lex};
use crate::ty::{Space, Ty};

pub(crate) mod ast;
mod body;
mod lex;

pub(crate) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

pub(crate) fn parse(text: &str) -> Result<Ast, At> {
    let mut p = Parser { tokens: lex(text)?, at: 0 };
    let mut ast = Ast::default();
    while p.peek() != Tok::End {
        p.top(&mut ast)?;
    }
    if ast.target.is_empty() {
        return Err(At::new(1, "no .target directive: is this PTX text?"));
    }
    Ok(ast)
}

impl<'a> Parser<'a> {
    pub fn peek(&self) -> Tok<'a> {
        self.tokens[self.at].tok
    }

    pub fn peek_at(&self, ahead: usize) -> Tok<'a> {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].tok
    }

    pub fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    pub fn next(&mut self) -> Tok<'a> {
        let tok = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        tok
    }

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

    fn top(&mut self, ast: &mut Ast) -> Result<(), At> {
        match self.peek() {
            Tok::Word(".version") => {
                self.next();
                self.next();
            }
            Tok::Word(".target") => {
                self.next();
                ast.target = self.word()?.to_string();
                while self.eat(',') {
                    self.word()?;
                }
            }
            Tok::Word(".address_size") => {
                self.next();
                let line = self.line();
                if self.u32()? != 64 {
                    return Err(At::new(line, "only .address_size 64 is supported"));
                }
            }
            Tok::Word(".file" | ".loc") => self.skip_line(),
            Tok::Word(".section") => {
                while !self.eat('{') {
                    if self.next() == Tok::End {
                        return self.fail("'{'");
                    }
                }
                while !self.eat('}') {
                    if self.next() == Tok::End {
                        return self.fail("'}'");
                    }
                }
            }
            Tok::Word(".visible" | ".extern" | ".weak" | ".common") => {
                self.next();
            }
            Tok::Word(".entry" | ".func") => {
                let f = self.func()?;
                ast.funcs.push(f);
            }
            Tok::Word(".global" | ".const" | ".shared") => {
                let mut vars = self.vars()?;
                ast.vars.append(&mut vars);
            }
            Tok::Word(w) if w.starts_with('.') => {
                return Err(At::new(self.line(), format!("directive '{w}' is not known")));
            }
            Tok::Punct(';') => {
                self.next();
            }
            _ => return self.fail("a directive"),
        }
        Ok(())
    }

    /// Directives for the debugger end with their line.
    pub fn skip_line(&mut self) {
        let line = self.line();
        while self.line() == line && self.peek() != Tok::End {
            self.next();
        }
    }

    /// `.space [.align n] .type name[n] [= init] {, ...};`
    pub fn vars(&mut self) -> Result<Vec<Var>, At> {
        let first = self.var_head()?;
        let mut out = Vec::new();
        let mut var = self.var_name(first)?;
        loop {
            let shape = first;
            out.push(var);
            if !self.eat(',') {
                break;
            }
            var = self.var_name(shape)?;
        }
        self.expect(';')?;
        Ok(out)
    }

    /// Space, alignment, bytes and number of the components of one element, line.
    fn var_head(&mut self) -> Result<(Space, u32, [u32; 2], u32), At> {
        let line = self.line();
        let space = match self.word()? {
            ".global" => Space::Global,
            ".const" => Space::Const,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".param" => Space::Param,
            w => return Err(At::new(line, format!("state space '{w}' is not known"))),
        };
        let (mut align, mut lanes, mut elem) = (0, 1, 0);
        while let Tok::Word(w) = self.peek() {
            match w {
                ".align" => {
                    self.next();
                    align = self.u32()?;
                    continue;
                }
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                ".ptr" | ".global" | ".shared" | ".const" | ".local" => {}
                _ => match w.strip_prefix('.').and_then(Ty::parse) {
                    Some(ty) => elem = ty.size(),
                    None => break,
                },
            }
            self.next();
        }
        if elem == 0 {
            return self.fail("a type");
        }
        Ok((space, if align == 0 { elem * lanes } else { align }, [elem, lanes], line))
    }

    fn var_name(&mut self, (space, align, [elem, lanes], line): (Space, u32, [u32; 2], u32)) -> Result<Var, At> {
        let name = self.word()?.to_string();
        let mut size = u64::from(elem * lanes);
        let mut unsized_array = false;
        while self.eat('[') {
            if self.eat(']') {
                unsized_array = true;
                continue;
            }
            size = size.saturating_mul(self.int()?);
            self.expect(']')?;
        }
        let mut init = Vec::new();
        if self.eat('=') {
            self.init(&mut init, 0)?;
        }
        if unsized_array {
            size = init.len() as u64 * u64::from(elem);
        }
        let size = match u32::try_from(size) {
            Ok(n) if n <= 1 << 30 => n,
            _ => return Err(At::new(line, format!("variable {name}: {size} bytes are too many"))),
        };
        if !align.is_power_of_two() || align > 4096 {
            return Err(At::new(line, format!("variable {name}: alignment {align} is not a power of two up to 4096")));
        }
        if init.len() as u64 * u64::from(elem) > u64::from(size) {
            return Err(At::new(line, format!("variable {name}: more initial values than elements")));
        }
        Ok(Var { space, name, align, size, init, elem, line })
    }

    fn init(&mut self, out: &mut Vec<Init>, depth: u32) -> Result<(), At> {
        if depth > 16 {
            return self.fail("fewer braces");
        }
        if self.eat('{') {
            while !self.eat('}') {
                self.init(out, depth + 1)?;
                if !self.eat(',') && self.peek() != Tok::Punct('}') {
                    return self.fail("',' or '}'");
                }
            }
            return Ok(());
        }
        match self.peek() {
            Tok::Word(mut w) => {
                self.next();
                if w == "generic" {
                    self.expect('(')?;
                    w = self.word()?;
                    self.expect(')')?;
                }
                let off = if self.eat('+') { self.int()? as i64 } else { 0 };
                out.push(Init::Symbol(w.to_string(), off));
            }
            _ => {
                let negative = self.eat('-');
                let Tok::Num(n) = self.peek() else {
                    return self.fail("a constant");
                };
                match number(n) {
                    Some(Arg::Int(v)) => out.push(Init::Bits(if negative { v.wrapping_neg() } else { v })),
                    Some(Arg::F32(v)) => out.push(Init::Bits(u64::from(v) ^ (u64::from(negative) << 31))),
                    Some(Arg::F64(v)) => out.push(Init::Float(v ^ (u64::from(negative) << 63))),
                    _ => return self.fail("a constant"),
                }
                self.next();
            }
        }
        Ok(())
    }

    fn param_list(&mut self) -> Result<Vec<Var>, At> {
        let mut out = Vec::new();
        if !self.eat('(') {
            return Ok(out);
        }
        while !self.eat(')') {
            if let Tok::Word(".reg") = self.peek() {
                return Err(At::new(self.line(), "parameters in registers (old ABI) are not supported"));
            }
            let head = self.var_head()?;
            out.push(self.var_name(head)?);
            if !self.eat(',') && self.peek() != Tok::Punct(')') {
                return self.fail("',' or ')'");
            }
        }
        Ok(out)
    }

    fn func(&mut self) -> Result<Func, At> {
        let line = self.line();
        let entry = self.word()? == ".entry";
        let rets = self.param_list()?;
        let name = self.word()?.to_string();
        let params = self.param_list()?;
        let mut f =
            Func { name, entry, rets, params, body: None, maxntid: None, reqntid: None, minnctapersm: None, line };
        loop {
            match self.peek() {
                Tok::Word(".maxntid") => {
                    self.next();
                    f.maxntid = Some(self.triple()?);
                }
                Tok::Word(".reqntid") => {
                    self.next();
                    f.reqntid = Some(self.triple()?);
                }
                Tok::Word(".minnctapersm") => {
                    self.next();
                    f.minnctapersm = Some(self.u32()?);
                }
                Tok::Word(".maxnreg" | ".maxnctapersm") => {
                    self.next();
                    self.u32()?;
                }
                Tok::Word(".noreturn") => {
                    self.next();
                }
                Tok::Word(".pragma") => {
                    self.next();
                    self.next();
                    self.expect(';')?;
                }
                Tok::Punct(';') => {
                    self.next();
                    return Ok(f);
                }
                Tok::Punct('{') => {
                    f.body = Some(self.body()?);
                    return Ok(f);
                }
                Tok::Word(w) if w.starts_with('.') => {
                    return Err(At::new(self.line(), format!("directive '{w}' is not known")));
                }
                _ => return self.fail("'{' or ';'"),
            }
        }
    }

    fn triple(&mut self) -> Result<[u32; 3], At> {
        let mut t = [1; 3];
        t[0] = self.u32()?;
        for v in &mut t[1..] {
            if !self.eat(',') {
                break;
            }
            *v = self.u32()?;
        }
        Ok(t)
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
