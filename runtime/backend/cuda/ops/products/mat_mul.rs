//! The product alone, with a residual, and as the head of a model: one kernel.

use super::*;

mirror! {
    MatMulParams {
        input: Input,
        w: Planes,
        residual: DevicePtr,
        out: DevicePtr,
        chosen: DevicePtr,
        best: DevicePtr,
        arrived: DevicePtr,
        step: DevicePtr,
        n_rows: u32,
        first_row: u32,
    }
}

impl Rowed for MatMul {
    fn blocks(&self, plan: &Plan, n: u32) -> [u32; 2] {
        [plan[self.out].cols.div_ceil(2).div_ceil(n), 0]
    }
}

fn as_product(plan: &Plan, op: &MatMul) -> Product {
    product(plan, CoreKind::MatMul, op.w, op.w)
}

fn division_of(plan: &Plan, n_sms: u32, op: &MatMul) -> Option<Division> {
    division(plan, n_sms, as_product(plan, op), op.blocks(plan, 1), plan[op.w].cols as u32)
}

/// A launch of the kernel.
struct Launched<'a> {
    product: &'a MatMul,
    input: Rowwise<'a>,
    /// What is added to the product.
    residual: Option<Buf>,
    out: Buf,
    /// Receives the index of the largest result of each row.
    chosen: Option<Buf>,
}

impl Launched<'_> {
    fn push(self, to: &mut Lowering) {
        let Launched { product, input, residual, out, chosen } = self;
        let to_plan = to.plan;
        let n_rows = to_plan[out].cols;
        let blocks = |n| product.blocks(to_plan, n);
        to.push_product(as_product(to_plan, product), input, blocks, |to, input| MatMulParams {
            input,
            w: to.planes(product.w),
            residual: residual.map_or(0, |residual| to.buf(residual)),
            out: to.buf(out),
            chosen: chosen.map_or(0, |chosen| to.buf(chosen)),
            best: to.scratch(Scratch::Best),
            arrived: to.scratch(Scratch::Arrived),
            step: to.addresses.step,
            n_rows,
            first_row: product.first_row,
        });
    }
}

impl Lower for MatMul {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        matrix(plan, self.w)?;
        float4(plan, self.x)?;
        let most = VEC_PAIRS * MAX_BLOCKS; // a pair has one row at least
        let rows = plan[self.out].cols;
        refuse(rows > most, || format!("cannot multiply {rows} rows of tensor {}, at most {most}", plan[self.w].name))
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        entries(plan, phase, as_product(plan, self))
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division_of(plan, n_sms, self)
    }

    fn lower(&self, to: &mut Lowering) {
        Launched { product: self, input: Rowwise::plain(self.x), residual: None, out: self.out, chosen: None }.push(to);
    }

    fn precision(&self, plan: &Plan, phase: Phase) -> Precision {
        match phase {
            _ if !rounds(plan) => Precision::F32,
            Phase::Prefill => Precision::F16,
            Phase::Decode if is_quantized(plan[self.w].ty) => Precision::I16,
            Phase::Decode => Precision::F32,
        }
    }

    fn scratch(&self, plan: &Plan, _: u32) -> Vec<(Scratch, u64)> {
        let (w, rows) = (&plan[self.w], plan.max_rows(plan[self.x].rows));
        if !rounds(plan) {
            return vec![];
        }
        let few = is_quantized(w.ty) && rows > 1;
        let few = if few { Staging::I8x2.halves(w.cols) } else { 0 };
        let many = if rows > DECODE_TOKENS { rows as u64 * Staging::of(w.ty).halves(w.cols) } else { 0 };
        vec![(Scratch::Staged, 2 * few.max(many)), (Scratch::RowScale, 4 * rows.max(ROWS_TOKENS) as u64)]
    }
}

impl Lower for MatMulAdd {
    fn supports(&self, _: &Plan, _: Phase) -> Result<(), Unsupported> {
        Ok(())
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        self.product.entries(plan, phase)
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division_of(plan, n_sms, &self.product)
    }

    fn lower(&self, to: &mut Lowering) {
        let MatMulAdd { product, add } = self;
        let residual = Some(self.residual());
        Launched { product, input: Rowwise::plain(product.x), residual, out: add.out, chosen: None }.push(to);
    }
}

impl Lower for GatherNormMatMulArgmax {
    /// Rows of prefill are staged for tensor cores: there, launches cost little beside the product.
    fn supports(&self, _: &Plan, phase: Phase) -> Result<(), Unsupported> {
        refuse(phase == Phase::Prefill, || "the head is fused in decode alone".to_string())
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        self.product.entries(plan, phase)
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division_of(plan, n_sms, &self.product)
    }

    fn lower(&self, to: &mut Lowering) {
        let GatherNormMatMulArgmax { gather, norm, product, argmax } = self;
        let input = Rowwise { x: gather.x, rows: gather.out, norm: Some(norm) };
        Launched { product, input, residual: None, out: product.out, chosen: Some(argmax.out) }.push(to);
    }

    fn scratch(&self, plan: &Plan, _: u32) -> Vec<(Scratch, u64)> {
        let rows = plan.max_rows(plan[self.product.out].rows) as u64;
        vec![(Scratch::Best, 8 * rows), (Scratch::Arrived, 4 * rows)]
    }
}
