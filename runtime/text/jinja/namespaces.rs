//! Namespaces of chat templates that stay where they are.
//!
//! Only a namespace can be changed, so only with namespaces can a template make a value that contains itself; the engine would
//! compare or hash such a value until the stack overflows, which ends the program. Templates set and read the attributes of a
//! namespace and hand it to macros, nothing else: so whatever could put one inside of another value is refused before anything
//! runs.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::machinery::Span;
use minijinja::machinery::ast::{Call, CallArg, Expr, Macro, Spanned, Stmt};

use crate::gguf::excerpt;
use crate::text::Error;

/// The function that makes them.
const MAKE: &str = "namespace";
/// Functions of the engine. A macro with such a name is none of which one can know what is called.
const FUNCTIONS: [&str; 10] =
    [MAKE, "range", "dict", "cycler", "joiner", "raise_exception", "strftime_now", "lipsum", "caller", "loop"];

/// Refuses a template in which a namespace is more than a variable with attributes.
///
/// Errors: `namespace` is called for anything but `{% set NAME = namespace(...) %}`; a variable that is set so anywhere in the
/// template, or is a parameter of a macro that gets one, is used other than as `NAME.attribute`, `NAME['attribute']`,
/// `NAME is defined` or `macro(NAME)`. Imports and includes, which could reach it by other ways, are left out of the engine.
pub(super) fn check(template: &Stmt) -> Result<(), Error> {
    let uses = Uses::of(template);
    let mut names = uses.made.clone();
    // A parameter that gets a namespace is the name of one, and may be handed on.
    while let Some(parameter) = uses.passed.iter().find(|(arg, to)| names.contains(arg) && !names.contains(to)) {
        names.insert(parameter.1);
    }
    let wrong = uses.others.iter().find(|(name, _)| *name == MAKE || names.contains(name));
    wrong.map_or(Ok(()), |(name, span)| {
        let what = excerpt(name);
        let problem = "namespaces may only be set as variables and used by their attributes";
        Err(Error::Template(format!("line {}: {what}: {problem}", span.start_line)))
    })
}

/// What a template does with names.
#[derive(Default)]
struct Uses<'t> {
    /// Variables that are set to new namespaces.
    made: BTreeSet<&'t str>,
    /// Arguments of macros that are names, with the parameters that get them.
    passed: Vec<(&'t str, &'t str)>,
    /// Names that are used in other ways, in the order of the template.
    others: Vec<(&'t str, Span)>,
}

/// What is still to look at.
enum Part<'t> {
    Stmt(&'t Stmt<'t>),
    Expr(&'t Expr<'t>),
}

impl<'t> Uses<'t> {
    fn of(template: &'t Stmt<'t>) -> Uses<'t> {
        let macros = macros(template);
        let mut uses = Uses::default();
        // A stack instead of recursion: expressions may be nested by the ten thousand.
        let mut parts = vec![Part::Stmt(template)];
        while let Some(part) = parts.pop() {
            let first = parts.len();
            match part {
                Part::Stmt(stmt) => uses.stmt(stmt, &macros, &mut parts),
                Part::Expr(expr) => uses.expr(expr, &macros, &mut parts),
            }
            parts[first..].reverse(); // what comes first is looked at first
        }
        uses
    }

    fn stmt(&mut self, stmt: &'t Stmt<'t>, macros: &Macros<'t>, parts: &mut Vec<Part<'t>>) {
        match stmt {
            Stmt::Set(set) => match &set.target {
                Expr::Var(_) => self.assignment(&set.target, &set.expr, parts),
                target => parts.extend([Part::Expr(target), Part::Expr(&set.expr)]),
            },
            Stmt::WithBlock(with) => {
                for (target, expr) in &with.assignments {
                    self.assignment(target, expr, parts);
                }
                parts.extend(with.body.iter().map(Part::Stmt));
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call, macros, parts);
                declaration(&block.macro_decl, parts);
            }
            Stmt::Macro(declared) => declaration(declared, parts),
            Stmt::Do(call) => self.call(&call.call, macros, parts),
            other => {
                let (exprs, stmts) = children(other);
                parts.extend(exprs.into_iter().map(Part::Expr));
                parts.extend(stmts.into_iter().map(Part::Stmt));
            }
        }
    }

    /// `target = expr`: the one place where a namespace may be made.
    fn assignment(&mut self, target: &'t Expr<'t>, expr: &'t Expr<'t>, parts: &mut Vec<Part<'t>>) {
        match (target, expr) {
            (Expr::Var(name), Expr::Call(call)) if matches!(&call.expr, Expr::Var(made) if made.id == MAKE) => {
                self.made.insert(name.id);
                self.arguments(&call.args, &[], parts);
            }
            (Expr::Var(_), expr) => parts.push(Part::Expr(expr)),
            (target, expr) => parts.extend([Part::Expr(target), Part::Expr(expr)]),
        }
    }

    fn call(&mut self, call: &'t Call<'t>, macros: &Macros<'t>, parts: &mut Vec<Part<'t>>) {
        let parameters = match &call.expr {
            Expr::Var(name) => macros.get(name.id),
            _ => None,
        };
        match (&call.expr, parameters) {
            (Expr::Var(_), Some(parameters)) => self.arguments(&call.args, parameters, parts),
            (callee, _) => {
                parts.push(Part::Expr(callee));
                self.arguments(&call.args, &[], parts);
            }
        }
    }

    /// Arguments of a call. `parameters`: of the macros that may be called; empty if it may be anything else.
    fn arguments(&mut self, args: &'t [CallArg<'t>], parameters: &[Vec<&'t str>], parts: &mut Vec<Part<'t>>) {
        for (at, arg) in args.iter().enumerate() {
            let (place, expr) = match arg {
                CallArg::Pos(expr) => (Some(at), expr),
                CallArg::Kwarg(_, expr) => (None, expr),
                CallArg::PosSplat(expr) | CallArg::KwargSplat(expr) => {
                    parts.push(Part::Expr(expr));
                    continue;
                }
            };
            let (Expr::Var(name), false) = (expr, parameters.is_empty()) else {
                parts.push(Part::Expr(expr));
                continue;
            };
            for declared in parameters {
                // A namespace that a macro has no parameter for reaches nothing.
                let parameter = match (place, arg) {
                    (Some(place), _) => declared.get(place),
                    (None, CallArg::Kwarg(by_name, _)) => declared.iter().find(|parameter| *parameter == by_name),
                    (None, _) => None,
                };
                self.passed.extend(parameter.map(|parameter| (name.id, *parameter)));
            }
        }
    }

    fn expr(&mut self, expr: &'t Expr<'t>, macros: &Macros<'t>, parts: &mut Vec<Part<'t>>) {
        match expr {
            Expr::Var(name) => self.others.push((name.id, name.span())),
            Expr::GetAttr(get) if is_name(&get.expr) => {}
            Expr::GetItem(get) if is_name(&get.expr) && matches!(get.subscript_expr, Expr::Const(_)) => {}
            Expr::Test(test) if is_name(&test.expr) && matches!(test.name, "defined" | "undefined") => {}
            Expr::Call(call) => self.call(call, macros, parts),
            other => parts.extend(operands(other).into_iter().map(Part::Expr)),
        }
    }
}

/// What is in a macro, but not its parameters.
fn declaration<'t>(declared: &'t Macro<'t>, parts: &mut Vec<Part<'t>>) {
    parts.extend(declared.defaults.iter().map(Part::Expr));
    parts.extend(declared.body.iter().map(Part::Stmt));
}

fn is_name(expr: &Expr) -> bool {
    matches!(expr, Expr::Var(name) if name.id != MAKE)
}

/// The parameters of the macros of each name that names nothing but macros.
type Macros<'t> = BTreeMap<&'t str, Vec<Vec<&'t str>>>;

fn macros<'t>(template: &'t Stmt<'t>) -> Macros<'t> {
    let (mut macros, mut variables) = (Macros::new(), BTreeSet::new());
    let mut rest = vec![template];
    while let Some(stmt) = rest.pop() {
        let declared: Option<&Spanned<Macro>> = match stmt {
            Stmt::Macro(declared) => {
                macros.entry(declared.name).or_default().push(parameters(declared));
                Some(declared)
            }
            Stmt::CallBlock(block) => Some(&block.macro_decl),
            _ => None,
        };
        let targets: Vec<&Expr> = match stmt {
            Stmt::Set(set) => vec![&set.target],
            Stmt::SetBlock(set) => vec![&set.target],
            Stmt::ForLoop(each) => vec![&each.target],
            Stmt::WithBlock(with) => with.assignments.iter().map(|(target, _)| target).collect(),
            _ => vec![],
        };
        variables.extend(targets.into_iter().flat_map(targeted));
        if let Some(declared) = declared {
            variables.extend(parameters(declared));
            rest.extend(&declared.body);
        }
        rest.extend(children(stmt).1);
        if let Stmt::WithBlock(with) = stmt {
            rest.extend(&with.body);
        }
    }
    macros.retain(|name, _| !variables.contains(name) && !FUNCTIONS.contains(name));
    macros
}

fn parameters<'t>(declared: &'t Macro<'t>) -> Vec<&'t str> {
    declared.args.iter().flat_map(targeted).collect()
}

/// The variables that an assignment sets.
fn targeted<'t>(target: &'t Expr<'t>) -> Vec<&'t str> {
    match target {
        Expr::Var(name) => vec![name.id],
        Expr::List(list) => list.items.iter().flat_map(targeted).collect(),
        Expr::Tuple(tuple) => tuple.items.iter().flat_map(targeted).collect(),
        _ => vec![],
    }
}

/// What is directly in a statement that the others do not treat by itself; targets of variables are left out.
fn children<'t>(stmt: &'t Stmt<'t>) -> (Vec<&'t Expr<'t>>, Vec<&'t Stmt<'t>>) {
    match stmt {
        Stmt::Template(template) => (vec![], template.children.iter().collect()),
        Stmt::EmitExpr(emit) => (vec![&emit.expr], vec![]),
        Stmt::ForLoop(each) => {
            let exprs = [&each.iter].into_iter().chain(&each.filter_expr).collect();
            (exprs, each.body.iter().chain(&each.else_body).collect())
        }
        Stmt::IfCond(cond) => (vec![&cond.expr], cond.true_body.iter().chain(&cond.false_body).collect()),
        Stmt::SetBlock(set) => {
            let target = Some(&set.target).filter(|target| !matches!(target, Expr::Var(_)));
            (target.into_iter().chain(&set.filter).collect(), set.body.iter().collect())
        }
        Stmt::AutoEscape(block) => (vec![&block.enabled], block.body.iter().collect()),
        Stmt::FilterBlock(block) => (vec![&block.filter], block.body.iter().collect()),
        Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => (vec![], vec![]),
        // These have methods of their own in Uses.
        Stmt::Set(_) | Stmt::WithBlock(_) | Stmt::CallBlock(_) | Stmt::Macro(_) | Stmt::Do(_) => (vec![], vec![]),
    }
}

/// The expressions that an expression is made of.
fn operands<'t>(expr: &'t Expr<'t>) -> Vec<&'t Expr<'t>> {
    let args = |args: &'t [CallArg<'t>]| {
        args.iter().map(|arg| match arg {
            CallArg::Pos(e) | CallArg::Kwarg(_, e) | CallArg::PosSplat(e) | CallArg::KwargSplat(e) => e,
        })
    };
    match expr {
        Expr::Var(_) | Expr::Const(_) => vec![],
        Expr::Slice(slice) => {
            [&slice.expr].into_iter().chain(&slice.start).chain(&slice.stop).chain(&slice.step).collect()
        }
        Expr::UnaryOp(op) => vec![&op.expr],
        Expr::BinOp(op) => vec![&op.left, &op.right],
        Expr::Compare(compare) => [&compare.expr].into_iter().chain(compare.ops.iter().map(|op| &op.expr)).collect(),
        Expr::IfExpr(cond) => [&cond.test_expr, &cond.true_expr].into_iter().chain(&cond.false_expr).collect(),
        Expr::Filter(filter) => filter.expr.iter().chain(args(&filter.args)).collect(),
        Expr::Test(test) => [&test.expr].into_iter().chain(args(&test.args)).collect(),
        Expr::GetAttr(get) => vec![&get.expr],
        Expr::GetItem(get) => vec![&get.expr, &get.subscript_expr],
        Expr::Call(call) => [&call.expr].into_iter().chain(args(&call.args)).collect(),
        Expr::List(list) => list.items.iter().collect(),
        Expr::Tuple(tuple) => tuple.items.iter().collect(),
        Expr::Map(map) => map.keys.iter().chain(&map.values).collect(),
    }
}
