//! Writes the beginning of a GGUF file: everything before the data of the tensors.

use bytes::Bytes;

use super::read::MAGIC;
use super::value::{Array, Value, ValueType};
use super::{DEFAULT_ALIGNMENT, GgmlType};

/// The version of the format to write.
const VERSION: u32 = 3;

/// The header, metadata and tensor infos of a GGUF file. The file is [`Header::encode`], then the data of each tensor
/// in the order of [`Header::tensor`], each followed by [`padding`].
#[derive(Debug, Clone, Default)]
pub struct Header {
    n_entries: u64,
    entries: Vec<u8>,
    n_tensors: u64,
    infos: Vec<u8>,
    data_bytes: u64,
}

impl Header {
    /// Appends a key.
    pub fn key(&mut self, key: &str, value: impl Into<Value>) {
        self.n_entries += 1;
        self.entries.extend(entry(key, value));
    }

    /// Appends a tensor, its contiguous dimension first. Its data follows that of the tensor before it.
    pub fn tensor(&mut self, name: &str, ty: GgmlType, shape: &[u64]) {
        self.n_tensors += 1;
        string(name, &mut self.infos);
        self.infos.extend((shape.len() as u32).to_le_bytes());
        self.infos.extend(shape.iter().flat_map(|dim| dim.to_le_bytes()));
        self.infos.extend((ty as u32).to_le_bytes());
        self.infos.extend(self.data_bytes.to_le_bytes());
        let bytes = shape.iter().fold(1, |n: u64, dim| n.saturating_mul(*dim)) / ty.block_size();
        let bytes = bytes.saturating_mul(ty.block_bytes());
        self.data_bytes = self.data_bytes.saturating_add(bytes).saturating_add(padding(bytes).len() as u64);
    }

    /// The beginning of the file, up to the first byte of data.
    pub fn encode(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(VERSION.to_le_bytes());
        file.extend(self.n_tensors.to_le_bytes());
        file.extend(self.n_entries.to_le_bytes());
        file.extend(&self.entries);
        file.extend(&self.infos);
        file.extend(padding(file.len() as u64));
        file
    }

    /// Bytes of data and padding after the header, clamped to u64::MAX.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }
}

/// The zeros between `bytes` bytes of data and the next tensor.
pub fn padding(bytes: u64) -> &'static [u8] {
    const ZEROS: [u8; DEFAULT_ALIGNMENT as usize] = [0; DEFAULT_ALIGNMENT as usize];
    &ZEROS[..(bytes.wrapping_neg() % u64::from(DEFAULT_ALIGNMENT)) as usize]
}

/// A key and its value, encoded.
pub fn entry(key: impl AsRef<[u8]>, value: impl Into<Value>) -> Vec<u8> {
    let value = value.into();
    let mut out = Vec::new();
    string(key, &mut out);
    out.extend((value.ty() as u32).to_le_bytes());
    match value {
        Value::U8(v) => out.push(v),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(v.into()),
        Value::String(v) => string(v, &mut out),
        Value::Array(array) => {
            out.extend((array.element() as u32).to_le_bytes());
            out.extend((array.len() as u64).to_le_bytes());
            out.extend(array.data());
        }
    }
    out
}

/// Length, then the bytes.
fn string(text: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    let text = text.as_ref();
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

impl From<u32> for Value {
    fn from(v: u32) -> Value {
        Value::U32(v)
    }
}

impl From<f32> for Value {
    fn from(v: f32) -> Value {
        Value::F32(v)
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Value {
        Value::Bool(v)
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Value {
        Value::String(Bytes::copy_from_slice(v.as_bytes()))
    }
}

impl From<&[i32]> for Value {
    fn from(v: &[i32]) -> Value {
        let data: Vec<u8> = v.iter().flat_map(|v| v.to_le_bytes()).collect();
        Value::Array(Array::new(ValueType::I32, v.len(), data.into()))
    }
}

impl From<&[f32]> for Value {
    fn from(v: &[f32]) -> Value {
        let data: Vec<u8> = v.iter().flat_map(|v| v.to_le_bytes()).collect();
        Value::Array(Array::new(ValueType::F32, v.len(), data.into()))
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Value {
    /// An array of strings.
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Value {
        let (mut len, mut data) = (0, Vec::new());
        for text in strings {
            string(text, &mut data);
            len += 1;
        }
        Value::Array(Array::new(ValueType::String, len, data.into()))
    }
}
