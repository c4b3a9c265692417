//! The order in which the divergent parts of a warp run.
//!
//! A warp that diverges is a set of parts; each has a program counter and a mask of lanes. The part with the lowest order
//! runs first, and parts that meet at one block merge. In an order in which every block comes before its post-dominator
//! (loop bodies before loop exits), parts merge where a stack of immediate post-dominators would merge them, and no stack
//! is needed. A part that waits for others at a `.sync` instruction lets them run, as independent thread scheduling does
//! (Diamos et al., "SIMD Re-convergence at Thread Frontiers", 2011).

use crate::ir::{NO_GUARD, Op, Program};

/// Successors of the instruction at `pc`, if it ends a block.
fn successors(p: &Program, pc: usize) -> Option<Vec<usize>> {
    let guarded = p.code[pc].guard != NO_GUARD;
    let mut next = match &p.code[pc].op {
        Op::Bra { target } => vec![*target as usize],
        Op::Brx { targets, .. } => targets.iter().map(|t| *t as usize).collect(),
        Op::Exit => vec![],
        _ => return None,
    };
    if guarded && pc + 1 < p.code.len() {
        next.push(pc + 1);
    }
    Some(next)
}

/// Fills `block_start` and `order`.
pub(crate) fn order(p: &mut Program) {
    let n = p.code.len();
    let mut start = vec![false; n];
    start[0] = true;
    for pc in 0..n {
        if let Some(next) = successors(p, pc) {
            next.iter().for_each(|&t| start[t] = true);
            if pc + 1 < n {
                start[pc + 1] = true;
            }
        }
    }
    let mut block_of = vec![0usize; n];
    let mut firsts = Vec::new();
    for pc in 0..n {
        if start[pc] {
            firsts.push(pc);
        }
        block_of[pc] = firsts.len() - 1;
    }
    let count = firsts.len();
    let succ: Vec<Vec<usize>> = (0..count)
        .map(|b| {
            let last = firsts.get(b + 1).copied().unwrap_or(n) - 1;
            match successors(p, last) {
                Some(next) => next.iter().map(|&t| block_of[t]).collect(),
                None if last + 1 < n => vec![b + 1],
                None => vec![],
            }
        })
        .collect();
    let post = post_dominators(&succ);
    // Depth-first postorder, the successor that post-dominates first: it is finished first, hence ordered last.
    let mut rank = vec![u32::MAX; count];
    let mut state = vec![0usize; count];
    let mut stack = vec![0usize];
    let mut finished = 0u32;
    let mut todo: Vec<Vec<usize>> = succ.clone();
    for (b, next) in todo.iter_mut().enumerate() {
        next.sort_by_key(|&s| (post[b] != Some(s), std::cmp::Reverse(s)));
    }
    state[0] = 1;
    while let Some(&b) = stack.last() {
        let k = state[b] - 1;
        if let Some(&s) = todo[b].get(k) {
            state[b] += 1;
            if state[s] == 0 {
                state[s] = 1;
                stack.push(s);
            }
        } else {
            rank[b] = finished;
            finished += 1;
            stack.pop();
        }
    }
    p.order = (0..n).map(|pc| finished.wrapping_sub(rank[block_of[pc]])).collect();
    p.block_start = start;
}

/// Immediate post-dominator of each block (Cooper, Harvey and Kennedy's iteration on the reversed graph).
fn post_dominators(succ: &[Vec<usize>]) -> Vec<Option<usize>> {
    let n = succ.len();
    let exit = n;
    let mut pred = vec![Vec::new(); n + 1];
    for (b, next) in succ.iter().enumerate() {
        next.iter().for_each(|&s| pred[s].push(b));
        if next.is_empty() {
            pred[exit].push(b);
        }
    }
    // Postorder numbers on the reversed graph, from the exit.
    let mut number = vec![usize::MAX; n + 1];
    let mut order = Vec::new();
    let mut seen = vec![false; n + 1];
    let mut stack = vec![(exit, 0)];
    seen[exit] = true;
    while let Some((b, k)) = stack.pop() {
        if let Some(&p) = pred[b].get(k) {
            stack.push((b, k + 1));
            if !seen[p] {
                seen[p] = true;
                stack.push((p, 0));
            }
        } else {
            number[b] = order.len();
            order.push(b);
        }
    }
    let mut dom = vec![usize::MAX; n + 1];
    dom[exit] = exit;
    let mut changed = true;
    while changed {
        changed = false;
        for &b in order.iter().rev().filter(|&&b| b != exit) {
            let next: &[usize] = if succ[b].is_empty() { &[exit] } else { &succ[b] };
            let mut new = usize::MAX;
            for &s in next.iter().filter(|&&s| dom[s] != usize::MAX) {
                if new == usize::MAX {
                    new = s;
                    continue;
                }
                let (mut x, mut y) = (s, new);
                while x != y {
                    while number[x] < number[y] {
                        x = dom[x];
                    }
                    while number[y] < number[x] {
                        y = dom[y];
                    }
                }
                new = x;
            }
            if new != usize::MAX && dom[b] != new {
                dom[b] = new;
                changed = true;
            }
        }
    }
    (0..n).map(|b| if dom[b] < n { Some(dom[b]) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::post_dominators;

    #[test]
    fn post_dominators_of_a_loop_with_a_branch_inside() {
        // 0 -> 1; 1 -> 2 | 3; 2 -> 4; 3 -> 4; 4 -> 1 | 5
        let succ = vec![vec![1], vec![2, 3], vec![4], vec![4], vec![1, 5], vec![]];
        assert_eq!(post_dominators(&succ), [Some(1), Some(4), Some(4), Some(4), Some(5), None]);
    }
}
