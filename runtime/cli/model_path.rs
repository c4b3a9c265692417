//! The value of `-m`: a file of this machine.

use clap::builder::{OsStringValueParser, TypedValueParser};
use std::path::PathBuf;

/// What to do instead of naming an address.
pub const NO_DOWNLOAD: &str = "nothing is downloaded: fetch the GGUF file first, then name it with -m";
/// How, for the hub that most addresses are of.
const FETCH: &str = "a browser, curl -LO, or `hf download REPOSITORY FILE` fetches it";

/// Hosts that are typed without a scheme.
const HOSTS: [&str; 3] = ["hf.co/", "huggingface.co/", "www.huggingface.co/"];

/// A parser that refuses addresses.
pub fn model_file() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| match text.to_str().and_then(refused) {
        Some(why) => Err(why),
        None => Ok(PathBuf::from(text)),
    })
}

/// Why `text` is not a path, if it is an address.
fn refused(text: &str) -> Option<String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        return match scheme {
            "file" => Some(format!("name the file by its path: {rest}")),
            _ if is_scheme => Some(format!("{NO_DOWNLOAD}; {FETCH}")),
            _ => None,
        };
    }
    let is_address = HOSTS.iter().any(|host| text.starts_with(host)) || text.starts_with("hf:");
    is_address.then(|| format!("{NO_DOWNLOAD}; {FETCH}"))
}
