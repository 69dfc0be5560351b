//! Where lanes that part at a jump meet again: the immediate post-dominator of its block.

/// One instruction as control flow sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next one follows.
    Next,
    /// A jump; with a condition the next one may follow, too.
    Jump {
        /// Index of the instruction that is jumped to.
        target: usize,
        /// Whether some lanes may go on.
        conditional: bool,
    },
    /// The thread ends; with a condition the next one may follow.
    End {
        /// Whether some lanes may go on.
        conditional: bool,
    },
}

/// For each instruction that may part lanes, the index of the one where they meet; `None` where they only meet at the end.
pub(crate) fn meeting_points(code: &[Flow]) -> Vec<Option<usize>> {
    let n = code.len();
    // Basic blocks: a block starts at 0, at targets, and behind jumps and ends.
    let mut starts = vec![false; n + 1];
    starts[0] = true;
    for (i, flow) in code.iter().enumerate() {
        if let Flow::Jump { target, .. } = flow {
            starts[(*target).min(n)] = true;
        }
        if *flow != Flow::Next {
            starts[i + 1] = true;
        }
    }
    let firsts: Vec<usize> = (0..n).filter(|i| starts[*i]).collect();
    let mut block_of = vec![0; n + 1];
    for (b, first) in firsts.iter().enumerate() {
        let end = firsts.get(b + 1).copied().unwrap_or(n);
        block_of[*first..end].fill(b);
    }
    // The end of all threads is one more block.
    let exit = firsts.len();
    block_of[n] = exit;
    let successors: Vec<Vec<usize>> = (0..exit)
        .map(|b| {
            let end = firsts.get(b + 1).copied().unwrap_or(n);
            let next = block_of[end];
            match code[end - 1] {
                Flow::Next => vec![next],
                Flow::Jump { target, conditional: false } => vec![block_of[target.min(n)]],
                Flow::Jump { target, conditional: true } => vec![next, block_of[target.min(n)]],
                Flow::End { conditional: false } => vec![exit],
                Flow::End { conditional: true } => vec![next, exit],
            }
        })
        .collect();
    let immediate = post_dominators(&successors, exit);
    let mut result = vec![None; n];
    for (i, flow) in code.iter().enumerate() {
        if let Flow::Jump { conditional: true, .. } = flow {
            result[i] = immediate[block_of[i]].filter(|b| *b != exit).map(|b| firsts[b]);
        }
    }
    result
}

/// The immediate post-dominator of each block, by the iteration of Cooper, Harvey and Kennedy on the reversed graph.
fn post_dominators(successors: &[Vec<usize>], exit: usize) -> Vec<Option<usize>> {
    // Reverse graph in post-order from the exit.
    let mut predecessors = vec![Vec::new(); exit + 1];
    for (b, all) in successors.iter().enumerate() {
        for s in all {
            predecessors[*s].push(b);
        }
    }
    let mut number = vec![None; exit + 1];
    let mut order = Vec::new();
    let mut stack = vec![(exit, 0)];
    let mut seen = vec![false; exit + 1];
    seen[exit] = true;
    while let Some((b, i)) = stack.pop() {
        match predecessors[b].get(i) {
            Some(p) => {
                stack.push((b, i + 1));
                if !seen[*p] {
                    seen[*p] = true;
                    stack.push((*p, 0));
                }
            }
            None => {
                number[b] = Some(order.len());
                order.push(b);
            }
        }
    }
    let mut dominator: Vec<Option<usize>> = vec![None; exit + 1];
    dominator[exit] = Some(exit);
    let mut changed = true;
    while changed {
        changed = false;
        for b in order.iter().rev().copied().filter(|b| *b != exit) {
            let mut new = None;
            for s in successors[b].iter().copied().filter(|s| dominator[*s].is_some()) {
                new = Some(new.map_or(s, |other| common(other, s, &number, &dominator)));
            }
            if dominator[b] != new {
                dominator[b] = new;
                changed = true;
            }
        }
    }
    dominator
}

fn common(mut a: usize, mut b: usize, number: &[Option<usize>], dominator: &[Option<usize>]) -> usize {
    while a != b {
        if number[a] < number[b] {
            a = dominator[a].unwrap_or(b);
        } else {
            b = dominator[b].unwrap_or(a);
        }
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(target: usize) -> Flow {
        Flow::Jump { target, conditional: true }
    }

    const END: Flow = Flow::End { conditional: false };

    #[test]
    fn a_branch_with_two_arms_meets_behind_them() {
        // 0: if -> 3; 1: then; 2: jump 4; 3: else; 4: end
        let jump = Flow::Jump { target: 4, conditional: false };
        assert_eq!(meeting_points(&[when(3), Flow::Next, jump, Flow::Next, END])[0], Some(4));
    }

    #[test]
    fn a_loop_meets_behind_it() {
        assert_eq!(meeting_points(&[Flow::Next, Flow::Next, when(1), END])[2], Some(3));
        // A loop with a second way out, to the same place.
        assert_eq!(meeting_points(&[Flow::Next, when(4), Flow::Next, when(0), END])[1], Some(4));
    }

    #[test]
    fn an_arm_that_ends_meets_nowhere() {
        assert_eq!(meeting_points(&[when(2), END, Flow::Next, END])[0], None);
    }

    #[test]
    fn paths_that_never_end_do_not_count() {
        // Lanes in the endless loop never come; the instruction limit ends the launch.
        let back = Flow::Jump { target: 1, conditional: false };
        assert_eq!(meeting_points(&[when(3), Flow::Next, back, END])[0], Some(3));
    }
}
