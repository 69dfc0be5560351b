//! Fewer kinds of groups.
//!
//! The loops of a group end where the processor expects it as long as the groups before had as many steps; a group of another kind
//! costs a mispredicted exit or two. Short partitions of few rows have almost as many kinds as groups. So counts are evened out where
//! that costs less: a shared column can be taken for two single entries at the cost of T loads, and a missing entry is a zero.
//!
//! ```text
//! shared, single    1,9  2,8  2,9  3,7  3,8  4,7        six kinds
//! shared by twos    0,10 2,8  2,9  2,8  2,9  4,7        four
//! singles padded    0,10 2,9  2,9  2,9  2,9  4,7        three
//! ```

use super::pairs::Group;

/// Cycles that a group of another kind than the one before costs: a mispredicted exit or two, and the words of a bucket. Fitted like
/// those of `Geometry::score`.
const SWITCH: f64 = 25.0;
/// Cycles of a load of a vector of X that shared entries save.
const LOAD: f64 = 0.3;
/// Cycles of a multiply-add with a vector of X.
const MULTIPLY: f64 = 1.2;
/// Shared counts become multiples of one of these.
const MULTIPLES: [usize; 5] = [1, 2, 3, 4, 6];

/// Evens out the counts of a partition's groups, of `in_flight` pairs each, and sorts them by kind. `vectors` are those of a tile.
pub(crate) fn level(groups: &mut [Group], in_flight: usize, vectors: f64) {
    let cost = |multiple: usize| {
        let mut kinds: Vec<(usize, usize)> = groups.iter().map(|g| rounded(g, multiple)).collect();
        let loads: usize = groups.iter().map(|g| (g.shared % multiple) * in_flight).sum();
        kinds.sort_unstable();
        kinds.dedup();
        loads as f64 * LOAD * vectors + kinds.len() as f64 * SWITCH
    };
    // The first of equals.
    let best = MULTIPLES.into_iter().min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(1);
    for group in &mut *groups {
        let (shared, _) = rounded(group, best);
        group.keep_shared(shared);
    }
    groups.sort_by_key(|g| (g.shared, g.single));
    // A step of single entries for each row of a group.
    let step = (2 * in_flight) as f64 * vectors * MULTIPLY;
    for same in groups.chunk_by_mut(|a, b| a.shared == b.shared) {
        let mut first = 0;
        for at in 0..same.len() {
            let next = same.get(at + 1).map_or(same[at].single, |g| g.single);
            if next == same[at].single {
                continue;
            }
            let steps: usize = same[first..=at].iter().map(|g| next - g.single).sum();
            if (steps as f64) * step < SWITCH {
                same[first..=at].iter_mut().for_each(|g| g.single = next);
            } else {
                first = at + 1;
            }
        }
    }
}

/// The counts of a group whose shared ones are a multiple.
fn rounded(group: &Group, multiple: usize) -> (usize, usize) {
    let rest = group.shared % multiple;
    (group.shared - rest, group.single + rest)
}

#[cfg(test)]
mod tests {
    use crate::weight::pairs::groups_of;

    #[test]
    fn few_groups_are_of_few_kinds() {
        let (m, k) = (96, 128);
        let w: Vec<f32> = (0..m * k).map(|i| if (i * 7919 + i / k * 31) % 97 < 10 { 1.0 } else { 0.0 }).collect();
        let kinds = |vectors: f64| {
            let mut groups = groups_of((&w, k), &Vec::from_iter(0..m), 0..k, (1, vectors), true);
            groups.dedup_by_key(|g| (g.shared, g.single));
            groups.len()
        };
        // Where a step takes long, evening out costs more than it saves.
        assert!(kinds(1.0) < kinds(1000.0), "{} kinds, {}", kinds(1.0), kinds(1000.0));
    }
}
