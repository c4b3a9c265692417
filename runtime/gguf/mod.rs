//! GGUF files: memory-mapped, checked once, then handed out as views.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Versions 2 and 3, little-endian.
//! Everything a file says is checked against its length before it is believed; whatever is wrong is an [`Error`] that
//! names the file and the key or tensor. What the values mean to a model is checked by the model.

mod error;
mod read;
mod tensor;
mod types;
mod value;

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use error::Subject;
pub use error::{Error, excerpt};
use read::Reader;
pub use tensor::Tensor;
pub use types::GgmlType;
pub use value::{Array, FromValue, Value, ValueType};

/// Alignment of tensor data in a file without `general.alignment`, in bytes.
const DEFAULT_ALIGNMENT: u32 = 32;
/// Largest alignment accepted, in bytes. Real files use 32, some a page.
const MAX_ALIGNMENT: u32 = 1 << 20;

/// A parsed GGUF file. Strings, arrays and tensor data are views of the bytes it was parsed from.
#[derive(Debug, Clone)]
pub struct Gguf {
    name: String,
    version: u32,
    alignment: u32,
    metadata: Vec<(String, Value)>,
    key_index: HashMap<String, usize>,
    tensors: Vec<Tensor>,
    tensor_index: HashMap<String, usize>,
}

impl Gguf {
    /// Maps the file at `path` into memory and parses it.
    ///
    /// The file must not change while any view of it is alive: if another process truncates it, touching a lost page
    /// kills this process (SIGBUS); if another process writes to it, the weights change. Replace model files by renaming.
    pub fn open(path: &Path) -> Result<Gguf, Error> {
        let name = path.display().to_string();
        let unreadable = |e: std::io::Error| Subject::File.error(&name, format_args!("cannot read: {e}"));
        let kind = fs::metadata(path).map_err(unreadable)?; // before opening: opening a pipe would wait for its writer
        if kind.is_dir() {
            return Err(Subject::File.error(&name, "is a directory, expected a GGUF file"));
        }
        if !kind.is_file() {
            return Err(Subject::File.error(&name, "is not a regular file, only those can be mapped"));
        }
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: the map is read-only and shared; that nobody truncates or writes the file is asked of the caller above.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        Gguf::parse(&name, Bytes::from_owner(map))
    }

    /// Parses a GGUF file that is already in memory. `name` stands for its path in errors.
    pub fn parse(name: &str, bytes: Bytes) -> Result<Gguf, Error> {
        let mut reader = Reader::new(&bytes);
        let header = read::header(&mut reader).map_err(|problem| Subject::File.error(name, problem))?;
        let metadata = read::metadata(name, &mut reader, header.n_entries)?;
        let mut gguf = Gguf {
            name: name.to_string(),
            version: header.version,
            alignment: DEFAULT_ALIGNMENT,
            metadata: metadata.entries,
            key_index: metadata.index,
            tensors: Vec::new(),
            tensor_index: HashMap::new(),
        };
        gguf.alignment = gguf.read_alignment()?;
        let tensors = tensor::tensors(name, &bytes, &mut reader, header.n_tensors, gguf.alignment)?;
        gguf.tensors = tensors.tensors;
        gguf.tensor_index = tensors.index;
        Ok(gguf)
    }

    fn read_alignment(&self) -> Result<u32, Error> {
        const KEY: &str = "general.alignment";
        match self.get(KEY) {
            None => Ok(DEFAULT_ALIGNMENT),
            Some(&Value::U32(v)) if v.is_power_of_two() && v <= MAX_ALIGNMENT => Ok(v),
            Some(v) => {
                let problem = format!("{} {v}, expected a u32 power of two up to {MAX_ALIGNMENT}", v.ty());
                Err(self.key_error(KEY, problem))
            }
        }
    }

    /// The path the file was opened at, or the name given to [`Gguf::parse`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The alignment of tensor data in the file, in bytes.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// All metadata, in the order of the file.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensor_index.get(name).map(|&i| &self.tensors[i])
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.key_index.get(key).map(|&i| &self.metadata[i].1)
    }

    /// The value of a key as `T`, if the key is there. Wrong type, or a number that does not fit, is an error.
    pub fn optional<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, Error> {
        self.get(key).map(T::from_value).transpose().map_err(|problem| self.key_error(key, problem))
    }

    /// The value of a key as `T`. A missing key is an error too.
    pub fn required<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, Error> {
        self.optional(key)?.ok_or_else(|| self.key_error(key, "is missing"))
    }

    /// An unsigned integer of any width.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, Error> {
        self.optional(key)
    }

    /// An unsigned integer of any width.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, Error> {
        self.optional(key)
    }

    /// A float.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, Error> {
        self.optional(key)
    }

    /// A bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        self.optional(key)
    }

    /// UTF-8 text.
    pub fn str(&self, key: &str) -> Result<Option<&str>, Error> {
        self.optional(key)
    }

    /// An array of UTF-8 texts.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>, Error> {
        self.optional(key)
    }

    /// An error about this file as a whole.
    pub fn error(&self, problem: impl Display) -> Error {
        Subject::File.error(&self.name, problem)
    }

    /// An error about a key of this file, there or missing.
    pub fn key_error(&self, key: &str, problem: impl Display) -> Error {
        Subject::Key(key).error(&self.name, problem)
    }

    /// An error about a tensor of this file, there or missing.
    pub fn tensor_error(&self, tensor: &str, problem: impl Display) -> Error {
        Subject::Tensor(tensor).error(&self.name, problem)
    }
}
