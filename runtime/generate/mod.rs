//! Driving a plan token by token: the session that owns the KV positions, and the sampler that chooses the next token.

mod loader;
mod sampler;
mod session;

pub use loader::{LoadError, LoadOptions, Loaded, Report, load, load_model, load_model_stating};
pub use sampler::{NotFinite, Sampler, SamplerOptions, check_logits};
pub use session::{Outputs, Session};
