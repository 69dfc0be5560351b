//! Short names for what handlers append most.

use sparsec_graph::{BinaryOp, ContractSpec, DType, Dim, Op, ReduceKind, SliceAxis, TensorData, UnaryOp};

use super::context::{Context, Operand};
use super::reshape::reshape_to;
use crate::error::Fault;

type Result<T> = std::result::Result<T, Fault>;

impl Context {
    /// An operation on each element.
    pub(super) fn unary(&mut self, op: UnaryOp, x: Operand) -> Result<Operand> {
        self.append(Op::Unary(op), &[x])
    }

    /// An operation on the elements of two operands, which broadcast.
    pub(super) fn binary(&mut self, op: BinaryOp, x: Operand, y: Operand) -> Result<Operand> {
        self.append(Op::Binary(op), &[x, y])
    }

    /// An operation with a number on the right.
    pub(super) fn with_number(&mut self, op: BinaryOp, x: Operand, y: f64) -> Result<Operand> {
        let y = self.scalar(self.dtype(x), y);
        self.binary(op, x, y)
    }

    /// `if c { x } else { y }`.
    pub(super) fn select(&mut self, c: Operand, x: Operand, y: Operand) -> Result<Operand> {
        self.append(Op::Where, &[c, x, y])
    }

    /// `if c { x } else { y }` with a number for `y`.
    pub(super) fn select_or(&mut self, c: Operand, x: Operand, y: f64) -> Result<Operand> {
        let y = self.scalar(self.dtype(x), y);
        self.select(c, x, y)
    }

    /// A reduction; the axes stay with extent 1.
    pub(super) fn reduce(&mut self, kind: ReduceKind, x: Operand, axes: &[usize]) -> Result<Operand> {
        self.append(Op::Reduce { kind, axes: axes.to_vec(), keep: true }, &[x])
    }

    /// A reduction without the axes in the result.
    pub(super) fn reduce_away(&mut self, kind: ReduceKind, x: Operand, axes: &[usize]) -> Result<Operand> {
        self.append(Op::Reduce { kind, axes: axes.to_vec(), keep: false }, &[x])
    }

    /// Another element type, where it is another.
    pub(super) fn cast(&mut self, x: Operand, to: DType) -> Result<Operand> {
        if self.dtype(x) == to { Ok(x) } else { self.append(Op::Cast(to), &[x]) }
    }

    /// Another shape of the same elements, where it is another.
    pub(super) fn reshape(&mut self, x: Operand, shape: Vec<Dim>) -> Result<Operand> {
        reshape_to(self, x, shape)
    }

    /// Axes in another order, where it is another.
    pub(super) fn transpose(&mut self, x: Operand, perm: &[usize]) -> Result<Operand> {
        if perm.is_sorted() { Ok(x) } else { self.append(Op::Transpose(perm.to_vec()), &[x]) }
    }

    /// The operand with axes of extent 1 inserted at these places of the result, ascending.
    pub(super) fn insert_axes(&mut self, x: Operand, places: &[usize]) -> Result<Operand> {
        let mut shape = self.shape(x);
        for &place in places {
            shape.insert(place.min(shape.len()), Dim::constant(1));
        }
        self.reshape(x, shape)
    }

    /// An extent as a number.
    pub(super) fn const_extent(&self, x: Operand, axis: usize) -> Result<i64> {
        let extent = self.ty(x).shape.get(axis).cloned().unwrap_or_else(|| Dim::constant(1));
        self.const_dim(&extent, &format!("the extent of dimension {axis}"))
    }

    /// An expression that must be a number.
    pub(super) fn const_dim(&self, dim: &Dim, what: &str) -> Result<i64> {
        let mut symbols = Default::default();
        dim.collect_symbols(&mut symbols);
        let dims = || symbols.iter().map(|s| s.name().to_owned()).collect();
        dim.as_const().ok_or_else(|| Fault::Unresolved { what: what.to_owned(), dims: dims(), inputs: Vec::new() })
    }

    /// An `i64` scalar.
    pub(super) fn int_scalar(&mut self, value: i64) -> Operand {
        let name = self.node_name.clone();
        self.add_data(&name, TensorData::i64(&[], vec![value]))
    }

    /// One element of a vector, as a scalar.
    pub(super) fn element(&mut self, x: Operand, index: i64) -> Result<Operand> {
        let part = SliceAxis { start: Dim::constant(index), len: Dim::constant(1), step: 1 };
        let part = self.append(Op::Slice(vec![part]), &[x])?;
        self.reshape(part, Vec::new())
    }

    /// Part of one axis.
    pub(super) fn part(&mut self, x: Operand, axis: usize, start: Dim, len: Dim, step: i64) -> Result<Operand> {
        let whole = |d: &Dim| SliceAxis { start: Dim::constant(0), len: d.clone(), step: 1 };
        let mut parts: Vec<SliceAxis> = self.ty(x).shape.iter().map(whole).collect();
        if let Some(part) = parts.get_mut(axis) {
            *part = SliceAxis { start, len, step };
        }
        self.append(Op::Slice(parts), &[x])
    }

    /// A contraction by its labels: `mk,kn->mn`.
    pub(super) fn contract(&mut self, labels: &str, x: Operand, y: Operand) -> Result<Operand> {
        let spec = ContractSpec::parse(labels).ok_or_else(|| Fault::invalid(format!("labels `{labels}`")))?;
        self.append(Op::Contract(spec), &[x, y])
    }

    /// A constant that is computed from an index, `index` counting elements.
    pub(super) fn table<T: bytemuck::Pod + Send>(
        &mut self,
        dtype: DType,
        shape: &[usize],
        element: impl Fn(usize) -> T,
    ) -> Result<Operand> {
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
        self.budget.take((count as u64).saturating_mul(size_of::<T>() as u64))?;
        let name = self.node_name.clone();
        Ok(self.add_data(&name, TensorData::from_vec(dtype, shape, (0..count).map(element).collect())))
    }

    /// `0, 1, 2, ...` of a type in a shape in which one axis has more than one index.
    pub(super) fn iota(&mut self, dtype: DType, count: &Dim, rank: usize, axis: usize) -> Result<Operand> {
        let mut shape = vec![Dim::constant(1); rank];
        if let Some(extent) = shape.get_mut(axis) {
            *extent = count.clone();
        }
        let numbers = match count.as_const() {
            Some(n) => self.table(DType::I64, &[usize::try_from(n).unwrap_or(0)], |i| i as i64)?,
            None => {
                self.append_loops(sparsec_loops::iota(count), &[])?.first().copied().ok_or(Fault::MissingInput(0))?
            }
        };
        let numbers = self.cast(numbers, dtype)?;
        self.reshape(numbers, shape)
    }
}
