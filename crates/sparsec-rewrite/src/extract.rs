//! Extraction: one e-node per needed class, so that the sum over the graph is small.
//!
//! A value that several operators use is paid once, which makes the exact problem NP-hard. A first choice is found
//! bottom up: every class takes the e-node whose whole sub-graph, shared parts counted once, is cheapest. It is then
//! improved by changing one class at a time as long as the whole graph gets cheaper. Classes and e-nodes are visited
//! in a fixed order and ties keep the earlier e-node, so the outcome is the same everywhere.

use std::collections::BTreeMap;

use egg::{Id, Language};

use crate::egraph::EGraph;
use crate::lang::ENode;

/// Rounds of the bottom-up choice, far more than it takes to settle; choices between near equals may go round and round.
const ROUNDS: usize = 200;
/// Sweeps of improvements.
const SWEEPS: usize = 6;
/// An improvement has to be larger than this share, so that rounding decides nothing.
const STEP: f64 = 1e-9;

/// The chosen e-node of every class that is needed.
pub(crate) struct Selection {
    /// Class -> e-node; classes are canonical.
    pub(crate) nodes: BTreeMap<Id, ENode>,
    /// Needed classes such that each stands after its operands.
    pub(crate) order: Vec<Id>,
}

/// Chooses e-nodes for `roots`. `None` where a root has no finite derivation, which no encoded graph has.
pub(crate) fn extract(egraph: &EGraph, roots: &[Id], cost: impl Fn(Id, &ENode) -> f64) -> Option<Selection> {
    let dense = Dense::of(egraph, cost);
    let roots: Vec<usize> =
        roots.iter().map(|&root| dense.index.get(&egraph.find(root)).copied()).collect::<Option<_>>()?;
    let mut choice = dense.choose_shared();
    if dense.walk(&roots, &choice).is_none() {
        choice = dense.choose_trees();
    }
    dense.improve(&roots, &mut choice);
    let (_, order) = dense.walk(&roots, &choice)?;
    let mut nodes = BTreeMap::new();
    for &class in &order {
        let id = dense.ids[class];
        nodes.insert(id, egraph[id].nodes[choice[class]?].clone());
    }
    Some(Selection { nodes, order: order.into_iter().map(|class| dense.ids[class]).collect() })
}

/// A class's chosen e-node, by position.
type Choice = Vec<Option<usize>>;

/// The e-graph with classes numbered from 0.
struct Dense {
    ids: Vec<Id>,
    index: BTreeMap<Id, usize>,
    /// Cost and operands of each e-node of each class.
    nodes: Vec<Vec<(f64, Vec<usize>)>>,
}

impl Dense {
    fn of(egraph: &EGraph, cost: impl Fn(Id, &ENode) -> f64) -> Self {
        let mut ids: Vec<Id> = egraph.classes().map(|class| class.id).collect();
        ids.sort_unstable();
        let index: BTreeMap<Id, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
        let operands = |node: &ENode| -> Vec<usize> {
            let mut found: Vec<usize> =
                node.children().iter().filter_map(|&x| index.get(&egraph.find(x)).copied()).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        let nodes = ids
            .iter()
            .map(|&id| egraph[id].nodes.iter().map(|node| (cost(id, node), operands(node))).collect())
            .collect();
        Dense { ids, index, nodes }
    }

    /// For every class the e-node of the cheapest sub-graph, shared parts paid once.
    fn choose_shared(&self) -> Choice {
        let count = self.ids.len();
        let mut choice: Choice = vec![None; count];
        let mut own = vec![0.0f64; count];
        let mut total = vec![f64::INFINITY; count];
        let mut below: Vec<BitSet> = vec![BitSet::default(); count];
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (class, nodes) in self.nodes.iter().enumerate() {
            for &x in nodes.iter().flat_map(|(_, operands)| operands) {
                users[x].push(class);
            }
        }
        users.iter_mut().for_each(|u| u.dedup());
        let mut dirty = vec![true; count];
        for _ in 0..ROUNDS {
            let mut changed = false;
            for class in 0..count {
                if !std::mem::take(&mut dirty[class]) {
                    continue;
                }
                let mut best: Option<(f64, usize, BitSet)> = None;
                for (i, (cost, operands)) in self.nodes[class].iter().enumerate() {
                    if operands.iter().any(|&x| choice[x].is_none()) {
                        continue;
                    }
                    let mut set = BitSet::with_bits(count);
                    operands.iter().for_each(|&x| set.union(&below[x]));
                    if set.contains(class) {
                        continue;
                    }
                    let sum = cost + set.iter().map(|x| own[x]).sum::<f64>();
                    if best.as_ref().is_none_or(|(known, ..)| sum < known * (1.0 - STEP)) {
                        best = Some((sum, i, set));
                    }
                }
                let Some((sum, i, mut set)) = best else { continue };
                set.insert(class);
                if choice[class] != Some(i) || sum < total[class] * (1.0 - STEP) || set != below[class] {
                    changed = true;
                    users[class].iter().for_each(|&user| dirty[user] = true);
                    (choice[class], own[class], total[class]) = (Some(i), self.nodes[class][i].0, sum);
                    below[class] = set;
                }
            }
            if !changed {
                break;
            }
        }
        choice
    }

    /// For every class the e-node of the cheapest tree. It never runs in a circle.
    fn choose_trees(&self) -> Choice {
        let mut choice: Choice = vec![None; self.ids.len()];
        let mut total = vec![f64::INFINITY; self.ids.len()];
        loop {
            let mut changed = false;
            for (class, nodes) in self.nodes.iter().enumerate() {
                for (i, (cost, operands)) in nodes.iter().enumerate() {
                    // Every step costs something, so that no circle is ever cheaper than the way into it.
                    let sum = cost.max(1e-12) + operands.iter().map(|&x| total[x]).sum::<f64>();
                    if sum < total[class] * (1.0 - STEP) || (total[class].is_infinite() && sum.is_finite()) {
                        (choice[class], total[class], changed) = (Some(i), sum, true);
                    }
                }
            }
            if !changed {
                return choice;
            }
        }
    }

    /// Cost and order of what the roots need; `None` where a class has no choice or the choices run in a circle.
    fn walk(&self, roots: &[usize], choice: &Choice) -> Option<(f64, Vec<usize>)> {
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut state = vec![0u8; self.ids.len()];
        let (mut cost, mut order) = (0.0, Vec::new());
        let mut stack: Vec<(usize, usize)> = Vec::new();
        for &root in roots {
            if state[root] == DONE {
                continue;
            }
            state[root] = OPEN;
            stack.push((root, 0));
            while let Some((class, next)) = stack.pop() {
                let (own, operands) = &self.nodes[class][choice[class]?];
                match operands.get(next) {
                    Some(&x) => {
                        stack.push((class, next + 1));
                        match state[x] {
                            OPEN => return None,
                            DONE => {}
                            _ => {
                                state[x] = OPEN;
                                stack.push((x, 0));
                            }
                        }
                    }
                    None => {
                        state[class] = DONE;
                        cost += own;
                        order.push(class);
                    }
                }
            }
        }
        Some((cost, order))
    }

    /// Changes one class at a time while the whole gets cheaper.
    fn improve(&self, roots: &[usize], choice: &mut Choice) {
        let Some((mut cost, mut order)) = self.walk(roots, choice) else { return };
        for _ in 0..SWEEPS {
            let before = cost;
            for class in order.clone() {
                let mut current = choice[class];
                for i in 0..self.nodes[class].len() {
                    // An alternative that is dearer than all it could save can't win.
                    if Some(i) == current || self.nodes[class][i].0 >= cost {
                        continue;
                    }
                    choice[class] = Some(i);
                    match self.walk(roots, choice) {
                        Some((sum, _)) if sum < cost * (1.0 - STEP) => (cost, current) = (sum, Some(i)),
                        _ => choice[class] = current,
                    }
                }
            }
            if cost >= before * (1.0 - STEP) {
                break;
            }
            if let Some((_, found)) = self.walk(roots, choice) {
                order = found;
            }
        }
    }
}

/// A set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct BitSet(Vec<u64>);

impl BitSet {
    fn with_bits(count: usize) -> Self {
        BitSet(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn contains(&self, bit: usize) -> bool {
        self.0.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    fn union(&mut self, other: &BitSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(i * 64 + bit)
            })
        })
    }
}
