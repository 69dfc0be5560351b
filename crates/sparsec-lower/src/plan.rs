//! The memory plan: one arena, in which values that are not alive at the same time share memory.
//!
//! Values of constant size are placed first, the largest first, each at the lowest offset where it overlaps no value
//! placed before that is alive at the same time. Behind them follow slots for values whose size depends on symbols; a
//! value takes a slot that is free and has exactly its size, since sizes of different expressions can't be compared.

use sparsec_graph::Dim;

/// A value that needs memory, alive from launch `first` to launch `last`.
#[derive(Clone, Debug)]
pub(crate) struct Lifetime {
    pub(crate) bytes: Dim,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Offsets in order of the lifetimes, and the bytes needed together.
pub(crate) struct Plan {
    pub(crate) offsets: Vec<Dim>,
    pub(crate) total: Dim,
}

const ALIGN: i64 = 64;

/// Places every value.
pub(crate) fn plan(lifetimes: &[Lifetime]) -> Plan {
    let aligned = |bytes: &Dim| bytes.ceil_div(&Dim::constant(ALIGN)) * Dim::constant(ALIGN);
    let sizes: Vec<Dim> = lifetimes.iter().map(|l| aligned(&l.bytes)).collect();
    let mut offsets = vec![Dim::default(); lifetimes.len()];
    let overlaps =
        |a: usize, b: usize| lifetimes[a].first <= lifetimes[b].last && lifetimes[b].first <= lifetimes[a].last;

    let mut fixed: Vec<(usize, i64)> =
        sizes.iter().enumerate().filter_map(|(i, s)| s.as_const().map(|s| (i, s))).collect();
    fixed.sort_by_key(|&(i, size)| (std::cmp::Reverse(size), i));
    let mut placed: Vec<(usize, i64, i64)> = Vec::new();
    for (i, size) in fixed {
        let mut taken: Vec<(i64, i64)> =
            placed.iter().filter(|(j, ..)| overlaps(i, *j)).map(|&(_, from, to)| (from, to)).collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (from, to) in taken {
            if from >= offset + size {
                break;
            }
            offset = offset.max(to);
        }
        offsets[i] = Dim::constant(offset);
        placed.push((i, offset, offset + size));
    }
    let mut total = Dim::constant(placed.iter().map(|p| p.2).max().unwrap_or(0));

    // Slots of symbolic size: (size, offset, last use so far).
    let mut slots: Vec<(Dim, Dim, usize)> = Vec::new();
    let mut symbolic: Vec<usize> = (0..sizes.len()).filter(|&i| sizes[i].as_const().is_none()).collect();
    symbolic.sort_by_key(|&i| (lifetimes[i].first, i));
    for i in symbolic {
        let free = slots.iter_mut().find(|(size, _, busy)| *size == sizes[i] && *busy < lifetimes[i].first);
        if let Some((_, offset, busy)) = free {
            offsets[i] = offset.clone();
            *busy = lifetimes[i].last;
        } else {
            offsets[i] = total.clone();
            slots.push((sizes[i].clone(), total.clone(), lifetimes[i].last));
            total = total + sizes[i].clone();
        }
    }
    Plan { offsets, total }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(bytes: Dim, first: usize, last: usize) -> Lifetime {
        Lifetime { bytes, first, last }
    }

    #[test]
    fn values_that_live_together_do_not_overlap() {
        let c = Dim::constant;
        let lifetimes = [life(c(100), 0, 1), life(c(60), 1, 2), life(c(128), 2, 3), life(c(64), 0, 3)];
        let plan = plan(&lifetimes);
        for (i, a) in lifetimes.iter().enumerate() {
            for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                if a.first <= b.last && b.first <= a.last {
                    let (x, y) = (plan.offsets[i].as_const().unwrap(), plan.offsets[j].as_const().unwrap());
                    let (sx, sy) = (a.bytes.as_const().unwrap(), b.bytes.as_const().unwrap());
                    assert!(x + sx <= y || y + sy <= x, "{i} and {j} overlap");
                }
            }
        }
        assert!(plan.total.as_const().unwrap() <= 320);
    }

    #[test]
    fn symbolic_values_of_equal_size_share() {
        let s = Dim::sym("seq") * Dim::constant(64);
        let plan = plan(&[life(s.clone(), 0, 1), life(s.clone(), 1, 2), life(s.clone(), 2, 3)]);
        assert_eq!(plan.offsets[0], plan.offsets[2]);
        assert_ne!(plan.offsets[0], plan.offsets[1]);
        assert_eq!(plan.total, s.clone() + s);
    }
}
