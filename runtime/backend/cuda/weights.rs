//! Weights in device memory: matrices in planes, vectors and rotation tables as floats.

use super::driver::{Driver, Ptr};
use super::kernels::Kernels;
use super::lower::Call;
use super::params::{Planes, REPACK_THREADS, RepackParams};
use crate::plan::{Op, Plan, Weight, WeightDecl, Weights};
use crate::quant::pack::PlaneKind;
use crate::quant::{self, GgmlType, pack};
use std::collections::{HashMap, HashSet};

/// Bytes of the file that are uploaded and repacked at a time, where a row is not longer: enough to keep a GPU busy.
const PIECE: u64 = 64 << 20;

/// Addresses of a plan's weights.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tensors {
    /// Those that matrix products and embeddings read.
    pub matrices: HashMap<Weight, Planes>,
    /// Vectors and rotation tables: rows of f32, whatever the file's type.
    pub floats: HashMap<Weight, Ptr>,
}

/// Weights by how kernels read them, in the order of the plan.
pub struct Uses {
    pub matrices: Vec<Weight>,
    pub floats: Vec<Weight>,
}

impl Uses {
    pub fn of(plan: &Plan) -> Uses {
        let (mut matrices, mut floats) = (HashSet::new(), HashSet::new());
        for op in plan.decode.iter().chain(&plan.prefill).flat_map(Op::parts) {
            match op {
                Op::Embed(_) | Op::MatMul(_) => matrices.extend(op.weights()),
                _ => floats.extend(op.weights()),
            }
        }
        let ordered = |set: HashSet<Weight>| {
            let all = (0..plan.weights.len() as u32).map(Weight);
            all.filter(|w| set.contains(w)).collect()
        };
        Uses { matrices: ordered(matrices), floats: ordered(floats) }
    }

    /// Bytes of device memory that the weights take.
    pub fn bytes(&self, plan: &Plan) -> u64 {
        let matrix = |w: &Weight| match pack::layout(plan[*w].ty) {
            Some(layout) => plane_bytes(layout, plan[*w].rows, plan[*w].cols).sum(),
            None => plan[*w].bytes(), // refused by `supports`
        };
        self.matrices.iter().map(matrix).sum::<u64>() + self.float_bytes(plan)
    }

    /// Bytes of those that are vectors and tables.
    pub fn float_bytes(&self, plan: &Plan) -> u64 {
        self.floats.iter().map(|w| 4 * plan[*w].elements()).sum()
    }

    /// Bytes of the buffer that pieces of the file are repacked from.
    pub fn piece_bytes(&self, plan: &Plan) -> u64 {
        self.matrices.iter().map(|w| piece_rows(&plan[*w]) * plan[*w].row_bytes()).max().unwrap_or(0)
    }
}

/// How entries call the type: `q4_0`.
pub fn type_name(ty: GgmlType) -> String {
    ty.name().to_lowercase()
}

/// Bytes of each plane of some rows, in the order of the layout. The kernels' planes are as large as those of
/// [`quant::pack`]; only the order of bits differs.
fn plane_bytes(layout: &pack::Layout, rows: u64, cols: u64) -> impl Iterator<Item = u64> {
    (0..layout.planes.len()).map(move |p| layout.plane_bytes(p, rows, cols))
}

/// Chunks of a row (kernels/formats/types.cuh): 16 bytes of quants, but no more than a unit; 0 of a type without planes.
pub fn row_chunks(decl: &WeightDecl) -> u64 {
    let units = decl.cols.div_ceil(pack::UNIT);
    pack::layout(decl.ty).map_or(0, |layout| units.max(layout.plane_bytes(0, 1, decl.cols) / 16))
}

/// Rows of a piece: as many as fit, one at least.
fn piece_rows(decl: &WeightDecl) -> u64 {
    (PIECE / decl.row_bytes()).clamp(1, decl.rows)
}

/// The address of a plane.
fn plane(planes: &mut Planes, kind: PlaneKind) -> &mut Ptr {
    match kind {
        PlaneKind::Elements | PlaneKind::Quants => &mut planes.quants,
        PlaneKind::Highs => &mut planes.high,
        PlaneKind::Scales => &mut planes.scales,
        PlaneKind::Supers => &mut planes.supers,
    }
}

/// Brings weights to the device, piece by piece.
pub struct Loader<'a, D> {
    pub plan: &'a Plan,
    pub weights: &'a Weights,
    pub driver: &'a mut D,
    pub kernels: &'a Kernels,
    /// Everything allocated, for freeing.
    pub allocated: &'a mut Vec<Ptr>,
    /// Told the bytes of the file that are done.
    pub progress: &'a mut dyn FnMut(u64),
    pub done: u64,
}

impl<D: Driver> Loader<'_, D> {
    pub fn load(&mut self, uses: &Uses) -> Result<Tensors, String> {
        let mut tensors = Tensors::default();
        let raw = self.driver.alloc(uses.piece_bytes(self.plan))?;
        let matrices: Result<_, String> = uses.matrices.iter().map(|w| Ok((*w, self.matrix(*w, raw)?))).collect();
        self.driver.free(raw);
        tensors.matrices = matrices?;
        for w in &uses.floats {
            tensors.floats.insert(*w, self.floats(*w)?);
        }
        Ok(tensors)
    }

    fn alloc(&mut self, decl: &WeightDecl, bytes: u64) -> Result<Ptr, String> {
        let ptr = self.driver.alloc(bytes).map_err(|e| format!("{bytes} bytes of tensor {}: {e}", decl.name))?;
        self.allocated.push(ptr);
        Ok(ptr)
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.done += bytes.len() as u64;
        (self.progress)(self.done);
    }

    fn matrix(&mut self, w: Weight, raw: Ptr) -> Result<Planes, String> {
        let decl = &self.plan[w];
        let layout = pack::layout(decl.ty).ok_or_else(|| no_type(decl))?;
        let mut planes = Planes { units: decl.cols.div_ceil(pack::UNIT) as u32, ..Planes::default() };
        for (p, bytes) in plane_bytes(layout, decl.rows, decl.cols).enumerate() {
            *plane(&mut planes, layout.planes[p].kind) = self.alloc(decl, bytes)?;
        }
        let entry = format!("repack_{}", type_name(decl.ty));
        let step = piece_rows(decl);
        for first in (0..decl.rows).step_by(step as usize) {
            let n_rows = step.min(decl.rows - first);
            let in_file = first * decl.row_bytes()..(first + n_rows) * decl.row_bytes();
            let bytes = &self.weights[w][in_file.start as usize..in_file.end as usize];
            self.driver.upload(raw, bytes)?;

            let mut to = planes;
            for (p, offset) in plane_bytes(layout, first, decl.cols).enumerate() {
                *plane(&mut to, layout.planes[p].kind) += offset;
            }
            let params = RepackParams {
                quants: to.quants,
                high: to.high,
                scales: to.scales,
                supers: to.supers,
                blocks: raw,
                n_rows,
                n_cols: decl.cols as u32,
                units: planes.units,
            };
            let blocks = (n_rows * planes.units as u64).div_ceil(REPACK_THREADS as u64);
            let blocks = u32::try_from(blocks).map_err(|_| format!("tensor {}: rows too long to repack", decl.name))?;
            let call = Call::new(entry.clone(), [blocks, 1, 1], REPACK_THREADS, &params);
            let serves = format!("tensor {}", decl.name);
            self.driver.launch(&call.launch(self.kernels, &serves, false)?)?;
            self.advance(bytes);
        }
        Ok(planes)
    }

    fn floats(&mut self, w: Weight) -> Result<Ptr, String> {
        let decl = &self.plan[w];
        let at = self.alloc(decl, 4 * decl.elements())?;
        let step = piece_rows(decl);
        let mut floats: Vec<f32> = vec![];
        for first in (0..decl.rows).step_by(step as usize) {
            let n_rows = step.min(decl.rows - first);
            let in_file = first * decl.row_bytes()..(first + n_rows) * decl.row_bytes();
            let bytes = &self.weights[w][in_file.start as usize..in_file.end as usize];
            let to = at + 4 * first * decl.cols;
            if decl.ty == GgmlType::F32 {
                self.driver.upload(to, bytes)?;
            } else {
                floats.resize((n_rows * decl.cols) as usize, 0.0);
                quant::decode(decl.ty, bytes, &mut floats);
                self.driver.upload(to, bytemuck::cast_slice(&floats))?;
            }
            self.advance(bytes);
        }
        Ok(at)
    }
}

pub fn no_type(decl: &WeightDecl) -> String {
    format!("cannot read tensor {} of type {}", decl.name, decl.ty.name())
}
