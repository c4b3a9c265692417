use super::{DoesNotFit, LoadError};
use crate::backend::{DeviceChoice, Footprint, gib};
use crate::plan::OpKind;
use crate::text::VocabNotice;
use std::fmt;

/// What happens during a load, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum LoadEvent {
    /// A context that was asked for and takes at least 1 GiB, before any of it is allocated.
    LargeContext {
        /// The device's name.
        device: String,
        /// Tokens.
        n_ctx: u32,
        /// What it takes, with the model's weights.
        needs: Footprint,
        /// Bytes of the device's memory that are free, where the system says.
        free: Option<u64>,
    },
    /// Weights are being read, repacked and uploaded.
    Weights {
        /// Bytes that are done.
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

/// What the user of a loaded model should know about it.
#[derive(Debug)]
pub enum LoadNotice {
    /// A device could not run the model, and the next one was tried.
    DeviceRefused {
        /// Why.
        error: LoadError,
        /// The next device.
        next: DeviceChoice,
    },
    /// The backend lacks operations, which the reference runs.
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
    /// The context is larger than what the model was trained for.
    BeyondTraining {
        /// The context, in tokens.
        n_ctx: u32,
        /// Positions that the model was trained for.
        n_ctx_train: u32,
    },
    /// The model's own context does not fit into memory: the largest that does was taken.
    ContextLowered {
        /// The context, in tokens.
        n_ctx: u32,
        /// The model's own, and what it would take.
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
                "a context of {n_ctx} tokens: the model was trained for {n_ctx_train} positions, quality drops beyond"
            ),
            LoadNotice::ContextLowered { n_ctx, own } => write!(f, "context lowered to {n_ctx} tokens: {own}"),
        }
    }
}
