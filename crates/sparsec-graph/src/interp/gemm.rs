//! The product of a weight matrix and a panel of columns: the inner loop of contractions and convolutions.

use super::element::{Acc, Element};

/// Columns per panel: enough to amortise the walk over a weight row, few enough that a panel stays in cache.
fn panel_width(k: usize, n: usize) -> usize {
    ((1 << 18) / k.max(1)).clamp(32, 512).min(n.max(1))
}

/// A matrix product `out[m, n] = sum_k weight(m, k) * x(k, n)`.
pub(super) struct Gemm<'a, T: Element> {
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
    /// Element `(i, j)` of the weight is `weight[row_offsets[i] + column_offsets[j]]`.
    pub(super) weight: &'a [T],
    pub(super) row_offsets: &'a [usize],
    pub(super) column_offsets: &'a [usize],
}

impl<T: Element> Gemm<'_, T> {
    /// Computes `out` (`m * n`, row-major). `fill(first, width, panel)` writes columns `first .. first + width` of `x`
    /// to `panel` (`k * width`, row-major). `bias` is added per row.
    pub(super) fn run(&self, out: &mut [T], bias: Option<&[T]>, mut fill: impl FnMut(usize, usize, &mut [T::Acc])) {
        let width = panel_width(self.k, self.n);
        let mut panel = vec![T::Acc::default(); self.k * width];
        for first in (0..self.n).step_by(width) {
            let width = width.min(self.n - first);
            let panel = &mut panel[..self.k * width];
            fill(first, width, panel);
            let half = if self.m * self.k * width > 1 << 21 { self.m / 2 } else { 0 };
            let (upper, lower) = out.split_at_mut(half * self.n);
            let panel = &*panel;
            std::thread::scope(|scope| {
                if half > 0 {
                    scope.spawn(|| self.rows(0, upper, panel, first, width, bias));
                }
                self.rows(half, lower, panel, first, width, bias);
            });
        }
    }

    /// The rows from `first_row` on that `out` holds, for the columns of one panel.
    fn rows(&self, first_row: usize, out: &mut [T], panel: &[T::Acc], first: usize, width: usize, bias: Option<&[T]>) {
        let mut acc = vec![T::Acc::default(); width];
        let mut nonzeros: Vec<(usize, T::Acc)> = Vec::with_capacity(self.k);
        for (i, row) in out.chunks_exact_mut(self.n).enumerate() {
            let base = self.row_offsets[first_row + i];
            nonzeros.clear();
            for (j, &offset) in self.column_offsets.iter().enumerate() {
                let value = self.weight[base + offset].load();
                if value != T::Acc::default() {
                    nonzeros.push((j * width, value));
                }
            }
            acc.fill(bias.map_or(T::Acc::default(), |b| b[first_row + i].load()));
            accumulate(&mut acc, &nonzeros, panel);
            for (slot, value) in row[first..first + width].iter_mut().zip(&acc) {
                *slot = T::store(*value);
            }
        }
    }
}

/// `acc += value * panel[offset ..]` for each nonzero, four at a time so that `acc` is loaded and stored less.
fn accumulate<A: Acc>(acc: &mut [A], nonzeros: &[(usize, A)], panel: &[A]) {
    let width = acc.len();
    let fours = nonzeros.chunks_exact(4);
    for &(offset, w) in fours.remainder() {
        for (slot, x) in acc.iter_mut().zip(&panel[offset..offset + width]) {
            *slot = slot.add(w.mul(*x));
        }
    }
    for four in fours {
        let &[(o0, w0), (o1, w1), (o2, w2), (o3, w3)] = four else { continue };
        let rows = panel[o0..o0 + width]
            .iter()
            .zip(&panel[o1..o1 + width])
            .zip(&panel[o2..o2 + width])
            .zip(&panel[o3..o3 + width]);
        for (slot, (((x0, x1), x2), x3)) in acc.iter_mut().zip(rows) {
            let low = w0.mul(*x0).add(w1.mul(*x1));
            let high = w2.mul(*x2).add(w3.mul(*x3));
            *slot = slot.add(low.add(high));
        }
    }
}
