//! Makes functions over rows of 32 lanes out of expressions over one lane.

/// Rows of any widths: `mixed!((a: Row, b: Row) -> Row64, expression)`.
macro_rules! mixed {
    (($($a:ident: $t:ident),+) -> $r:ident, $e:expr) => {{
        fn row_kernel($($a: &crate::ir::$t,)+ d: &mut crate::ir::$r) {
            for i in 0..crate::ir::LANES {
                $(let $a = $a[i];)+
                d[i] = $e;
            }
        }
        row_kernel
    }};
}

/// One to three rows of 32 bits: `w2!(|a, b| expression)`.
macro_rules! w1 {
    (|$a:ident| $e:expr) => {
        crate::lower::rows::mixed!(($a: Row) -> Row, $e) as crate::ir::W1
    };
}

macro_rules! w2 {
    (|$a:ident, $b:ident| $e:expr) => {
        crate::lower::rows::mixed!(($a: Row, $b: Row) -> Row, $e) as crate::ir::W2
    };
}

macro_rules! w3 {
    (|$a:ident, $b:ident, $c:ident| $e:expr) => {
        crate::lower::rows::mixed!(($a: Row, $b: Row, $c: Row) -> Row, $e) as crate::ir::W3
    };
}

/// One to three rows of 64 bits.
macro_rules! d1 {
    (|$a:ident| $e:expr) => {
        crate::lower::rows::mixed!(($a: Row64) -> Row64, $e) as crate::ir::D1
    };
}

macro_rules! d2 {
    (|$a:ident, $b:ident| $e:expr) => {
        crate::lower::rows::mixed!(($a: Row64, $b: Row64) -> Row64, $e) as crate::ir::D2
    };
}

macro_rules! d3 {
    (|$a:ident, $b:ident, $c:ident| $e:expr) => {
        crate::lower::rows::mixed!(($a: Row64, $b: Row64, $c: Row64) -> Row64, $e) as crate::ir::D3
    };
}

/// Comparison of two rows, one bit per lane.
macro_rules! cmp {
    ($t:ident, |$a:ident, $b:ident| $e:expr) => {{
        fn row_kernel(a: &crate::ir::$t, b: &crate::ir::$t) -> u32 {
            let mut bits = 0;
            for i in 0..crate::ir::LANES {
                let ($a, $b) = (a[i], b[i]);
                bits |= u32::from($e) << i;
            }
            bits
        }
        row_kernel as fn(&crate::ir::$t, &crate::ir::$t) -> u32
    }};
}

pub(crate) use {cmp, d1, d2, d3, mixed, w1, w2, w3};
