//! The device's `printf`: C format strings, as far as device code uses them.

use std::sync::atomic::Ordering::Relaxed;

use super::Exec;
use super::memory::{Words, lanes};
use crate::ir::*;

impl Exec<'_> {
    /// Arguments lie at their natural alignment in local memory; `args` and `format` are offsets of pointers in the frame.
    pub fn printf(&mut self, format: u32, args: u32, ret: u32, m: u32) {
        for l in lanes(m) {
            let pointer = |x: &Self, at: u32| {
                let word = |k: usize| x.warp.local.get(at as usize / 4 + k).map_or(0, |r| u64::from(r[l]));
                word(0) | word(1) << 32
            };
            let (format, mut args) = (pointer(self, format), pointer(self, args).wrapping_sub(LOCAL_WINDOW));
            let mut text = Vec::new();
            let mut at = format;
            while let Some((a, off)) = self.launch.mem.find(at, 1) {
                let w = a.data[off as usize / 4].load(Relaxed);
                match (w >> (8 * (off % 4))) as u8 {
                    0 => break,
                    c => text.push(c),
                }
                at += 1;
            }
            let mut next = |x: &Self, size: u64| {
                args = args.next_multiple_of(size);
                let word = |k: u64| x.warp.local.get(((args + k) / 4) as usize).map_or(0, |r| u64::from(r[l]));
                let v = word(0) | if size == 8 { word(4) << 32 } else { 0 };
                args += size;
                v
            };
            let out = expand(&String::from_utf8_lossy(&text), |wide| next(self, if wide { 8 } else { 4 }));
            self.launch.print(out);
            let mut result: Words = [[0; LANES]; 8];
            result[0][l] = 1;
            self.store_local(&[u64::from(ret); LANES], 4, 1 << l, &result);
        }
    }
}

/// `next(wide)` yields the next argument: 8 bytes if wide, else 4. Variadic arguments are promoted, so every float is a double.
fn expand(text: &str, mut next: impl FnMut(bool) -> u64) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut left, mut zero, mut plus, mut width, mut precision, mut longs) =
            (false, false, false, 0usize, None, 0);
        loop {
            match rest.next() {
                Some('-') => left = true,
                Some('+') => plus = true,
                Some('0') if width == 0 && precision.is_none() => zero = true,
                Some('.') => precision = Some(0usize),
                Some(d @ '0'..='9') => {
                    let slot = precision.as_mut().unwrap_or(&mut width);
                    *slot = (*slot * 10 + d as usize - '0' as usize).min(1000);
                }
                Some('l' | 'z' | 'j' | 't') => longs += 1,
                Some('h' | ' ' | '#') => {}
                Some('%') => {
                    out.push('%');
                    break;
                }
                Some(kind) => {
                    let s = one(kind, longs > 0, plus, precision, &mut next);
                    let pad = " ".repeat(width.saturating_sub(s.len()));
                    match (left, zero) {
                        (true, _) => out.push_str(&(s + &pad)),
                        (false, true) => {
                            let (sign, digits) = s.split_at(usize::from(s.starts_with('-')));
                            out.push_str(&format!("{sign}{}{digits}", pad.replace(' ', "0")));
                        }
                        (false, false) => out.push_str(&(pad + &s)),
                    }
                    break;
                }
                None => break,
            }
        }
    }
    out
}

fn one(kind: char, long: bool, plus: bool, precision: Option<usize>, next: &mut impl FnMut(bool) -> u64) -> String {
    let signed = |v: u64| if long { v as i64 } else { i64::from(v as i32) };
    match kind {
        'd' | 'i' => {
            let v = signed(next(long));
            if plus && v >= 0 { format!("+{v}") } else { v.to_string() }
        }
        'u' => next(long).to_string(),
        'x' => format!("{:x}", next(long)),
        'X' => format!("{:X}", next(long)),
        'o' => format!("{:o}", next(long)),
        'p' => format!("{:#x}", next(true)),
        'c' => ((next(false) as u8) as char).to_string(),
        'f' | 'F' => format!("{:.*}", precision.unwrap_or(6), f64::from_bits(next(true))),
        'e' | 'g' | 'E' | 'G' => format!("{:e}", f64::from_bits(next(true))),
        's' => {
            next(true);
            "(string)".to_string()
        }
        other => format!("%{other}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn formats_like_c() {
        let mut args = [(-5i64) as u64, 255, 1.5f64.to_bits(), 7].into_iter();
        let s = super::expand("%4d|%x|%.2f|%03u|%%\n", |_| args.next().unwrap_or(0));
        assert_eq!(s, "  -5|ff|1.50|007|%\n");
    }
}
