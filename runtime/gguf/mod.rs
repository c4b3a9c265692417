//! GGUF files: memory-mapped, checked once, then handed out as views.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Versions 2 and 3, little-endian. Every
//! count, offset and size in a file is checked against the length of the file before it is used. An [`Error`] names the
//! file and the key or tensor. The module `model` checks the meaning of the values.

mod error;
mod kind;
mod map;
mod read;
mod split;
mod tensor;
mod types;
mod value;
mod write;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use error::Subject;
pub use error::{Error, excerpt};
pub use map::Watch;
use read::Reader;
pub use tensor::Tensor;
pub use types::GgmlType;
pub use value::{Array, FromValue, Value, ValueType};
pub use write::{Header, entry, padding};

/// Alignment of tensor data in a file without `general.alignment`, in bytes.
const DEFAULT_ALIGNMENT: u32 = 32;
/// Limit of the alignment in bytes. Real files use 32, some use a page.
const MAX_ALIGNMENT: u32 = 1 << 20;

/// A parsed GGUF file, or all parts of a split file. Strings, arrays and tensor data are views of the parsed bytes.
#[derive(Debug, Clone)]
pub struct Gguf {
    /// Names of the parts; one name if the file is not split.
    files: Vec<String>,
    /// All bytes of each part.
    bytes: Vec<Bytes>,
    /// The mapped files; empty if the bytes were in memory already.
    watch: Watch,
    version: u32,
    alignment: u32,
    metadata: Vec<(String, Value)>,
    key_index: HashMap<String, usize>,
    tensors: Vec<Tensor>,
    tensor_index: HashMap<String, usize>,
    /// Keys with a replaced value, and whether the value has been read.
    replaced: BTreeMap<String, Arc<AtomicBool>>,
}

impl Gguf {
    /// Maps the file at `path` into memory and parses it. For a split file, `path` is the first part; the other parts
    /// are in the same folder.
    ///
    /// The files must not change while a view of them exists: if another process truncates one, a read of a lost page
    /// ends this process (SIGBUS); if another process writes to it, the weights change. [`Gguf::watch`] detects changes
    /// where it can. Replace model files by renaming.
    pub fn open(path: &Path) -> Result<Gguf, Error> {
        let open_part = |path: &Path| {
            let (bytes, mapped) = map::map(path)?;
            let part = Gguf::parse_part(&path.display().to_string(), bytes)?;
            Ok::<_, Error>(Gguf { watch: Watch(vec![mapped]), ..part })
        };
        let first = open_part(path)?;
        let others = split::paths(&first, path)?;
        let others = others[1..].iter().map(|path| open_part(path));
        split::merge(std::iter::once(Ok(first)).chain(others).collect::<Result<_, _>>()?)
    }

    /// Parses a GGUF file that is already in memory. `name` stands for its path in errors.
    pub fn parse(name: &str, bytes: Bytes) -> Result<Gguf, Error> {
        Gguf::parse_split(vec![(name.to_string(), bytes)])
    }

    /// Parses the parts of a split file that are already in memory, in order, named as on disk.
    ///
    /// # Panics
    /// If `parts` is empty.
    pub fn parse_split(files: Vec<(String, Bytes)>) -> Result<Gguf, Error> {
        let parts = files.into_iter().map(|(name, bytes)| Gguf::parse_part(&name, bytes));
        let parts = parts.collect::<Result<Vec<Gguf>, Error>>()?;
        let names = split::paths(&parts[0], Path::new(parts[0].name()))?;
        for (i, name) in names.iter().enumerate() {
            if parts.get(i).is_none_or(|part| Path::new(part.name()) != name) {
                return Err(Subject::File.error(&name.display().to_string(), "is missing"));
            }
        }
        split::merge(parts)
    }

    /// Parses one file, which may be a part.
    fn parse_part(name: &str, bytes: Bytes) -> Result<Gguf, Error> {
        let mut reader = Reader::new(&bytes);
        let header = read::header(&mut reader).map_err(|problem| Subject::File.error(name, problem))?;
        let metadata = read::metadata(name, &mut reader, header.n_entries)?;
        let mut gguf = Gguf {
            files: vec![name.to_string()],
            bytes: vec![bytes.clone()],
            watch: Watch::default(),
            version: header.version,
            alignment: DEFAULT_ALIGNMENT,
            metadata: metadata.entries,
            key_index: metadata.index,
            tensors: Vec::new(),
            tensor_index: HashMap::new(),
            replaced: BTreeMap::new(),
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

    /// The path of the file, or the name given to [`Gguf::parse`]; for a split file that of the first part.
    pub fn name(&self) -> &str {
        &self.files[0]
    }

    /// The names of all parts; only [`Gguf::name`] if the file is not split.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// All bytes of each part, in the order of [`Gguf::files`].
    pub fn bytes(&self) -> &[Bytes] {
        &self.bytes
    }

    /// Checks whether the files have changed since they were opened.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The alignment of tensor data in the (first) file, in bytes.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// All metadata, in the order of the (first) file.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// All tensors, in the order of the file, part by part.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensor_index.get(name).map(|&i| &self.tensors[i])
    }

    /// Replaces the value of a key, or adds the key.
    pub fn replace(&mut self, key: &str, value: Value) {
        match self.key_index.get(key) {
            Some(&i) => self.metadata[i].1 = value,
            None => {
                self.key_index.insert(key.to_string(), self.metadata.len());
                self.metadata.push((key.to_string(), value));
            }
        }
        self.replaced.entry(key.to_string()).or_default();
    }

    /// The keys given to [`Gguf::replace`].
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        self.replaced.keys().map(String::as_str)
    }

    /// The keys given to [`Gguf::replace`] whose values have not been read since, here or in a clone.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        self.replaced.iter().filter(|(_, read)| !read.load(Ordering::Relaxed)).map(|(key, _)| key.as_str())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        if let Some(read) = self.replaced.get(key) {
            read.store(true, Ordering::Relaxed);
        }
        self.key_index.get(key).map(|&i| &self.metadata[i].1)
    }

    /// The value of a key as `T`; None if the key is missing. Errors: the type is wrong, or a number does not fit.
    pub fn optional<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, Error> {
        self.get(key).map(T::from_value).transpose().map_err(|problem| self.key_error(key, problem))
    }

    /// The value of a key as `T`. Errors: those of [`Gguf::optional`]; the key is missing.
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

    /// A text whose bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn text(&self, key: &str) -> Result<Option<Cow<'_, str>>, Error> {
        self.optional(key)
    }

    /// An array of UTF-8 texts.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>, Error> {
        self.optional(key)
    }

    /// An error of the whole file.
    pub fn error(&self, problem: impl Display) -> Error {
        Subject::File.error(self.name(), problem)
    }

    /// An error of a key of this file, which may be missing.
    pub fn key_error(&self, key: &str, problem: impl Display) -> Error {
        Subject::Key(key).error(self.name(), problem)
    }

    /// An error of a tensor of this file, which may be missing. It names the part that has the tensor.
    pub fn tensor_error(&self, tensor: &str, problem: impl Display) -> Error {
        let part = self.tensor(tensor).map_or(0, |tensor| tensor.part);
        Subject::Tensor(tensor).error(&self.files[part], problem)
    }
}
