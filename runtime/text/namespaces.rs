//! Namespaces of chat templates that stay where they are.
//!
//! Only a namespace can be changed, so only with namespaces can a template make a value that contains itself; the engine would
//! compare or hash such a value until the stack overflows, which ends the program. Templates set and read the attributes of a
//! namespace, nothing else: so whatever could put one inside of another value is refused before anything runs.

use std::collections::BTreeSet;

use minijinja::Environment;
use minijinja::machinery::{Instruction, Instructions, get_compiled_template};

use super::Error;
use crate::gguf::excerpt;

/// The function that makes them.
const MAKE: &str = "namespace";

/// Refuses a template in which a namespace is more than a variable with attributes.
///
/// Errors: `namespace` is called for anything but `{% set NAME = namespace(...) %}`; a variable that was set so anywhere in the
/// template is used other than as `NAME.attribute`, `NAME['attribute']` or `NAME is defined`. Imports and blocks, which could reach
/// it by other ways, are left out of the engine.
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

/// Whether what is done with the variable that instruction `at` looks up leaves only an attribute of it, or a bool.
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
