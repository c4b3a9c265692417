//! What a file is, where it is no model.

use super::{Error, Gguf};

/// Values of `general.type`, and of `general.architecture`, of files that belong to a model and are none.
const KINDS: [(&str, &str); 5] = [
    ("adapter", "a LoRA adapter, which changes a model"),
    ("mmproj", "a projector (mmproj), which turns images or sound into input of a model"),
    ("clip", "a projector (mmproj), which turns images or sound into input of a model"),
    ("imatrix", "an importance matrix, which helps to quantize a model"),
    ("controlvector", "a control vector, which steers a model"),
];

impl Gguf {
    /// Errors: the file says that it is something that belongs to a model, and is none itself.
    pub fn require_model(&self) -> Result<(), Error> {
        for key in ["general.type", "general.architecture"] {
            let found = self.text(key).ok().flatten();
            if let Some((_, kind)) = KINDS.iter().find(|(value, _)| found.as_deref() == Some(value)) {
                return Err(self.error(format_args!("not a model: the file is {kind}")));
            }
        }
        Ok(())
    }
}
