//! Format strings as C has them (C17, 7.21.6.1), but for `%a` and `%n`.

/// Where the values of a format come from. Variadic arguments are promoted: integers have 4 or 8 bytes, every float is a double.
pub(super) trait Arguments {
    /// The next argument: 8 bytes if wide, else 4.
    fn next(&mut self, wide: bool) -> u64;

    /// The text at an address.
    fn text(&self, address: u64) -> String;
}

/// What stands between `%` and the conversion.
#[derive(Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternative: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    /// `h` counts as -1 each, `l` and what is as wide as 1 each.
    length: i32,
}

/// Numbers of characters are at most this.
const MOST: usize = 4096;

/// The text of a format.
pub(super) fn expand(format: &str, args: &mut impl Arguments) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (text, left) = conversion(after, args);
        out.push_str(&text);
        rest = left;
    }
    out + rest
}

/// One conversion, from behind its `%`; its text, and the rest.
fn conversion<'a>(format: &'a str, args: &mut impl Arguments) -> (String, &'a str) {
    let mut spec = Spec::default();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match c {
            '-' => spec.left = true,
            '+' => spec.plus = true,
            ' ' => spec.space = true,
            '#' => spec.alternative = true,
            '0' if spec.width == 0 && spec.precision.is_none() => spec.zero = true,
            '.' => spec.precision = Some(0),
            '*' => {
                let n = args.next(false) as i32;
                match &mut spec.precision {
                    Some(precision) => *precision = usize::try_from(n).unwrap_or(6).min(MOST),
                    None => {
                        spec.left |= n < 0;
                        spec.width = (n.unsigned_abs() as usize).min(MOST);
                    }
                }
            }
            '0'..='9' => {
                let slot = spec.precision.as_mut().unwrap_or(&mut spec.width);
                *slot = (*slot * 10 + c as usize - '0' as usize).min(MOST);
            }
            'l' | 'z' | 'j' | 't' => spec.length += 1,
            'h' => spec.length -= 1,
            '%' => return ("%".to_string(), chars.as_str()),
            kind => return (spec.convert(kind, args), chars.as_str()),
        }
    }
    (String::new(), "")
}

impl Spec {
    fn convert(&self, kind: char, args: &mut impl Arguments) -> String {
        let wide = self.length > 0;
        match kind {
            'd' | 'i' => {
                let bits = args.next(wide);
                let value = match self.length {
                    1.. => bits as i64,
                    0 => i64::from(bits as i32),
                    -1 => i64::from(bits as i16),
                    _ => i64::from(bits as i8),
                };
                self.padded(
                    self.sign(value < 0),
                    self.digits(value.unsigned_abs().to_string()),
                    self.precision.is_none(),
                )
            }
            'u' | 'x' | 'X' | 'o' => {
                let bits = args.next(wide);
                let value = match self.length {
                    1.. => bits,
                    0 => u64::from(bits as u32),
                    -1 => u64::from(bits as u16),
                    _ => u64::from(bits as u8),
                };
                let (head, digits) = match kind {
                    'x' => ("0x", format!("{value:x}")),
                    'X' => ("0X", format!("{value:X}")),
                    'o' => ("0", format!("{value:o}")),
                    _ => ("", value.to_string()),
                };
                let head = if self.alternative && value != 0 { head } else { "" };
                self.padded(head, self.digits(digits), self.precision.is_none())
            }
            'f' | 'F' | 'e' | 'E' | 'g' | 'G' => {
                let value = f64::from_bits(args.next(true));
                let text =
                    if value.is_finite() { self.float(kind, value.abs()) } else { non_finite(value).to_string() };
                let text = if kind.is_ascii_uppercase() { text.to_uppercase() } else { text };
                let negative = value.is_sign_negative() && !value.is_nan();
                self.padded(self.sign(negative), text, value.is_finite())
            }
            'p' => self.padded("0x", format!("{:x}", args.next(true)), false),
            'c' => self.padded("", char::from(args.next(false) as u8).to_string(), false),
            's' => {
                let address = args.next(true);
                let text = if address == 0 { "(null)".to_string() } else { args.text(address) };
                self.padded("", text.chars().take(self.precision.unwrap_or(usize::MAX)).collect(), false)
            }
            other => format!("%{other}"),
        }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            _ => "",
        }
    }

    /// At least as many digits as the precision says; none for 0 with precision 0.
    fn digits(&self, digits: String) -> String {
        match self.precision {
            Some(0) if digits == "0" => String::new(),
            Some(least) => "0".repeat(least.saturating_sub(digits.len())) + &digits,
            None => digits,
        }
    }

    /// As wide as wanted. Zeros go between the head and the rest, where they may.
    fn padded(&self, head: &str, text: String, zeros: bool) -> String {
        let missing = self.width.saturating_sub(head.len() + text.chars().count());
        match (self.left, self.zero && zeros) {
            (true, _) => format!("{head}{text}{}", " ".repeat(missing)),
            (false, true) => format!("{head}{}{text}", "0".repeat(missing)),
            (false, false) => format!("{}{head}{text}", " ".repeat(missing)),
        }
    }

    /// A finite number that is not negative.
    fn float(&self, kind: char, value: f64) -> String {
        let precision = self.precision.unwrap_or(6);
        let point = if self.alternative && precision == 0 { "." } else { "" };
        match kind.to_ascii_lowercase() {
            'f' => format!("{value:.precision$}{point}"),
            'e' => {
                let (digits, exponent) = scientific(value, precision);
                format!("{digits}{point}{}", exponent_text(exponent))
            }
            _ => {
                let significant = precision.max(1);
                let (digits, exponent) = scientific(value, significant - 1);
                if exponent < -4 || exponent >= significant as i32 {
                    return self.trimmed(digits) + &exponent_text(exponent);
                }
                let decimals = (significant as i32 - 1 - exponent) as usize;
                self.trimmed(format!("{value:.decimals$}"))
            }
        }
    }

    /// `%g` shows no zeros at the end of a fraction.
    fn trimmed(&self, digits: String) -> String {
        if self.alternative || !digits.contains('.') {
            return digits;
        }
        digits.trim_end_matches('0').trim_end_matches('.').to_string()
    }
}

/// The digits with one before the point, and the exponent of ten.
fn scientific(value: f64, precision: usize) -> (String, i32) {
    let text = format!("{value:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_string(), exponent.parse().unwrap_or(0))
}

/// C writes a sign and at least two digits.
fn exponent_text(exponent: i32) -> String {
    format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn non_finite(value: f64) -> &'static str {
    if value.is_nan() { "nan" } else { "inf" }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Values<'a>(std::slice::Iter<'a, u64>);

    impl Arguments for Values<'_> {
        fn next(&mut self, _: bool) -> u64 {
            self.0.next().copied().unwrap_or(0)
        }

        fn text(&self, _: u64) -> String {
            "text".to_string()
        }
    }

    fn formatted(format: &str, values: &[u64]) -> String {
        expand(format, &mut Values(values.iter()))
    }

    #[test]
    fn formats_like_c() {
        let values = [(-5i64) as u64, 255, 1.5f64.to_bits(), 7];
        assert_eq!(formatted("%4d|%x|%.2f|%03u|%%\n", &values), "  -5|ff|1.50|007|%\n");
    }

    /// What the C library of a Linux system prints for the same.
    #[test]
    fn integers_and_texts() {
        let minus = (-42i64) as u64;
        for (format, value, want) in [
            ("%+d", 42, "+42"),
            ("% d", 42, " 42"),
            ("%-6d|", minus, "-42   |"),
            ("%06d", minus, "-00042"),
            ("%.5d", minus, "-00042"),
            ("%8.5d", minus, "  -00042"),
            ("%08.5d", minus, "  -00042"),
            ("%.0d|", 0, "|"),
            ("%#x", 255, "0xff"),
            ("%#010X", 255, "0X000000FF"),
            ("%#o", 8, "010"),
            ("%u", minus, "4294967254"),
            ("%lu", minus, "18446744073709551574"),
            ("%hhd", 300, "44"),
            ("%hu", 65537, "1"),
            ("%5c|", 122, "    z|"),
            ("%s", 1, "text"),
            ("%-6.2s|", 1, "te    |"),
            ("%s", 0, "(null)"),
            ("%p", 4096, "0x1000"),
            ("%y", 0, "%y"),
            ("100%", 0, "100"),
        ] {
            assert_eq!(formatted(format, &[value]), want, "{format}");
        }
        assert_eq!(formatted("%*d|%-*d|%.*f", &[5, 1, 4, 2, 1, 0.25f64.to_bits()]), "    1|2   |0.2");
    }

    #[test]
    fn floats() {
        for (format, value, want) in [
            ("%f", 0.5, "0.500000"),
            ("%.0f", 2.5, "2"),
            ("%#.0f", 2.5, "2."),
            ("%+.1f", -0.0, "-0.0"),
            ("%08.2f", -1.5, "-0001.50"),
            ("%e", 12345.678, "1.234568e+04"),
            ("%.0e", 12345.678, "1e+04"),
            ("%E", 1e-300, "1.000000E-300"),
            ("%g", 0.0, "0"),
            ("%g", 0.0001, "0.0001"),
            ("%g", 0.00001, "1e-05"),
            ("%g", 100000.0, "100000"),
            ("%g", 1000000.0, "1e+06"),
            ("%g", 999999.5, "1e+06"),
            ("%.3g", 1234.5, "1.23e+03"),
            ("%#g", 1.5, "1.50000"),
            ("%G", 1e10, "1E+10"),
            ("%.10g", 0.1, "0.1"),
            ("%5.1f|", f64::INFINITY, "  inf|"),
            ("%05f", f64::NEG_INFINITY, " -inf"),
            ("%F", f64::NAN, "NAN"),
        ] {
            assert_eq!(formatted(format, &[value.to_bits()]), want, "{format} of {value}");
        }
    }
}
