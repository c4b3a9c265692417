//! A loaded module: its kernels, and its variables in global and constant space.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{At, LoadError};
use crate::ir::{Param, Program};
use crate::lower::lower;
use crate::parse::ast::Init;
use crate::parse::parse;
use crate::ty::Space;

/// A module variable in global or constant space.
#[derive(Debug)]
pub(crate) struct GlobalVar {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Places where the address of another variable goes: offset, variable, addend.
    pub pointers: Vec<(usize, usize, i64)>,
    /// Places of the addresses of functions: they have no value, so that a read of one is found.
    pub functions: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct ModuleData {
    pub id: u64,
    pub name: String,
    pub target: String,
    pub globals: Vec<GlobalVar>,
    kernels: Vec<Arc<Program>>,
    /// Kernels that cannot run, and why.
    refused: Vec<(String, LoadError)>,
}

/// PTX text, decoded. A clone shares the module.
#[derive(Debug, Clone)]
pub struct Module(pub(crate) Arc<ModuleData>);

/// One kernel of a module.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub(crate) module: Arc<ModuleData>,
    pub(crate) program: Arc<Program>,
}

impl Module {
    /// Decodes every kernel. `name` stands in error messages.
    ///
    /// Errors: a directive that is not known, with its line. What is not known in a kernel, or in a function that it calls, refuses that
    /// kernel ([`Module::refusal`]), and the text if it refuses each of its kernels.
    pub fn load(name: &str, ptx: &str) -> Result<Module, LoadError> {
        load(name, ptx).map_err(|e| e.of(name))
    }

    /// The name given to [`Module::load`].
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The `.target`, e.g. `sm_80`.
    pub fn target(&self) -> &str {
        &self.0.target
    }

    /// The kernel of this name, if the module has one.
    pub fn kernel(&self, name: &str) -> Option<Kernel> {
        let program = self.0.kernels.iter().find(|k| k.name == name)?.clone();
        Some(Kernel { module: self.0.clone(), program })
    }

    /// Why the kernel of this name cannot run, if the text has it and it was refused.
    pub fn refusal(&self, name: &str) -> Option<&LoadError> {
        self.0.refused.iter().find(|(kernel, _)| kernel == name).map(|(_, why)| why)
    }

    /// Names of the kernels that were refused, and why, in the order of the text.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &LoadError)> {
        self.0.refused.iter().map(|(kernel, why)| (kernel.as_str(), why))
    }

    /// Names of the kernels, in the order of the text.
    pub fn kernel_names(&self) -> impl Iterator<Item = &str> {
        self.0.kernels.iter().map(|k| k.name.as_str())
    }

    /// Names of the variables in global and constant space.
    pub fn globals(&self) -> impl Iterator<Item = &str> {
        self.0.globals.iter().map(|g| g.name.as_str())
    }

    /// Bytes of the variable of this name, if the module has one.
    pub fn global_bytes(&self, name: &str) -> Option<u64> {
        self.0.globals.iter().find(|g| g.name == name).map(|g| g.bytes.len() as u64)
    }
}

impl Kernel {
    /// Name of the entry.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Layout of the parameter block that [`crate::Device::launch`] takes.
    pub fn params(&self) -> &[Param] {
        &self.program.params
    }

    /// Bytes of the parameter block.
    pub fn param_bytes(&self) -> u32 {
        self.program.param_bytes
    }

    /// Bytes of statically declared shared memory.
    pub fn static_shared(&self) -> u32 {
        self.program.static_shared
    }

    /// Bytes of local memory per thread (arrays and call frames).
    pub fn local_bytes(&self) -> u32 {
        self.program.local_bytes
    }

    /// `.maxntid` or `.reqntid`: threads per block at most, per axis.
    pub fn max_threads(&self) -> Option<[u32; 3]> {
        self.program.maxntid.or(self.program.reqntid)
    }
}

fn load(name: &str, ptx: &str) -> Result<Module, At> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let ast = parse(ptx)?;
    // Variables declared inside functions with `.global` or `.const` do not occur in compiled PTX and are refused by `lower`.
    let vars: Vec<_> = ast.vars.iter().filter(|v| matches!(v.space, Space::Global | Space::Const)).collect();
    let index: HashMap<String, usize> = vars.iter().enumerate().map(|(i, v)| (v.name.clone(), i)).collect();
    let mut globals = Vec::new();
    for v in &vars {
        let mut bytes = vec![0; v.size as usize];
        let (mut pointers, mut functions) = (Vec::new(), Vec::new());
        for (k, init) in v.init.iter().enumerate() {
            let (at, n) = (k * v.elem as usize, v.elem as usize);
            match init {
                Init::Bits(bits) => bytes[at..at + n.min(8)].copy_from_slice(&bits.to_le_bytes()[..n.min(8)]),
                Init::Float(bits) if n == 4 => {
                    bytes[at..at + 4].copy_from_slice(&(f64::from_bits(*bits) as f32).to_le_bytes());
                }
                Init::Float(bits) if n == 8 => bytes[at..at + 8].copy_from_slice(&bits.to_le_bytes()),
                Init::Float(_) => {
                    return Err(At::new(v.line, format!("variable {}: a float in {n} bytes is not supported", v.name)));
                }
                Init::Symbol(s, off) => match index.get(s) {
                    Some(&g) if n == 8 => pointers.push((at, g, *off)),
                    None if n == 8 && ast.funcs.iter().any(|f| &f.name == s) => functions.push(at),
                    _ => {
                        return Err(At::new(
                            v.line,
                            format!("variable {}: initial value {s} is not the address of a variable", v.name),
                        ));
                    }
                },
            }
        }
        globals.push(GlobalVar { name: v.name.clone(), bytes, pointers, functions });
    }
    let (mut kernels, mut refused) = (Vec::new(), Vec::new());
    let mut first = None;
    for f in ast.funcs.iter().filter(|f| f.entry && f.body.is_some()) {
        match lower(&ast, f, &index) {
            Ok(program) => kernels.push(Arc::new(program)),
            Err(e) => {
                first.get_or_insert_with(|| e.clone());
                refused.push((f.name.clone(), e.of(name)));
            }
        }
    }
    if let Some(e) = first.filter(|_| kernels.is_empty()) {
        return Err(e);
    }
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(Module(Arc::new(ModuleData { id, name: name.to_string(), target: ast.target, globals, kernels, refused })))
}
