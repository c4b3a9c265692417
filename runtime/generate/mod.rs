//! Driving a plan token by token: the session that owns the KV positions, and the sampler that chooses the next token.

mod load_error;
mod load_event;
mod loader;
mod sampler;
mod session;

pub use load_error::{DoesNotFit, LoadError};
pub use load_event::{LoadEvent, LoadNotice};
pub use loader::{LoadOptions, Loaded, load, load_model, load_model_on};
pub use sampler::{NotFinite, Sampler, SamplerOptions, check_logits};
pub use session::{Outputs, Session};
