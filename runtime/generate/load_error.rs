use crate::backend::{self, Footprint, gib};
use crate::{gguf, model};
use thiserror::Error;

/// Why a model cannot be loaded. One line each.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file, its metadata or its tensors.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The device: it is not there, it cannot run an operation of the model, or it fails.
    #[error(transparent)]
    Backend(#[from] backend::Error),
    /// The context that was asked for is none that any device could have.
    #[error("a context of {n_ctx} tokens: expected 1 to {most}")]
    Context {
        /// Tokens.
        n_ctx: u32,
        /// The most tokens of a context.
        most: u32,
    },
    /// The context does not fit into the device's memory, and another was not allowed or does not fit either.
    #[error("{misfit}; {}", .misfit.most())]
    Memory {
        /// What does not fit.
        misfit: DoesNotFit,
    },
    /// The device that was asked for by name refused, and the CPU can run the model.
    #[error("{0}; the CPU can run it")]
    Refused(Box<LoadError>),
}

impl From<gguf::Error> for LoadError {
    fn from(error: gguf::Error) -> LoadError {
        model::Error::from(error).into()
    }
}

impl LoadError {
    /// Whether the device is to blame: another one may do.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, LoadError::Backend(_) | LoadError::Memory { misfit: DoesNotFit { fits: 0, .. } })
    }
}

/// A context that does not fit into a device's memory.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("a context of {wanted} tokens needs {}, {device} has {} free", .needs.text(), gib(*.free))]
pub struct DoesNotFit {
    /// The device's name.
    pub device: String,
    /// The context, in tokens.
    pub wanted: u32,
    /// What it takes, with the model's weights.
    pub needs: Footprint,
    /// Bytes of the device's memory that are free.
    pub free: u64,
    /// The largest context that fits, in tokens; 0 if none does.
    pub fits: u32,
}

impl DoesNotFit {
    fn most(&self) -> String {
        match self.fits {
            0 => "no context fits".to_string(),
            fits => format!("the most that fits is {fits} tokens"),
        }
    }
}
