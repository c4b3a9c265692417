//! C format strings, as far as device code uses them.

/// `next(wide)` yields the next argument: 8 bytes if wide, else 4. Variadic arguments are promoted, so every float is a double.
pub(crate) fn format(text: &str, mut next: impl FnMut(bool) -> u64) -> String {
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
        let s = super::format("%4d|%x|%.2f|%03u|%%\n", |_| args.next().unwrap_or(0));
        assert_eq!(s, "  -5|ff|1.50|007|%\n");
    }
}
