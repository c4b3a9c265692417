//! Memory of one thread: local variables, and parameters of the kernel and of functions that it calls.

use super::{Words, byte_mask, lanes, touched_bytes};
use crate::check::finding::Check;
use crate::exec::Exec;
use crate::ir::*;

impl Exec<'_> {
    fn local_fits(&mut self, a: u64, bytes: u32, lane: usize) -> bool {
        let size = u64::from(self.prog.local_bytes);
        let ok = a <= size && u64::from(bytes) <= size - a;
        if !ok {
            self.report(Check::OutOfBounds, lane as u32, || {
                format!("local address {a:#x}, {bytes} bytes of a frame of {size}")
            });
        }
        ok
    }

    pub fn load_local(&mut self, a: &Row64, bytes: u32, m: u32, words: &mut Words) {
        for l in lanes(m) {
            if !self.local_fits(a[l], bytes, l) {
                continue;
            }
            let (word, shift) = ((a[l] / 4) as usize, (a[l] % 4) as u32);
            for k in 0..bytes.div_ceil(4) as usize {
                let touched = touched_bytes(bytes, shift);
                if self.warp.local_init[word + k][l] & touched != touched {
                    self.report(Check::UninitializedLocal, l as u32, || {
                        format!("local address {:#x} was never written", a[l] + 4 * k as u64)
                    });
                    self.warp.local_init[word + k][l] |= touched;
                }
                words[k][l] = self.warp.local[word + k][l] >> (8 * shift);
            }
        }
    }

    pub fn store_local(&mut self, a: &Row64, bytes: u32, m: u32, words: &Words) {
        for l in lanes(m) {
            if !self.local_fits(a[l], bytes, l) {
                continue;
            }
            let (word, shift) = ((a[l] / 4) as usize, (a[l] % 4) as u32);
            for k in 0..bytes.div_ceil(4) as usize {
                let touched = touched_bytes(bytes, shift);
                let keep = !byte_mask(touched);
                let old = self.warp.local[word + k][l];
                self.warp.local[word + k][l] = old & keep | words[k][l] << (8 * shift) & !keep;
                self.warp.local_init[word + k][l] |= touched;
            }
        }
    }

    /// Parameters of the kernel, or of a called function (which lie in the frame).
    pub fn load_param(&mut self, a: &Row64, bytes: u32, m: u32, words: &mut Words) {
        let framed = lanes(m).filter(|&l| a[l] >= PARAM_FRAME).fold(0, |acc, l| acc | 1 << l);
        if framed != 0 {
            let inside = a.map(|v| v.wrapping_sub(PARAM_FRAME));
            self.load_local(&inside, bytes, framed, words);
        }
        let params = self.launch.params;
        for l in lanes(m & !framed) {
            let at = a[l] as usize;
            let Some(p) = params.get(at..at + bytes as usize) else {
                let size = params.len();
                self.report(Check::OutOfBounds, l as u32, || format!("parameter offset {at}, {bytes} bytes of {size}"));
                continue;
            };
            for (k, chunk) in p.chunks(4).enumerate() {
                let mut w = [0; 4];
                w[..chunk.len()].copy_from_slice(chunk);
                words[k][l] = u32::from_le_bytes(w);
            }
        }
    }
}
