//! Graphs: made by capture, launched as a whole. Nodes cannot be added or changed by hand.

use crate::capture::issue;
use crate::entry::entries;
use crate::raw::Out;
use crate::state::{Graph, with};
use crate::status::{Outcome, Status};

/// `CUgraphInstantiate_flags`: all that there are.
const FLAGS: u64 = 15;

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct InstantiateParams {
    flags: u64,
    upload_stream: u64,
    /// What the driver writes: the node that is wrong, and what is wrong with it (0: nothing).
    error_node: u64,
    result: u32,
}

fn instantiate(out: Out<u64>, graph: u64, flags: u64) -> Outcome {
    if flags > FLAGS || out.is_null() {
        return Err(Status::InvalidValue.into());
    }
    with(|state| {
        let nodes = state.graphs.get(graph)?.nodes.clone();
        out.put(state.execs.add(Graph { context: state.current()?, nodes }))
    })
}

fn known(exec: u64) -> Outcome {
    with(|state| state.execs.get(exec).map(|_| ()))
}

entries! { Initialized:

fn cuGraphCreate(out: Out<u64>, _flags: u32) {
    with(|state| out.put(state.graphs.add(Graph { context: state.current()?, nodes: vec![] })))
}

fn cuGraphDestroy(graph: u64) {
    with(|state| state.graphs.remove(graph).map(|_| ()))
}

fn cuGraphGetNodes(graph: u64, nodes: Out<u64>, n: Out<usize>) {
    with(|state| {
        let known = state.graphs.get(graph)?.nodes.len();
        if nodes.is_null() {
            return n.put(known);
        }
        // Nodes have no handles that other calls take: their numbers.
        (0..n.get()?.min(known)).try_for_each(|i| nodes.at(i).put(i as u64 + 1))?;
        n.put(known)
    })
}

fn cuGraphInstantiateWithFlags(out: Out<u64>, graph: u64, flags: u64) {
    instantiate(out, graph, flags)
}

fn cuGraphInstantiateWithParams(out: Out<u64>, graph: u64, params: Out<InstantiateParams>) {
    let given = params.get()?;
    instantiate(out, graph, given.flags)?;
    params.put(InstantiateParams { error_node: 0, result: 0, ..given })
}

fn cuGraphUpload(exec: u64, stream: u64) {
    known(exec)?;
    with(|state| state.stream(stream).map(|_| ()))
}

fn cuGraphLaunch(exec: u64, stream: u64) {
    let nodes = with(|state| Ok(state.execs.get(exec)?.nodes.clone()))?;
    let captures = with(|state| {
        let key = state.stream(stream)?;
        Ok(state.capture_of(key).is_some())
    })?;
    if captures {
        return Err(Status::NotSupported.because("a graph within a graph"));
    }
    nodes.into_iter().try_for_each(|node| issue(stream, node))
}

fn cuGraphExecDestroy(exec: u64) {
    with(|state| state.execs.remove(exec).map(|_| ()))
}

}
