//! The statements of a function: labels, declarations, instructions and their operands.

use crate::error::At;
use crate::parse::ast::{Arg, AstInst, Stmt};
use crate::parse::cursor::{Parser, number};
use crate::parse::lex::Tok;
use crate::ty::Ty;

impl Parser<'_> {
    pub fn body(&mut self) -> Result<Vec<Stmt>, At> {
        let first = self.line();
        self.expect('{')?;
        let (mut depth, mut out) = (0, Vec::new());
        loop {
            match self.peek() {
                Tok::End => return Err(At::new(first, "function body without an end")),
                Tok::Punct('{') => {
                    self.next();
                    depth += 1;
                    if depth > 64 {
                        return self.fail("at most 64 nested blocks");
                    }
                    out.push(Stmt::Open);
                }
                Tok::Punct('}') => {
                    self.next();
                    if depth == 0 {
                        return Ok(out);
                    }
                    depth -= 1;
                    out.push(Stmt::Close);
                }
                Tok::Punct(';') => {
                    self.next();
                }
                Tok::Word(".loc" | ".file") => self.skip_line(),
                Tok::Word(".pragma") => {
                    self.next();
                    self.next();
                    self.expect(';')?;
                }
                Tok::Word(".reg") => self.regs(&mut out)?,
                Tok::Word(".shared" | ".local" | ".param" | ".global" | ".const") => {
                    out.extend(self.vars()?.into_iter().map(Stmt::Var));
                }
                Tok::Word(name) if self.peek_at(1) == Tok::Punct(':') => {
                    self.next();
                    self.next();
                    self.after_label(name, &mut out)?;
                }
                Tok::Word(_) | Tok::Punct('@') => {
                    let inst = self.inst()?;
                    out.push(Stmt::Inst(inst));
                }
                _ => return self.fail("an instruction"),
            }
        }
    }

    /// A label precedes an instruction, a `.branchtargets` list or a `.callprototype`, which is refused.
    fn after_label(&mut self, name: &str, out: &mut Vec<Stmt>) -> Result<(), At> {
        match self.peek() {
            Tok::Word(".branchtargets") => {
                self.next();
                let mut labels = vec![self.word()?.to_string()];
                while self.eat(',') {
                    labels.push(self.word()?.to_string());
                }
                self.expect(';')?;
                out.push(Stmt::Targets { name: name.to_string(), labels });
            }
            Tok::Word(".callprototype") => {
                return Err(At::new(self.line(), "indirect calls are not supported"));
            }
            _ => out.push(Stmt::Label(name.to_string())),
        }
        Ok(())
    }

    fn regs(&mut self, out: &mut Vec<Stmt>) -> Result<(), At> {
        self.next();
        let line = self.line();
        let word = self.word()?;
        let Some(ty) = word.strip_prefix('.').and_then(Ty::parse) else {
            return Err(At::new(line, format!("register type '{word}' is not supported")));
        };
        loop {
            let name = self.word()?.to_string();
            let count = if self.eat('<') {
                let n = self.u32()?;
                self.expect('>')?;
                Some(n)
            } else {
                None
            };
            out.push(Stmt::Reg { ty, name, count, line });
            if !self.eat(',') {
                break;
            }
        }
        self.expect(';')
    }

    fn inst(&mut self) -> Result<AstInst, At> {
        let mut guard = None;
        if self.eat('@') {
            let negated = self.eat('!');
            guard = Some((self.word()?.to_string(), negated));
        }
        let line = self.line();
        let op = self.word()?.split('.').map(str::to_string).collect();
        let mut args = Vec::new();
        if self.peek() != Tok::Punct(';') {
            loop {
                args.push(self.arg()?);
                if !self.eat(',') {
                    break;
                }
            }
        }
        self.expect(';')?;
        Ok(AstInst { guard, op, args, line })
    }

    fn arg(&mut self) -> Result<Arg, At> {
        let first = self.simple_arg()?;
        if self.eat('|') {
            let second = self.simple_arg()?;
            return Ok(Arg::Pair(first.into(), second.into()));
        }
        Ok(first)
    }

    fn simple_arg(&mut self) -> Result<Arg, At> {
        match self.peek() {
            Tok::Punct('{') => self.list('{', '}'),
            Tok::Punct('(') => self.list('(', ')'),
            Tok::Punct('[') => {
                self.next();
                let base = self.scalar()?;
                if self.eat(',') {
                    // Coordinates in a texture, a surface or a tensor map: instructions with them are refused by their names.
                    let coordinates = self.arg()?;
                    self.expect(']')?;
                    return Ok(Arg::List(vec![base, coordinates]));
                }
                let off = if self.peek() == Tok::Punct('+') {
                    self.next();
                    self.int()? as i64
                } else if self.peek() == Tok::Punct('-') {
                    self.int()? as i64
                } else {
                    0
                };
                self.expect(']')?;
                Ok(Arg::Addr(base.into(), off))
            }
            Tok::Punct('!') => {
                self.next();
                Ok(Arg::Not(self.scalar()?.into()))
            }
            _ => {
                let a = self.scalar()?;
                if let (Arg::Name(name), Tok::Punct('+')) = (&a, self.peek()) {
                    self.next();
                    let off = self.int()? as i64;
                    return Ok(Arg::Offset(name.clone(), off));
                }
                Ok(a)
            }
        }
    }

    fn list(&mut self, open: char, close: char) -> Result<Arg, At> {
        self.expect(open)?;
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(self.scalar()?);
            if !self.eat(',') && self.peek() != Tok::Punct(close) {
                return self.fail(&format!("',' or '{close}'"));
            }
        }
        Ok(Arg::List(items))
    }

    fn scalar(&mut self) -> Result<Arg, At> {
        let negative = self.eat('-');
        match self.peek() {
            Tok::Word(w) if !negative => {
                self.next();
                Ok(Arg::Name(w.to_string()))
            }
            Tok::Num(n) => {
                let Some(v) = number(n) else {
                    return self.fail("a number");
                };
                self.next();
                Ok(match v {
                    Arg::Int(v) if negative => Arg::Int(v.wrapping_neg()),
                    Arg::F32(v) if negative => Arg::F32(v ^ (1 << 31)),
                    Arg::F64(v) if negative => Arg::F64(v ^ (1 << 63)),
                    v => v,
                })
            }
            _ => self.fail("an operand"),
        }
    }
}
