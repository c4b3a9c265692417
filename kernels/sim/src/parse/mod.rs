//! PTX text to its syntax tree: tokens (`lex`), directives (here), variables and functions (`declarations`), statements
//! (`body`).

pub(crate) mod ast;
mod body;
mod cursor;
mod declarations;
mod lex;

use self::ast::Ast;
use self::cursor::Parser;
use self::lex::Tok;
use crate::error::At;

/// Errors: what is not PTX, with the line.
pub(crate) fn parse(text: &str) -> Result<Ast, At> {
    let mut p = Parser::new(text)?;
    let mut ast = Ast::default();
    while p.peek() != Tok::End {
        p.top(&mut ast)?;
    }
    if ast.target.is_empty() {
        return Err(At::new(1, "no .target directive: is this PTX text?"));
    }
    Ok(ast)
}

impl Parser<'_> {
    /// One directive of the module.
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
}
