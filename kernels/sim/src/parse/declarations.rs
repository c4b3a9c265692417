//! Variables with their initial values, and functions with their parameters.

use super::ast::{Arg, Func, Init, Var};
use super::cursor::{Parser, number};
use super::lex::Tok;
use crate::error::At;
use crate::ty::{Space, Ty};

/// Bytes of one variable.
const MAX_BYTES: u32 = 1 << 30;

impl Parser<'_> {
    /// `.space [.align n] .type name[n] [= init] {, ...};`
    pub fn vars(&mut self) -> Result<Vec<Var>, At> {
        let head = self.var_head()?;
        let mut out = vec![self.var_name(head)?];
        while self.eat(',') {
            out.push(self.var_name(head)?);
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
            Ok(n) if n <= MAX_BYTES => n,
            _ => {
                return Err(At::new(line, format!("variable {name}: {size} bytes, at most {MAX_BYTES} are supported")));
            }
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
            return self.fail("at most 16 nested braces");
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

    pub fn func(&mut self) -> Result<Func, At> {
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
                // A launch has clusters of one block, which is at most any number.
                Tok::Word(".maxnreg" | ".maxnctapersm" | ".maxclusterrank") => {
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
                    let start = self.mark();
                    let body = self.body();
                    if let Err(e) = &body {
                        self.skip_block(start).map_err(|_| e.clone())?;
                    }
                    f.body = Some(body);
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
