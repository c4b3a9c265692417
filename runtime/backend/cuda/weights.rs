//! Weights in device memory: matrices in planes, vectors and rotation tables as floats.

use super::driver::{Allocations, Driver, Ptr, Purpose};
use super::entry::Entry;
use super::kernels::Kernels;
use super::launch::{Call, WeightAddresses};
use super::ops::no_type;
use super::params::{Planes, REPACK_THREADS, RepackParams};
use crate::plan::{Op, Plan, Weight, WeightDecl, Weights};
use crate::quant::pack::PlaneKind;
use crate::quant::{self, GgmlType, pack};
use std::collections::HashSet;

/// Bytes of the file that are uploaded and repacked at a time, where a row is not longer: enough to keep a GPU busy.
const PIECE: u64 = 64 << 20;

/// Weights by how kernels read them, in the order of the plan.
pub struct Uses {
    /// Those that matrix products and embeddings read.
    pub matrices: Vec<Weight>,
    /// Vectors and rotation tables.
    pub floats: Vec<Weight>,
}

impl Uses {
    /// How a plan's operations read its weights.
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
            Some(layout) => planes(layout, plan[*w].rows, plan[*w].cols).map(|(_, bytes)| bytes).sum::<u64>(),
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

/// Each plane of some rows, and its bytes. The kernels' planes are as large as those of [`quant::pack`]; only the order of bits
/// differs. Beyond that, Q4_K and Q5_K have scales and mins of a byte each, which take the 16 bytes of the plane of scales, and d and
/// dmin by themselves: kernels/formats/k.cuh.
fn planes(layout: &pack::Layout, rows: u64, cols: u64) -> impl Iterator<Item = (PlaneKind, u64)> {
    let further = match layout.ty {
        GgmlType::Q4_K | GgmlType::Q5_K => Some((PlaneKind::Supers, 4 * rows * layout.blocks_per_row(cols))),
        _ => None,
    };
    let of_layout = layout.planes.iter().enumerate();
    of_layout.map(move |(p, plane)| (plane.kind, layout.plane_bytes(p, rows, cols))).chain(further)
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
    /// Declares the weights.
    pub plan: &'a Plan,
    /// Their bytes, as the file has them.
    pub weights: &'a Weights,
    /// The device.
    pub driver: &'a mut D,
    /// Those that repack are loaded.
    pub kernels: &'a Kernels,
    /// Takes note of everything that lasts.
    pub allocations: &'a mut Allocations,
    /// Told the bytes of the file that are done.
    pub progress: &'a mut dyn FnMut(u64),
    /// Bytes of the file that are done.
    pub done: u64,
}

impl<D: Driver> Loader<'_, D> {
    /// Brings all of them.
    pub fn load(&mut self, uses: &Uses) -> Result<WeightAddresses, String> {
        let n = self.plan.weights.len();
        let mut addresses = WeightAddresses { matrices: vec![Planes::default(); n], floats: vec![0; n] };
        let raw = self.driver.alloc(uses.piece_bytes(self.plan))?;
        let repacked: Result<(), String> = uses.matrices.iter().try_for_each(|w| {
            addresses.matrices[w.0 as usize] = self.matrix(*w, raw)?;
            Ok(())
        });
        self.driver.free(raw);
        repacked?;
        for w in &uses.floats {
            addresses.floats[w.0 as usize] = self.floats(*w)?;
        }
        Ok(addresses)
    }

    fn alloc(&mut self, decl: &WeightDecl, bytes: u64) -> Result<Ptr, String> {
        self.allocations.alloc(self.driver, bytes, &format!("tensor {}", decl.name))
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.done += bytes.len() as u64;
        (self.progress)(self.done);
    }

    fn matrix(&mut self, w: Weight, raw: Ptr) -> Result<Planes, String> {
        let decl = &self.plan[w];
        let layout = pack::layout(decl.ty).ok_or_else(|| no_type(decl))?;
        let mut addresses = Planes { units: decl.cols.div_ceil(pack::UNIT) as u32, ..Planes::default() };
        for (kind, bytes) in planes(layout, decl.rows, decl.cols) {
            *plane(&mut addresses, kind) = self.alloc(decl, bytes)?;
        }
        let step = piece_rows(decl);
        for first in (0..decl.rows).step_by(step as usize) {
            let n_rows = step.min(decl.rows - first);
            let in_file = first * decl.row_bytes()..(first + n_rows) * decl.row_bytes();
            let bytes = &self.weights[w][in_file.start as usize..in_file.end as usize];
            self.driver.upload(raw, bytes)?;

            let mut to = addresses;
            for (kind, offset) in planes(layout, first, decl.cols) {
                *plane(&mut to, kind) += offset;
            }
            let params = RepackParams {
                quants: to.quants,
                high: to.high,
                scales: to.scales,
                supers: to.supers,
                blocks: raw,
                n_rows,
                n_cols: decl.cols as u32,
                units: addresses.units,
            };
            let blocks = (n_rows * addresses.units as u64).div_ceil(REPACK_THREADS as u64);
            let blocks = u32::try_from(blocks).map_err(|_| format!("tensor {}: rows too long to repack", decl.name))?;
            let call = Call::new(Entry::Repack(decl.ty), [blocks, 1, 1], REPACK_THREADS, &params);
            let purpose = Purpose::Tensor(decl.name.clone());
            self.driver.launch(&call.launch(self.kernels, purpose, false)?)?;
            self.advance(bytes);
        }
        Ok(addresses)
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
