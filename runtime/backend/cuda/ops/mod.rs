//! The operations on the CUDA kernels. What the backend knows of one lies together: the kernel's parameters, the shapes that it
//! takes, its entries and its launches. Here are those that work on rows; [`products`] and [`attention`] have the others.

mod attention;
mod products;

use super::balance::Division;
use super::entry::{self, Entry};
use super::launch::{Lowering, Scratch};
use super::params::*;
use crate::backend::{Precision, Unsupported};
use crate::plan::*;
use crate::quant::{self, pack};

/// What the backend knows of an operation.
pub trait Lower {
    /// Whether the kernels can do it in this phase. The refusal names what is in the way. Of a fused operation: beyond its parts.
    fn supports(&self, plan: &Plan, phase: Phase) -> Result<(), Unsupported>;

    /// The entries that its launches in this phase may be of.
    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry>;

    /// Adds its launches, which [`Lower::supports`] accepted.
    fn lower(&self, to: &mut Lowering);

    /// How its products of one row are divided on a device of this many SMs, if they are 16-bit products.
    fn division(&self, _plan: &Plan, _n_sms: u32) -> Option<Division> {
        None
    }

    /// The number format in which it multiplies. Of a fused operation: its parts say it.
    fn precision(&self, _plan: &Plan, _phase: Phase) -> Precision {
        Precision::F32
    }

    /// Bytes of scratch memory that it takes at the largest step, on a device of this many SMs. Of a fused operation: beyond its
    /// parts.
    fn scratch(&self, _plan: &Plan, _n_sms: u32) -> Vec<(Scratch, u64)> {
        vec![]
    }
}

/// What the backend knows of `op`.
pub fn of(op: &Op) -> &dyn Lower {
    match op {
        Op::Embed(op) => op,
        Op::Gather(op) => op,
        Op::RmsNorm(op) => op,
        Op::MatMul(op) => op,
        Op::Rope(op) => op,
        Op::KvStore(op) => op,
        Op::Attention(op) => op,
        Op::SwiGlu(op) => op,
        Op::Add(op) => op,
        Op::AddBias(op) => op,
        Op::Argmax(op) => op,
        Op::Fused(op) => products::of(op),
    }
}

/// Whether the kernels can do `op` and all of its parts.
pub fn supports(plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
    op.parts().iter().try_for_each(|part| of(part).supports(plan, phase))?;
    of(op).supports(plan, phase)
}

/// The parameters of all operations' kernels.
#[doc(hidden)]
pub fn layouts() -> Vec<Layout> {
    let rows = [
        EmbedParams::LAYOUT,
        GatherParams::LAYOUT,
        RmsNormParams::LAYOUT,
        RopeParams::LAYOUT,
        SwiGluParams::LAYOUT,
        AddParams::LAYOUT,
        AddBiasParams::LAYOUT,
        ArgmaxParams::LAYOUT,
    ];
    rows.into_iter().chain(products::LAYOUTS).chain(attention::LAYOUTS).collect()
}

fn refuse(refused: bool, what: impl FnOnce() -> String) -> Result<(), Unsupported> {
    if refused { Err(Unsupported(what())) } else { Ok(()) }
}

/// The refusal of a weight whose type the kernels do not read.
pub fn no_type(decl: &WeightDecl) -> String {
    format!("cannot read tensor {} of type {}", decl.name, decl.ty.name())
}

/// A weight that is read as a matrix.
fn matrix(plan: &Plan, w: Weight) -> Result<(), Unsupported> {
    let decl = &plan[w];
    refuse(!entry::reads(decl.ty), || no_type(decl))?;
    refuse(decl.cols > u32::MAX as u64 || decl.rows > u32::MAX as u64, || {
        format!(
            "cannot read tensor {} of shape ({}, {}): 32 bits count rows and columns",
            decl.name, decl.rows, decl.cols
        )
    })
}

/// A weight that is decoded to floats.
fn vector(plan: &Plan, w: Weight) -> Result<(), Unsupported> {
    refuse(quant::format(plan[w].ty).is_none(), || no_type(&plan[w]))
}

/// Rows that begin at whole float4s.
fn float4(plan: &Plan, b: Buf) -> Result<(), Unsupported> {
    let BufDecl { name, cols, .. } = &plan[b];
    refuse(!cols.is_multiple_of(4), || {
        format!("cannot take buffer {name} with rows of {cols} elements, only multiples of 4")
    })
}

mirror! {
    EmbedParams {
        out: DevicePtr,
        table: Planes,
        step: DevicePtr,
        next: DevicePtr,
        n_embd: u32,
        n_vocab: u32,
    }
}

impl Lower for Embed {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        matrix(plan, self.table)?;
        float4(plan, self.out)
    }

    fn entries(&self, plan: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::Embed(plan[self.table].ty)]
    }

    fn lower(&self, to: &mut Lowering) {
        let decl = &to.plan[self.table];
        let params = EmbedParams {
            out: to.buf(self.out),
            table: to.planes(self.table),
            step: to.addresses.step,
            next: self.next.map_or(0, |next| to.buf(next)),
            n_embd: decl.cols as u32,
            n_vocab: decl.rows as u32,
        };
        to.push_by_columns(Entry::Embed(decl.ty), row_chunks(decl) as u32, self.out, &params);
    }
}

/// Chunks of a row (kernels/formats/types.cuh): 16 bytes of quants, but no more than a unit; 0 of a type without planes.
fn row_chunks(decl: &WeightDecl) -> u64 {
    let units = decl.cols.div_ceil(pack::UNIT);
    pack::layout(decl.ty).map_or(0, |layout| units.max(layout.plane_bytes(0, 1, decl.cols) / 16))
}

mirror! {
    GatherParams {
        out: DevicePtr,
        x: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        reserved: u32,
    }
}

impl Lower for Gather {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        float4(plan, self.x)
    }

    fn entries(&self, _: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::Op(CoreKind::Gather)]
    }

    fn lower(&self, to: &mut Lowering) {
        let n_cols = to.plan[self.x].cols;
        let params =
            GatherParams { out: to.buf(self.out), x: to.buf(self.x), step: to.addresses.step, n_cols, reserved: 0 };
        to.push_by_columns(Entry::Op(CoreKind::Gather), n_cols / 4, self.out, &params);
    }
}

mirror! {
    RmsNormParams {
        out: DevicePtr,
        x: DevicePtr,
        w: DevicePtr,
        step: DevicePtr,
        n: u32,
        groups: u32,
        eps: f32,
        of_outputs: u32,
    }
}

impl Lower for RmsNorm {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        vector(plan, self.w)?;
        let n = plan[self.w].cols;
        refuse(!n.is_multiple_of(4), || format!("cannot normalize {n} elements, only multiples of 4"))
    }

    fn entries(&self, _: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::Op(CoreKind::RmsNorm)]
    }

    fn lower(&self, to: &mut Lowering) {
        let n = to.plan[self.w].cols as u32;
        let groups = to.plan[self.x].cols / n;
        let params = RmsNormParams {
            out: to.buf(self.out),
            x: to.buf(self.x),
            w: to.floats(self.w),
            step: to.addresses.step,
            n,
            groups,
            eps: self.eps,
            of_outputs: to.rows_are_outputs(self.x),
        };
        to.push(Entry::Op(CoreKind::RmsNorm), [to.rows(self.x) * groups, 1, 1], ROW_THREADS, &params);
    }
}

mirror! {
    RopeParams {
        x: DevicePtr,
        table: DevicePtr,
        step: DevicePtr,
        n_heads: u32,
        head_dim: u32,
        rope_dim: u32,
        halves: u32,
    }
}

impl Lower for Rope {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        vector(plan, self.table)?;
        refuse(!self.head_dim.is_multiple_of(2), || {
            format!("cannot rotate heads of {} elements, which is odd", self.head_dim)
        })
    }

    fn entries(&self, _: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::Op(CoreKind::Rope)]
    }

    fn lower(&self, to: &mut Lowering) {
        let rope_dim = to.plan[self.table].cols as u32;
        let n_heads = to.plan[self.x].cols / self.head_dim;
        let params = RopeParams {
            x: to.buf(self.x),
            table: to.floats(self.table),
            step: to.addresses.step,
            n_heads,
            head_dim: self.head_dim,
            rope_dim,
            halves: (self.pairing == Pairing::Halves) as u32,
        };
        to.push_by_columns(Entry::Op(CoreKind::Rope), n_heads * rope_dim / 2, self.x, &params);
    }
}

mirror! {
    SwiGluParams {
        out: DevicePtr,
        gate: DevicePtr,
        up: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        of_outputs: u32,
    }
}

impl Lower for SwiGlu {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        float4(plan, self.out)
    }

    fn entries(&self, _: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::Op(CoreKind::SwiGlu)]
    }

    fn lower(&self, to: &mut Lowering) {
        let params = SwiGluParams {
            out: to.buf(self.out),
            gate: to.buf(self.gate),
            up: to.buf(self.up),
            step: to.addresses.step,
            n_cols: to.plan[self.out].cols,
            of_outputs: to.rows_are_outputs(self.out),
        };
        to.push_by_columns(Entry::Op(CoreKind::SwiGlu), params.n_cols / 4, self.out, &params);
    }
}

mirror! {
    AddParams {
        out: DevicePtr,
        x: DevicePtr,
        y: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        of_outputs: u32,
    }
}

impl Lower for Add {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        float4(plan, self.out)
    }

    fn entries(&self, _: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::Op(CoreKind::Add)]
    }

    fn lower(&self, to: &mut Lowering) {
        let params = AddParams {
            out: to.buf(self.out),
            x: to.buf(self.x),
            y: to.buf(self.y),
            step: to.addresses.step,
            n_cols: to.plan[self.out].cols,
            of_outputs: to.rows_are_outputs(self.out),
        };
        to.push_by_columns(Entry::Op(CoreKind::Add), params.n_cols / 4, self.out, &params);
    }
}

mirror! {
    AddBiasParams {
        x: DevicePtr,
        b: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        of_outputs: u32,
    }
}

impl Lower for AddBias {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        vector(plan, self.b)?;
        float4(plan, self.x)
    }

    fn entries(&self, _: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::Op(CoreKind::AddBias)]
    }

    fn lower(&self, to: &mut Lowering) {
        let params = AddBiasParams {
            x: to.buf(self.x),
            b: to.floats(self.b),
            step: to.addresses.step,
            n_cols: to.plan[self.x].cols,
            of_outputs: to.rows_are_outputs(self.x),
        };
        to.push_by_columns(Entry::Op(CoreKind::AddBias), params.n_cols / 4, self.x, &params);
    }
}

mirror! {
    ArgmaxParams {
        out: DevicePtr,
        x: DevicePtr,
        parts: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        n_parts: u32,
    }
}

impl Lower for Argmax {
    fn supports(&self, _: &Plan, _: Phase) -> Result<(), Unsupported> {
        Ok(())
    }

    fn entries(&self, _: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::ArgmaxParts, Entry::Op(CoreKind::Argmax)]
    }

    fn lower(&self, to: &mut Lowering) {
        let (n_cols, rows) = (to.plan[self.x].cols, to.rows(self.x));
        let params = ArgmaxParams {
            out: to.buf(self.out),
            x: to.buf(self.x),
            parts: to.scratch(Scratch::Parts),
            step: to.addresses.step,
            n_cols,
            n_parts: n_cols.div_ceil(ARGMAX_PART),
        };
        to.push(Entry::ArgmaxParts, [params.n_parts, rows, 1], ARGMAX_THREADS, &params);
        to.push(Entry::Op(CoreKind::Argmax), [rows, 1, 1], WARP, &params);
    }

    fn scratch(&self, plan: &Plan, _: u32) -> Vec<(Scratch, u64)> {
        let parts = plan[self.x].cols.div_ceil(ARGMAX_PART) as u64;
        vec![(Scratch::Parts, 8 * parts * plan.max_rows(plan[self.x].rows) as u64)]
    }
}
