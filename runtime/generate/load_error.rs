//! Errors of loading a model.

use crate::backend::{self, Footprint, TooLarge, gib};
use crate::{gguf, model};
use thiserror::Error;

/// An error of loading a model. Its message is one line.
#[derive(Debug, Error)]
pub enum LoadError {
    /// An error in the file, its metadata or its tensors.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The device cannot run an operation of the model.
    #[error("{name}: {error}")]
    Unsupported {
        /// The model's file.
        name: String,
        /// The operation.
        error: backend::Error,
    },
    /// The device is missing, or failed.
    #[error(transparent)]
    Backend(#[from] backend::Error),
    /// The requested context is outside the limits of every device.
    #[error("a context of {n_ctx} tokens: expected 1 to {most}")]
    Context {
        /// The requested context, in tokens.
        n_ctx: u32,
        /// The largest context, in tokens.
        most: u32,
    },
    /// The context does not fit into the device: the requested one, or any.
    #[error("{misfit}; {}", .misfit.most())]
    Memory {
        /// The sizes.
        misfit: DoesNotFit,
    },
    /// The device that was requested by name cannot run the model, and the CPU can.
    #[error("{0}; the CPU can run it")]
    Refused(Box<LoadError>),
}

impl From<gguf::Error> for LoadError {
    fn from(error: gguf::Error) -> LoadError {
        model::Error::from(error).into()
    }
}

impl LoadError {
    /// Whether the device is the cause, so that another one may run the model.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            LoadError::Unsupported { .. }
                | LoadError::Backend(_)
                | LoadError::Memory { misfit: DoesNotFit { fits: 0, .. } }
        )
    }
}

/// A context that does not fit into a device.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("a context of {wanted} tokens needs {}", .lack.text(device))]
pub struct DoesNotFit {
    /// The device's name.
    pub device: String,
    /// The context, in tokens.
    pub wanted: u32,
    /// What it needs and the device lacks.
    pub lack: Lack,
    /// The largest context that fits, in tokens; 0: no context fits.
    pub fits: u32,
}

/// What a device lacks for a context.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lack {
    /// Memory.
    Memory {
        /// The memory of the context and the weights.
        needs: Footprint,
        /// Free memory of the device, in bytes.
        free: u64,
    },
    /// A buffer that is large enough, whatever memory is free.
    Buffer(TooLarge),
}

impl Lack {
    fn text(&self, device: &str) -> String {
        match self {
            Lack::Memory { needs, free } => format!("{}, {device} has {} free", needs.text(), gib(*free)),
            Lack::Buffer(TooLarge { what, needs, has }) => {
                format!("a buffer of {} for {what}, {device} allows {}", gib(*needs), gib(*has))
            }
        }
    }
}

impl DoesNotFit {
    fn most(&self) -> String {
        match self.fits {
            0 => "no context fits".to_string(),
            fits => format!("the most that fits is {fits} tokens"),
        }
    }
}
