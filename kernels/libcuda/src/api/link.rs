//! The linker: PTX goes through as it is. What is given out as machine code is PTX, which the calls that load it take.

use crate::entry::entries;
use crate::image::ptx_of;
use crate::raw::{self, In, Out, Text};
use crate::state::{Link, with};
use crate::status::{Outcome, Status};

/// `CUjitInputType`
const PTX: u32 = 1;

/// The directives that stand once at the beginning of a text.
const ONCE: [&str; 3] = [".version", ".target", ".address_size"];

/// Several texts as one: the first as it is, of the others what is not at the head.
fn joined(texts: &[String]) -> String {
    let mut out = String::new();
    for (i, text) in texts.iter().enumerate() {
        let lines = text.lines().filter(|line| i == 0 || !ONCE.iter().any(|head| line.trim_start().starts_with(head)));
        lines.for_each(|line| out.extend([line, "\n"]));
    }
    out
}

fn add(link: u64, kind: u32, data: Vec<u8>) -> Outcome {
    if kind != PTX {
        return Err(Status::NotSupported.because(format!("input of kind {kind}: only PTX can be linked")));
    }
    let text = ptx_of(data)?;
    with(|state| {
        state.links.get_mut(link)?.ptx.push(text);
        Ok(())
    })
}

entries! { Initialized:

fn cuLinkCreate_v2(_n: u32, _options: In<u32>, _values: In<u64>, out: Out<u64>) {
    with(|state| out.put(state.links.add(Link { context: state.current()?, ptx: vec![], image: vec![] })))
}

#[allow(clippy::too_many_arguments)] // of the API
fn cuLinkAddData_v2(
    link: u64,
    kind: u32,
    data: u64,
    bytes: usize,
    _name: Text,
    _n: u32,
    _options: In<u32>,
    _values: In<u64>,
) {
    add(link, kind, raw::bytes(data, bytes)?)
}

fn cuLinkAddFile_v2(link: u64, kind: u32, path: Text, _n: u32, _options: In<u32>, _values: In<u64>) {
    let path = path.get()?;
    add(link, kind, std::fs::read(&path).map_err(|e| Status::FileNotFound.because(format!("{path}: {e}")))?)
}

fn cuLinkComplete(link: u64, out: Out<u64>, bytes: Out<usize>) {
    with(|state| {
        let link = state.links.get_mut(link)?;
        link.image = joined(&link.ptx).into_bytes();
        link.image.push(0);
        out.put(link.image.as_ptr().expose_provenance() as u64)?;
        bytes.offer(link.image.len());
        Ok(())
    })
}

fn cuLinkDestroy(link: u64) {
    with(|state| state.links.remove(link).map(|_| ()))
}

}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_stand_once() {
        let text =
            |name: &str| format!(".version 8.4\n.target sm_80\n.address_size 64\n.visible .func {name}() {{ ret; }}\n");
        let both = joined(&[text("a"), text("b")]);
        assert_eq!(both.matches(".version").count(), 1);
        assert!(both.contains("func a") && both.contains("func b"), "{both}");
    }
}
