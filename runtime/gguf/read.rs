//! Reads header and metadata with a bounds-checked cursor over the file.
//!
//! A length is allocated only if the rest of the file can hold it.

use std::collections::HashMap;

use bytes::Bytes;

use super::error::{Error, Subject};
use super::value::{Array, Value, ValueType};

/// "GGUF".
pub(super) const MAGIC: [u8; 4] = *b"GGUF";
/// Size of the header: magic, version, tensor count, key count.
const HEADER_BYTES: u64 = 4 + 4 + 8 + 8;
/// Size of the smallest key with a value: length, one character, value type, one byte.
const MIN_ENTRY_BYTES: u64 = 8 + 1 + 4 + 1;
/// Size of the smallest tensor info: length, one character, dimension count, one dimension, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// Limit of a key in bytes, from the GGUF specification.
const MAX_KEY_BYTES: u64 = 65535;

/// A cursor over the bytes of a file. The caller adds the file and key or tensor to its errors.
pub(super) struct Reader<'a> {
    bytes: &'a Bytes,
    pos: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a Bytes) -> Reader<'a> {
        Reader { bytes, pos: 0 }
    }

    /// Bytes read so far.
    pub(super) fn pos(&self) -> u64 {
        self.pos as u64
    }

    /// Bytes left.
    pub(super) fn remaining(&self) -> u64 {
        (self.bytes.len() - self.pos) as u64
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: u64) -> Result<&'a [u8], String> {
        if n > self.remaining() {
            return Err(self.too_short(&format!("needs {n} bytes")));
        }
        let start = self.pos;
        self.pos += n as usize; // n <= remaining, which is a usize
        Ok(&self.bytes[start..self.pos])
    }

    /// The next `N` bytes.
    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        match self.bytes[self.pos..].first_chunk::<N>() {
            Some(chunk) => {
                self.pos += N;
                Ok(*chunk)
            }
            None => Err(self.too_short(&format!("needs {N} bytes"))),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.take_array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.take_array().map(u64::from_le_bytes)
    }

    /// A name: its length (u64), at most `max` bytes, then non-empty UTF-8.
    pub(super) fn name(&mut self, what: &str, max: u64) -> Result<&'a str, String> {
        let len = self.u64()?;
        if len == 0 {
            return Err(format!("{what} is empty"));
        }
        if len > max {
            return Err(format!("{what} has {len} bytes, the limit is {max}"));
        }
        str::from_utf8(self.take(len)?).map_err(|e| format!("{what} is not UTF-8: {e}"))
    }

    fn value(&mut self) -> Result<Value, String> {
        match ValueType::from_id(self.u32()?)? {
            ValueType::String => {
                let len = self.u64()?;
                Ok(Value::String(self.bytes.slice_ref(self.take(len)?)))
            }
            ValueType::Array => self.array().map(Value::Array),
            ty => self.fixed(ty),
        }
    }

    /// A value of fixed size: neither a string nor an array.
    fn fixed(&mut self, ty: ValueType) -> Result<Value, String> {
        let size = ty.size().unwrap_or(0) as u64;
        let raw = self.take(size)?;
        Value::from_le_bytes(ty, raw).ok_or_else(|| format!("{ty} with value {}, expected 0 or 1", raw[0]))
    }

    fn array(&mut self) -> Result<Array, String> {
        let element = ValueType::from_id(self.u32()?)?;
        if element == ValueType::Array {
            return Err("nested arrays are not supported".to_string());
        }
        let len = self.u64()?;
        // Every string has at least its length field.
        let min_bytes = len.checked_mul(element.size().unwrap_or(8) as u64);
        if min_bytes.is_none_or(|bytes| bytes > self.remaining()) {
            return Err(self.too_short(&format!("has {len} elements of type {element}")));
        }
        let start = self.pos;
        match (element, min_bytes) {
            (ValueType::String, _) => {
                for i in 0..len {
                    let bytes = self.u64().and_then(|len| self.take(len));
                    bytes.map_err(|problem| format!("element {i} of {len}: {problem}"))?;
                }
            }
            (ValueType::Bool, _) => {
                for i in 0..len {
                    self.fixed(element).map_err(|problem| format!("element {i} of {len}: {problem}"))?;
                }
            }
            (_, bytes) => {
                self.take(bytes.unwrap_or(0))?;
            }
        }
        Ok(Array::new(element, len as usize, self.bytes.slice(start..self.pos)))
    }

    fn too_short(&self, what: &str) -> String {
        format!("{what} at byte {}, the file ends at byte {} (truncated download?)", self.pos, self.bytes.len())
    }
}

/// The header: the first 24 bytes.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) n_tensors: u64,
    pub(super) n_entries: u64,
}

pub(super) fn header(reader: &mut Reader) -> Result<Header, String> {
    let len = reader.remaining();
    if len == 0 {
        return Err("the file is empty".to_string());
    }
    let magic = reader.take(len.min(4))?;
    if magic != MAGIC {
        return Err(format!("not a GGUF file: begins with \"{}\", expected \"GGUF\"", magic.escape_ascii()));
    }
    if len < HEADER_BYTES {
        return Err(format!("ends at byte {len}, the header needs {HEADER_BYTES} (truncated download?)"));
    }
    let version = reader.u32()?;
    match version {
        2 | 3 => {}
        1 => {
            return Err("GGUF version 1 is not supported, convert the model again (expected 2 or 3)".to_string());
        }
        _ if (1..=3).contains(&version.swap_bytes()) => {
            return Err("the file is big-endian, only little-endian files are supported".to_string());
        }
        _ => return Err(format!("unknown GGUF version {version}, expected 2 or 3")),
    }
    let header = Header { version, n_tensors: reader.u64()?, n_entries: reader.u64()? };
    let remaining = reader.remaining();
    for (what, count, min_bytes) in
        [("tensor count", header.n_tensors, MIN_TENSOR_BYTES), ("key count", header.n_entries, MIN_ENTRY_BYTES)]
    {
        let most = remaining / min_bytes;
        if count > most {
            return Err(format!("{what} {count}, the {remaining} bytes after the header hold at most {most}"));
        }
    }
    Ok(header)
}

/// The metadata in the order of the file, and the index of each key.
pub(super) struct Metadata {
    pub(super) entries: Vec<(String, Value)>,
    pub(super) index: HashMap<String, usize>,
}

pub(super) fn metadata(file: &str, reader: &mut Reader, n_entries: u64) -> Result<Metadata, Error> {
    let mut metadata = Metadata { entries: Vec::new(), index: HashMap::new() };
    for i in 0..n_entries {
        let key = reader.name("its name", MAX_KEY_BYTES).map_err(|problem| {
            Subject::File.error(file, format_args!("metadata key {} of {n_entries}: {problem}", i + 1))
        })?;
        let value = reader.value().map_err(|problem| Subject::Key(key).error(file, problem))?;
        if metadata.index.insert(key.to_string(), metadata.entries.len()).is_some() {
            return Err(Subject::Key(key).error(file, "appears twice"));
        }
        metadata.entries.push((key.to_string(), value));
    }
    Ok(metadata)
}
