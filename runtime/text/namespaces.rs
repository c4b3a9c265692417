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
/// template is used other than as `NAME.attribute`, `NAME['attribute']` or `NAME is defined`; a template with namespaces is
/// imported, which makes its variables members of a module.
pub(super) fn check(engine: &Environment, name: &str) -> Result<(), Error> {
    let template = engine.get_template(name).map_err(|e| Error::Template(e.to_string()))?;
    let compiled = get_compiled_template(&template);
    let parts: Vec<&Instructions> = [&compiled.instructions].into_iter().chain(compiled.blocks.values()).collect();
    let mut names = BTreeSet::new();
    for part in &parts {
        for at in (0..).take_while(|at| part.get(*at).is_some()) {
            match (part.get(at), part.get(at + 1)) {
                (Some(Instruction::CallFunction(MAKE, _)), Some(Instruction::StoreLocal(name))) => {
                    names.insert(*name);
                }
                (Some(Instruction::CallFunction(MAKE, _)), _) => return Err(refusal(part, at, MAKE)),
                _ => {}
            }
        }
    }
    for part in &parts {
        for at in (0..).take_while(|at| part.get(*at).is_some()) {
            match part.get(at) {
                Some(Instruction::Lookup(MAKE)) => return Err(refusal(part, at, MAKE)),
                Some(Instruction::Lookup(name)) if names.contains(name) && !is_by_attribute(part, at) => {
                    return Err(refusal(part, at, name));
                }
                Some(Instruction::ExportLocals) if !names.is_empty() => return Err(refusal(part, at, "import")),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether what is done with the variable that instruction `at` looks up leaves only an attribute of it, or a bool.
fn is_by_attribute(part: &Instructions, at: u32) -> bool {
    let attribute = matches!(part.get(at + 1), Some(Instruction::GetAttr(_) | Instruction::SetAttr(_)));
    let item = [part.get(at + 1), part.get(at + 2)];
    let item = matches!(item, [Some(Instruction::LoadConst(_)), Some(Instruction::GetItem)]);
    let test = matches!(part.get(at + 1), Some(Instruction::PerformTest("defined" | "undefined", ..)));
    attribute || item || test
}

fn refusal(part: &Instructions, at: u32, what: &str) -> Error {
    let line = part.get_line(at).map_or(String::new(), |line| format!("line {line}: "));
    let what = excerpt(what);
    Error::Template(format!("{line}{what}: namespaces may only be set as variables and used by their attributes"))
}
