//! Events and notices of loading a model.

use super::{DoesNotFit, LoadError};
use crate::backend::{DeviceChoice, Footprint, gib};
use crate::plan::OpKind;
use crate::text::VocabNotice;
use std::fmt;

/// An event during a load.
#[derive(Clone, PartialEq, Debug)]
pub enum LoadEvent {
    /// The requested context takes at least 1 GiB. Sent before it is allocated.
    LargeContext {
        /// The device's name.
        device: String,
        /// The context, in tokens.
        n_ctx: u32,
        /// The memory of the context and the weights.
        needs: Footprint,
        /// Free memory of the device in bytes, if it is known.
        free: Option<u64>,
    },
    /// Weights are being read, repacked and uploaded.
    Weights {
        /// Bytes that are loaded.
        done: u64,
        /// Bytes of all weights.
        total: u64,
    },
}

impl fmt::Display for LoadEvent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            LoadEvent::LargeContext { device, n_ctx, needs, free } => {
                let of = free.map_or(String::new(), |free| format!(" of {} free", gib(free)));
                write!(f, "a context of {n_ctx} tokens takes {}{of} on {device}", needs.text())
            }
            LoadEvent::Weights { done, total } => write!(f, "{} of {} loaded", gib(*done), gib(*total)),
        }
    }
}

/// A notice about a loaded model, for the user.
#[derive(Debug)]
pub enum LoadNotice {
    /// A device cannot run the model, and the next one was tried.
    DeviceRefused {
        /// The error of the device.
        error: LoadError,
        /// The next device.
        next: DeviceChoice,
    },
    /// The backend lacks operations, and the reference runs them.
    OnReference {
        /// The device's name.
        device: String,
        /// The operations.
        ops: Vec<OpKind>,
    },
    /// What was assumed about a vocabulary.
    Vocab(VocabNotice),
    /// A key that counts the tokens does not agree with the embedding, whose rows were counted instead.
    VocabSize {
        /// What the key says.
        claimed: u64,
        /// Rows of the embedding.
        rows: u32,
    },
    /// The context is longer than the one that the model was trained for.
    BeyondTraining {
        /// The context, in tokens.
        n_ctx: u32,
        /// Positions that the model was trained for.
        n_ctx_train: u32,
    },
    /// The model's own context is longer than what is reserved without a request.
    ContextShortened {
        /// The context, in tokens.
        n_ctx: u32,
        /// The model's own context, in tokens.
        n_ctx_train: u32,
        /// The device, if the reason is that it does not report its memory.
        unreported: Option<String>,
    },
    /// The model's own context does not fit into the device: the context is the largest that does.
    ContextLowered {
        /// The context, in tokens.
        n_ctx: u32,
        /// The model's own context, with its sizes.
        own: DoesNotFit,
    },
}

impl fmt::Display for LoadNotice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            LoadNotice::DeviceRefused { error, next } if *next == DeviceChoice::CPU => {
                write!(f, "{error}: using the CPU")
            }
            LoadNotice::DeviceRefused { error, .. } => write!(f, "{error}: trying the next device"),
            LoadNotice::OnReference { device, ops } => {
                let ops: Vec<&str> = ops.iter().map(|op| op.stem()).collect();
                write!(f, "{device}: the reference runs {}", ops.join(", "))
            }
            LoadNotice::Vocab(notice) => notice.fmt(f),
            LoadNotice::VocabSize { claimed, rows } => {
                write!(
                    f,
                    "key vocab_size: {claimed}, but the embedding has {rows} rows, which is taken for the vocabulary"
                )
            }
            LoadNotice::BeyondTraining { n_ctx, n_ctx_train } => write!(
                f,
                "a context of {n_ctx} tokens: the model was trained for {n_ctx_train}, quality drops beyond that"
            ),
            LoadNotice::ContextShortened { n_ctx, n_ctx_train, unreported } => {
                let reason = unreported.as_ref().map(|device| format!("{device} does not report its memory: "));
                let reason = reason.unwrap_or_default();
                write!(f, "{reason}the context is {n_ctx} tokens of the model's {n_ctx_train}, more on request")
            }
            LoadNotice::ContextLowered { n_ctx, own } => write!(f, "context lowered to {n_ctx} tokens: {own}"),
        }
    }
}
