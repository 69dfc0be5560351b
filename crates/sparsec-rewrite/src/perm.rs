//! Permutations of axes. `perm[i]` is the operand axis that becomes result axis `i`, as in a transpose.

use sparsec_graph::Dim;

/// Whether nothing moves.
pub(crate) fn is_identity(perm: &[usize]) -> bool {
    perm.iter().enumerate().all(|(i, &p)| i == p)
}

/// The permutation that undoes `perm`.
pub(crate) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        inverse[p] = i;
    }
    inverse
}

/// First `first`, then `second`, as one permutation.
pub(crate) fn compose(first: &[usize], second: &[usize]) -> Vec<usize> {
    second.iter().map(|&i| first[i]).collect()
}

/// The items in the order of `perm`.
pub(crate) fn apply<T: Clone>(perm: &[usize], items: &[T]) -> Vec<T> {
    perm.iter().map(|&p| items[p].clone()).collect()
}

/// Where operand axis `axis` stands in the result.
pub(crate) fn position(perm: &[usize], axis: usize) -> usize {
    perm.iter().position(|&p| p == axis).unwrap_or(axis)
}

/// Whether only axes of extent 1 move, so that memory stays as it is.
pub(crate) fn is_view(perm: &[usize], shape: &[Dim]) -> bool {
    let mut long = perm.iter().filter(|&&p| !shape[p].is(1));
    let mut last = None;
    long.all(|&p| last.replace(p).is_none_or(|before| before < p))
}

/// Whether a reshape does nothing but move axes of extent 1: a transpose that is a view.
pub(crate) fn moves_units(from: &[Dim], to: &[Dim]) -> bool {
    let long = |shape: &[Dim]| shape.iter().filter(|d| !d.is(1)).cloned().collect::<Vec<_>>();
    from.len() == to.len() && long(from) == long(to)
}

/// Axes of two shapes of the same elements that belong together: each pair of ranges holds the same number of
/// elements, the pairs are in order, and none can be cut further. `[b, s, 768]` and `[b, s, 12, 64]` give
/// `(b, b), (s, s), (768, 12 64)`. An axis of extent 1 may stand alone against nothing.
///
/// `None` where the shapes can't be cut so, which happens only with symbolic extents that don't divide visibly.
pub(crate) fn axis_groups(from: &[Dim], to: &[Dim]) -> Option<Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>> {
    let (mut i, mut j, mut groups) = (0, 0, Vec::new());
    while i < from.len() || j < to.len() {
        let (rows, cols) = (from.len() - i, to.len() - j);
        // One axis against one, which is by far the commonest; then few axes before many.
        let (a, b) = if rows > 0 && cols > 0 && from[i] == to[j] {
            (1, 1)
        } else {
            let sizes = (1..=rows + cols).flat_map(|all| (0..=all.min(rows)).map(move |a| (a, all - a)));
            let same = |(a, b): (usize, usize)| Dim::product(&from[i..i + a]) == Dim::product(&to[j..j + b]);
            sizes.filter(|&(_, b)| b <= cols).find(|&size| same(size))?
        };
        groups.push((i..i + a, j..j + b));
        (i, j) = (i + a, j + b);
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(extents: &[i64]) -> Vec<Dim> {
        extents.iter().map(|&e| Dim::constant(e)).collect()
    }

    #[test]
    fn compose_and_inverse_cancel() {
        let perm = [2, 0, 3, 1];
        assert!(is_identity(&compose(&perm, &inverse(&perm))));
        assert_eq!(apply(&compose(&perm, &[1, 0, 2, 3]), &['a', 'b', 'c', 'd']), ['a', 'c', 'd', 'b']);
    }

    #[test]
    fn views_move_unit_axes_only() {
        assert!(is_view(&[1, 0, 2], &dims(&[1, 5, 7])));
        assert!(!is_view(&[2, 0, 1], &dims(&[1, 5, 7])));
        assert!(is_view(&[1, 2, 0], &dims(&[1, 5, 7])));
        assert!(!is_view(&[0, 2, 1], &dims(&[1, 5, 7])));
    }

    #[test]
    fn groups_of_a_head_split() {
        let (b, s) = (Dim::sym("b"), Dim::sym("s"));
        let from = [b.clone(), s.clone(), Dim::constant(768)];
        let to = [b, s, Dim::constant(12), Dim::constant(64)];
        assert_eq!(axis_groups(&from, &to), Some(vec![(0..1, 0..1), (1..2, 1..2), (2..3, 2..4)]));
        assert_eq!(axis_groups(&dims(&[6]), &dims(&[1, 6])), Some(vec![(0..0, 0..1), (0..1, 1..2)]));
        assert_eq!(axis_groups(&dims(&[4, 6]), &dims(&[6, 4])), Some(vec![(0..2, 0..2)]));
    }
}
