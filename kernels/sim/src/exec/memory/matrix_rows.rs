//! `ldmatrix`, `stmatrix` and `movmatrix`: 8 x 8 matrices of 16-bit elements between shared memory and the lanes of a warp.

use super::shared_order::Kind;
use crate::count::banks::wavefronts;
use crate::exec::warp::FULL;
use crate::exec::{Exec, Flow};
use crate::ir::*;

impl Exec<'_> {
    /// `movmatrix`: lane `l` holds elements `2 (l % 4)` and the next of row `l / 4`, and gets those of the transposed matrix.
    pub fn movmatrix(&mut self, d: R, a: R, m: u32, forced: bool) -> Flow {
        if let Some(flow) = self.converge(m, FULL, forced) {
            return flow;
        }
        self.use_w(a, m);
        let a = self.warp.w[usize::from(a)];
        let mut out = [0; LANES];
        for (l, word) in out.iter_mut().enumerate() {
            for half in 0..2 {
                let (row, col) = (2 * (l % 4) + half, l / 4);
                *word |= (a[4 * row + col / 2] >> (16 * (col % 2)) & 0xffff) << (16 * half);
            }
        }
        self.warp.put_w(d, m, &out);
        Flow::Next
    }

    /// `ldmatrix`, `stmatrix`: lane `8 i + r` holds the address of row `r` of matrix `i`; lane `l` gets elements `2 (l % 4)`
    /// and the next of row `l / 4`, or of column `l / 4` if transposed.
    pub fn ldmatrix(&mut self, lm: &LdMatrix, m: u32, load: bool, forced: bool) -> Flow {
        if let Some(flow) = self.converge(m, FULL, forced) {
            return flow;
        }
        let n = usize::from(lm.n);
        let givers = if n == 4 { FULL } else { (1 << (8 * n)) - 1 };
        let mut a = self.addresses(lm.addr, lm.off, givers & m);
        if lm.generic {
            a = a.map(|v| v.wrapping_sub(SHARED_WINDOW));
        }
        let good = self.aligned(&a, 16, givers & m);
        let good = self.fits_shared(&a, 16, good);
        let (mut total, mut fewest) = (0, 0);
        for i in 0..n {
            let (t, f) = wavefronts(&a, 16, good & 0xff << (8 * i));
            (total, fewest) = (total + t, fewest + f);
        }
        self.stats.c.shared_requests += 1;
        self.stats.c.shared_wavefronts += total;
        self.stats.c.shared_conflicts += total - fewest;
        for i in 0..n {
            let mut matrix = [[0u32; 4]; 8];
            if !load {
                self.use_w(lm.regs[i], m);
                let row = self.warp.w[usize::from(lm.regs[i])];
                for l in 0..LANES {
                    for half in 0..2 {
                        let v = row[l] >> (16 * half) & 0xffff;
                        let (r, c) = if lm.trans { (2 * (l % 4) + half, l / 4) } else { (l / 4, 2 * (l % 4) + half) };
                        matrix[r][c / 2] |= v << (16 * (c % 2));
                    }
                }
            }
            for (r, row) in matrix.iter_mut().enumerate() {
                let giver = 8 * i + r;
                if good >> giver & 1 == 0 {
                    continue;
                }
                let at = (a[giver] / 4) as usize;
                for (k, v) in row.iter_mut().enumerate() {
                    if load {
                        self.shared_read(at + k, 15, giver, Kind::Plain);
                        *v = self.cta.shared.data[at + k];
                    } else {
                        self.shared_may_write(at + k, 15, giver, Kind::Plain);
                        self.shared_written(at + k, 15, giver, Kind::Plain);
                        self.cta.shared.data[at + k] = *v;
                    }
                }
            }
            if load {
                let mut out = [0; LANES];
                for (l, o) in out.iter_mut().enumerate() {
                    for half in 0..2 {
                        let (r, c) = if lm.trans { (2 * (l % 4) + half, l / 4) } else { (l / 4, 2 * (l % 4) + half) };
                        *o |= (matrix[r][c / 2] >> (16 * (c % 2)) & 0xffff) << (16 * half);
                    }
                }
                self.warp.put_w(lm.regs[i], m, &out);
            }
        }
        Flow::Next
    }
}
