//! Metadata values and their conversion to Rust types.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::error::excerpt;

/// The type of a metadata value; `ty as u32` is its id in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)] // each is the name of a type
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

/// Name and size in bytes (None: it varies) of every value type. The index is the id.
const VALUE_TYPES: [(ValueType, &str, Option<usize>); 13] = [
    (ValueType::U8, "u8", Some(1)),
    (ValueType::I8, "i8", Some(1)),
    (ValueType::U16, "u16", Some(2)),
    (ValueType::I16, "i16", Some(2)),
    (ValueType::U32, "u32", Some(4)),
    (ValueType::I32, "i32", Some(4)),
    (ValueType::F32, "f32", Some(4)),
    (ValueType::Bool, "bool", Some(1)),
    (ValueType::String, "string", None),
    (ValueType::Array, "array", None),
    (ValueType::U64, "u64", Some(8)),
    (ValueType::I64, "i64", Some(8)),
    (ValueType::F64, "f64", Some(8)),
];

impl ValueType {
    pub(super) fn from_id(id: u32) -> Result<ValueType, String> {
        match VALUE_TYPES.get(id as usize) {
            Some((ty, ..)) => Ok(*ty),
            None => Err(format!("unknown value type {id}, the last known is {} (f64)", VALUE_TYPES.len() - 1)),
        }
    }

    /// Bytes per value; None for strings and arrays.
    pub(super) fn size(self) -> Option<usize> {
        VALUE_TYPES[self as usize].2
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(VALUE_TYPES[*self as usize].1)
    }
}

/// One metadata value. Strings and arrays are views of the file.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // each is the name of a type
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    /// The bytes in the file. They may not be UTF-8: [`FromValue`] for `&str` checks that.
    String(Bytes),
    Array(Array),
}

impl Value {
    /// The value's type.
    pub fn ty(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F32(_) => ValueType::F32,
            Value::F64(_) => ValueType::F64,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
        }
    }

    /// A fixed-size value from its little-endian bytes. None if there are too few bytes, if `ty` is a string or an
    /// array, or if a bool is neither 0 nor 1.
    pub(super) fn from_le_bytes(ty: ValueType, raw: &[u8]) -> Option<Value> {
        Some(match ty {
            ValueType::U8 => Value::U8(u8::from_le_bytes(*raw.first_chunk()?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(*raw.first_chunk()?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(*raw.first_chunk()?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(*raw.first_chunk()?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(*raw.first_chunk()?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(*raw.first_chunk()?)),
            ValueType::U64 => Value::U64(u64::from_le_bytes(*raw.first_chunk()?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(*raw.first_chunk()?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(*raw.first_chunk()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(*raw.first_chunk()?)),
            ValueType::Bool => match raw.first()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return None,
            },
            ValueType::String | ValueType::Array => return None,
        })
    }

    /// The value, if it is of an integer type.
    pub fn integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(v) => v.into(),
            Value::I8(v) => v.into(),
            Value::U16(v) => v.into(),
            Value::I16(v) => v.into(),
            Value::U32(v) => v.into(),
            Value::I32(v) => v.into(),
            Value::U64(v) => v.into(),
            Value::I64(v) => v.into(),
            _ => return None,
        })
    }

    /// Type and value for error messages: `i32 -1`, `array of 3 u32 [1, 2, 3]`.
    fn describe(&self) -> String {
        match self {
            Value::Array(array) => format!("array of {} {} {self}", array.len(), array.element()),
            _ => format!("{} {self}", self.ty()),
        }
    }
}

/// Number of elements of an array that are printed before `...`.
const SHOWN_ELEMENTS: usize = 4;

/// The value on one short line: long strings and arrays are cut, control characters escaped.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::U8(v) => v.fmt(f),
            Value::I8(v) => v.fmt(f),
            Value::U16(v) => v.fmt(f),
            Value::I16(v) => v.fmt(f),
            Value::U32(v) => v.fmt(f),
            Value::I32(v) => v.fmt(f),
            Value::U64(v) => v.fmt(f),
            Value::I64(v) => v.fmt(f),
            Value::F32(v) => fmt::Debug::fmt(v, f),
            Value::F64(v) => fmt::Debug::fmt(v, f),
            Value::Bool(v) => v.fmt(f),
            Value::String(v) => write!(f, "\"{}\"", excerpt(&String::from_utf8_lossy(v))),
            Value::Array(array) => {
                f.write_str("[")?;
                for (i, element) in array.iter().take(SHOWN_ELEMENTS).enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(f, "{comma}{element}")?;
                }
                f.write_str(if array.len() > SHOWN_ELEMENTS { ", ...]" } else { "]" })
            }
        }
    }
}

/// An array in the metadata: a view of the file, checked when the file was parsed and decoded as it is iterated.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    element: ValueType,
    len: usize,
    /// `len` values as in the file; each string follows its length (u64).
    data: Bytes,
}

impl Array {
    /// `data` holds exactly `len` valid elements; `element` is not [`ValueType::Array`].
    pub(super) fn new(element: ValueType, len: usize, data: Bytes) -> Array {
        Array { element, len, data }
    }

    /// The type of every element; never an array.
    pub fn element(&self) -> ValueType {
        self.element
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of the elements in the file; each string follows its length (u64).
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value> {
        self.raw().map_while(|raw| match self.element {
            ValueType::String => Some(Value::String(self.data.slice_ref(raw))),
            element => Value::from_le_bytes(element, raw),
        })
    }

    /// The bytes of each element, without the length of strings.
    fn raw(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.data[..];
        std::iter::from_fn(move || {
            let size = match self.element.size() {
                Some(size) => size,
                None => {
                    let (len, tail) = rest.split_first_chunk()?;
                    rest = tail;
                    usize::try_from(u64::from_le_bytes(*len)).ok()?
                }
            };
            let (raw, tail) = rest.split_at_checked(size)?;
            rest = tail;
            Some(raw)
        })
        .take(self.len)
    }
}

/// A Rust type that a metadata value can be read as.
///
/// Integers of any width convert if the value fits; floats convert to `f32` if they stay finite; nothing else converts.
pub trait FromValue<'a>: Sized {
    /// The value, or one line with the expected and the found value.
    fn from_value(value: &'a Value) -> Result<Self, String>;
}

fn mismatch(expected: &str, found: &Value) -> String {
    format!("expected {expected}, found {}", found.describe())
}

fn mismatch_at(expected: &str, i: usize, found: &Value) -> String {
    format!("expected array of {expected}, element {i} is {}", found.describe())
}

/// Implements [`FromValue`] for a scalar, with the given conversion, and for arrays of it.
macro_rules! from_scalar {
    ($($ty:ty, $convert:expr;)*) => {$(
        impl<'a> FromValue<'a> for $ty {
            fn from_value(value: &'a Value) -> Result<Self, String> {
                $convert(value).ok_or_else(|| mismatch(stringify!($ty), value))
            }
        }

        impl<'a> FromValue<'a> for Vec<$ty> {
            fn from_value(value: &'a Value) -> Result<Self, String> {
                let expected = stringify!($ty);
                let Value::Array(array) = value else {
                    return Err(mismatch(&format!("array of {expected}"), value));
                };
                let convert = |(i, element)| $convert(&element).ok_or_else(|| mismatch_at(expected, i, &element));
                array.iter().enumerate().map(convert).collect()
            }
        }
    )*};
}

from_scalar! {
    u32, |value: &Value| value.integer()?.try_into().ok();
    i32, |value: &Value| value.integer()?.try_into().ok();
    u64, |value: &Value| value.integer()?.try_into().ok();
    f32, |value: &Value| match *value {
        Value::F32(v) => Some(v),
        Value::F64(v) if v.is_finite() => Some(v as f32).filter(|v| v.is_finite()),
        Value::F64(v) => Some(v as f32),
        _ => None,
    };
    bool, |value: &Value| match *value {
        Value::Bool(v) => Some(v),
        _ => None,
    };
}

impl<'a> FromValue<'a> for &'a str {
    fn from_value(value: &'a Value) -> Result<Self, String> {
        match value {
            Value::String(bytes) => str::from_utf8(bytes).map_err(|e| format!("expected UTF-8 text: {e}")),
            _ => Err(mismatch("string", value)),
        }
    }
}

/// A text whose bytes that are not UTF-8 are replaced by U+FFFD.
impl<'a> FromValue<'a> for Cow<'a, str> {
    fn from_value(value: &'a Value) -> Result<Self, String> {
        match value {
            Value::String(bytes) => Ok(String::from_utf8_lossy(bytes)),
            _ => Err(mismatch("string", value)),
        }
    }
}

impl<'a> FromValue<'a> for Vec<&'a str> {
    fn from_value(value: &'a Value) -> Result<Self, String> {
        let text = |(i, raw)| str::from_utf8(raw).map_err(|e| format!("expected UTF-8 text, element {i}: {e}"));
        Vec::<&[u8]>::from_value(value)?.into_iter().enumerate().map(text).collect()
    }
}

/// The bytes of each string, UTF-8 or not.
impl<'a> FromValue<'a> for Vec<&'a [u8]> {
    fn from_value(value: &'a Value) -> Result<Self, String> {
        match value {
            Value::Array(array) if array.element == ValueType::String || array.is_empty() => Ok(array.raw().collect()),
            _ => Err(mismatch("array of string", value)),
        }
    }
}
