//! Refuses chat templates that store a namespace in another value.
//!
//! Namespaces are the only values that a template can change, so only with them can it make a value that contains
//! itself. The engine compares or hashes such a value until the stack overflows, which ends the program. Real templates
//! only set and read attributes of a namespace. So all other uses, which could put it inside another value, are refused
//! before the template runs.

use std::collections::BTreeSet;

use minijinja::Environment;
use minijinja::machinery::{Instruction, Instructions, get_compiled_template};

use super::Error;
use crate::gguf::excerpt;

/// The template function that creates a namespace.
const MAKE: &str = "namespace";

/// Refuses a template in which a namespace is more than a variable with attributes.
///
/// Errors: `namespace` is used outside of `{% set NAME = namespace(...) %}`; a variable that is set in this way
/// anywhere in the template is used other than as `NAME.attribute`, `NAME['attribute']` or `NAME is defined`. The
/// engine has no imports and blocks, which could reach the variable in other ways.
pub(super) fn check(engine: &Environment, name: &str) -> Result<(), Error> {
    let template = engine.get_template(name).map_err(|e| Error::Template(e.to_string()))?;
    let code = &get_compiled_template(&template).instructions;
    let mut names = BTreeSet::new();
    for at in (0..).take_while(|at| code.get(*at).is_some()) {
        match (code.get(at), code.get(at + 1)) {
            (Some(Instruction::CallFunction(MAKE, _)), Some(Instruction::StoreLocal(name))) => {
                names.insert(*name);
            }
            (Some(Instruction::CallFunction(MAKE, _)), _) => return Err(refusal(code, at, MAKE)),
            _ => {}
        }
    }
    for at in (0..).take_while(|at| code.get(*at).is_some()) {
        match code.get(at) {
            Some(Instruction::Lookup(MAKE)) => return Err(refusal(code, at, MAKE)),
            Some(Instruction::Lookup(name)) if names.contains(name) && !is_by_attribute(code, at) => {
                return Err(refusal(code, at, name));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the use of the variable that instruction `at` looks up leaves only one of its attributes, or a bool.
fn is_by_attribute(code: &Instructions, at: u32) -> bool {
    let attribute = matches!(code.get(at + 1), Some(Instruction::GetAttr(_) | Instruction::SetAttr(_)));
    let item = [code.get(at + 1), code.get(at + 2)];
    let item = matches!(item, [Some(Instruction::LoadConst(_)), Some(Instruction::GetItem)]);
    let test = matches!(code.get(at + 1), Some(Instruction::PerformTest("defined" | "undefined", ..)));
    attribute || item || test
}

fn refusal(code: &Instructions, at: u32, what: &str) -> Error {
    let line = code.get_line(at).map_or(String::new(), |line| format!("line {line}: "));
    let what = excerpt(what);
    Error::Template(format!("{line}{what}: namespaces may only be set as variables and used by their attributes"))
}
