//! Writes GGUF files for tests, broken ones included: every count, id and offset can be given a false value.

use pronk::gguf::{GgmlType, Gguf, Value, entry};

/// Ids of value types in the file.
pub mod id {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

/// A tensor info and its data. [`GgufBuilder::tensor`] fills it in truthfully.
#[derive(Clone)]
pub struct TensorInfo {
    pub name: Vec<u8>,
    /// Contiguous dimension first.
    pub shape: Vec<u64>,
    pub ty: u32,
    /// From the start of the data section; None: where `data` lies.
    pub offset: Option<u64>,
    pub data: Vec<u8>,
}

/// Collects keys and tensors, then emits the file.
#[derive(Clone)]
pub struct GgufBuilder {
    pub magic: [u8; 4],
    pub version: u32,
    /// The alignment of tensor data. It does not write the key `general.alignment`.
    pub alignment: usize,
    /// The number of tensors in the header, instead of the true one.
    pub n_tensors: Option<u64>,
    /// The number of keys in the header, instead of the true one.
    pub n_entries: Option<u64>,
    pub tensors: Vec<TensorInfo>,
    /// Keys with their values, encoded.
    pub entries: Vec<Vec<u8>>,
}

impl Default for GgufBuilder {
    fn default() -> Self {
        GgufBuilder {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            n_tensors: None,
            n_entries: None,
            tensors: Vec::new(),
            entries: Vec::new(),
        }
    }
}

/// Length, then the bytes.
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// Element type, length, elements.
pub fn array(element: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    [&element.to_le_bytes()[..], &len.to_le_bytes(), elements].concat()
}

impl GgufBuilder {
    /// A builder of the same file.
    pub fn of(gguf: &Gguf) -> Self {
        let empty = GgufBuilder::default().aligned_to(gguf.alignment() as usize);
        let keys = gguf.metadata().fold(empty, |b, (key, value)| b.key(key, value.clone()));
        gguf.tensors().iter().fold(keys, |b, t| b.tensor(&t.name, t.ty, &t.shape, &t.data))
    }

    /// Builders of the parts of this file, split as by llama.cpp: the first part has the keys, and each part has some
    /// of the tensors.
    pub fn split(&self, parts: usize) -> Vec<GgufBuilder> {
        let share = self.tensors.len().div_ceil(parts);
        let part = |no: usize| {
            let tensors = self.tensors.iter().skip(no * share).take(share).cloned().collect();
            let entries = if no == 0 { self.entries.clone() } else { vec![] };
            // Parts other than the first have no key for the alignment.
            let alignment = if no == 0 { self.alignment } else { 32 };
            GgufBuilder { tensors, entries, alignment, ..self.clone() }
                .kv("split.no", id::U16, &(no as u16).to_le_bytes())
                .kv("split.count", id::U16, &(parts as u16).to_le_bytes())
                .kv("split.tensors.count", id::I32, &(self.tensors.len() as i32).to_le_bytes())
        };
        (0..parts).map(part).collect()
    }

    /// Removes a key.
    pub fn without(mut self, key: &str) -> Self {
        let prefix = string(key);
        self.entries.retain(|entry| !entry.starts_with(&prefix));
        self
    }

    /// Sets the alignment of tensor data; see [`GgufBuilder::alignment`].
    pub fn aligned_to(self, alignment: usize) -> Self {
        GgufBuilder { alignment, ..self }
    }

    /// Appends any bytes in place of a key and value.
    pub fn raw(mut self, entry: &[u8]) -> Self {
        self.entries.push(entry.to_vec());
        self
    }

    /// Appends a key with a value of the given type id and bytes, valid or not.
    pub fn kv(self, key: impl AsRef<[u8]>, ty: u32, value: &[u8]) -> Self {
        let entry = [&string(key)[..], &ty.to_le_bytes(), value].concat();
        self.raw(&entry)
    }

    /// Appends a key with a valid value.
    pub fn key(self, key: &str, value: impl Into<Value>) -> Self {
        self.raw(&entry(key, value))
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.key(key, value)
    }

    pub fn f32(self, key: &str, value: f32) -> Self {
        self.key(key, value)
    }

    pub fn bool(self, key: &str, value: bool) -> Self {
        self.key(key, value)
    }

    pub fn str(self, key: &str, value: &str) -> Self {
        self.key(key, value)
    }

    pub fn strings<S: AsRef<[u8]>>(self, key: &str, values: &[S]) -> Self {
        self.key(key, values.iter().collect::<Value>())
    }

    pub fn i32s(self, key: &str, values: &[i32]) -> Self {
        self.key(key, values)
    }

    pub fn f32s(self, key: &str, values: &[f32]) -> Self {
        self.key(key, values)
    }

    /// A tensor, its contiguous dimension first, with its blocks.
    pub fn tensor(mut self, name: &str, ty: GgmlType, shape: &[u64], data: &[u8]) -> Self {
        let (name, shape, data) = (name.into(), shape.to_vec(), data.to_vec());
        self.tensors.push(TensorInfo { name, shape, ty: ty as u32, offset: None, data });
        self
    }

    /// An F32 tensor.
    pub fn tensor_f32(self, name: &str, shape: &[u64], values: &[f32]) -> Self {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name, GgmlType::F32, shape, &data)
    }

    /// Changes the last tensor.
    pub fn edit(mut self, change: impl FnOnce(&mut TensorInfo)) -> Self {
        change(self.tensors.last_mut().expect("a tensor to edit"));
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut file = self.magic.to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend(self.n_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        file.extend(self.n_entries.unwrap_or(self.entries.len() as u64).to_le_bytes());
        file.extend(self.entries.concat());
        let mut data = Vec::new();
        for tensor in &self.tensors {
            data.resize(data.len().next_multiple_of(self.alignment), 0);
            file.extend(string(&tensor.name));
            file.extend((tensor.shape.len() as u32).to_le_bytes());
            file.extend(tensor.shape.iter().flat_map(|dim| dim.to_le_bytes()));
            file.extend(tensor.ty.to_le_bytes());
            file.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
        }
        if !data.is_empty() {
            file.resize(file.len().next_multiple_of(self.alignment), 0);
        }
        file.extend(data);
        file
    }
}
