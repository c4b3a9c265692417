//! Which registers have a value: initialized, and not the destination of a load that is still in flight.

use super::Exec;
use super::warp::Pending;
use crate::check::finding::Check;
use crate::ir::*;

impl Exec<'_> {
    /// The register is read by these lanes: all of them must have a value.
    #[inline]
    pub fn use_w(&mut self, r: R, m: u32) {
        if self.warp.ready_w[usize::from(r)] & m != m {
            self.not_ready(Reg::W(r), m);
        }
    }

    #[inline]
    pub fn use_d(&mut self, r: R, m: u32) {
        if self.warp.ready_d[usize::from(r)] & m != m {
            self.not_ready(Reg::D(r), m);
        }
    }

    #[inline]
    pub fn use_p(&mut self, r: R, m: u32) {
        if self.warp.ready_p[usize::from(r)] & m != m {
            self.not_ready(Reg::P(r), m);
        }
    }

    pub fn use_reg(&mut self, r: Reg, m: u32) {
        if *self.warp.ready(r) & m != m {
            self.not_ready(r, m);
        }
    }

    /// Either the first use of a load, or a register without a value.
    #[cold]
    fn not_ready(&mut self, r: Reg, m: u32) {
        if let Some(issued) =
            self.warp.pending.iter().filter(|p| p.reg == r && p.lanes & m != 0).map(|p| p.issued).max()
        {
            self.loads_return(issued);
        }
        let missing = m & !*self.warp.ready(r);
        if missing != 0 {
            self.report(Check::UninitializedRegister, missing.trailing_zeros(), || {
                "an operand is a register that was never written".to_string()
            });
            *self.warp.ready(r) |= missing;
        }
    }

    /// The loads up to `issued` must have returned: the moment at which bytes in flight are counted.
    pub fn loads_return(&mut self, issued: u64) {
        let w = &mut *self.warp;
        if issued > w.completed {
            let bytes = w.issued - w.completed;
            self.stats.c.first_uses += 1;
            self.stats.c.in_flight_sum += bytes;
            self.stats.c.in_flight_max = self.stats.c.in_flight_max.max(bytes);
            w.completed = issued;
        }
        let mut k = 0;
        while k < w.pending.len() {
            let p = w.pending[k];
            if p.issued <= issued {
                w.pending.swap_remove(k);
                *w.ready(p.reg) |= p.lanes;
            } else {
                k += 1;
            }
        }
    }

    /// Marks the destination of a global load as in flight.
    pub fn in_flight(&mut self, reg: Reg, lanes: u32) {
        let issued = self.warp.issued;
        self.warp.pending.retain(|p| p.reg != reg || p.lanes & !lanes != 0);
        *self.warp.ready(reg) &= !lanes;
        self.warp.pending.push(Pending { reg, lanes, issued });
        if self.warp.pending.len() > 512 {
            let oldest = self.warp.pending[0].issued;
            self.loads_return(oldest);
        }
    }
}
