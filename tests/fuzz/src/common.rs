//! What the fuzz targets share with the tests, under the same path.

#[path = "../../it/common/gguf_builder.rs"]
pub mod gguf_builder;
