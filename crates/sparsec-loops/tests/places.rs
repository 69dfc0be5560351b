//! Kernels whose indices are data, and kernels that walk along lines, against values computed by hand.

mod common;

use common::run;
use sparsec_graph::{DType, Dim, TensorData, TensorType};
use sparsec_loops::{
    Aggregate, Ngrams, Reduction, Trees, count_ngrams, cumulative_sum, determinant, gather_elements, gather_nd,
    reverse_sequence, scatter_elements, scatter_nd, tensor_scatter, tree_ensemble,
};

/// The elements of an `f32` tensor.
trait Numbers {
    /// The elements, `None` for other types.
    fn numbers(&self) -> Option<Vec<f32>>;
}

impl Numbers for TensorData {
    fn numbers(&self) -> Option<Vec<f32>> {
        self.as_f32().map(std::borrow::Cow::into_owned)
    }
}

fn counting(shape: &[usize]) -> TensorData {
    TensorData::f32(shape, (0..shape.iter().product::<usize>()).map(|i| i as f32).collect())
}

#[test]
fn elements_are_gathered_along_an_axis() {
    let x = counting(&[3, 2]);
    let indices = TensorData::i64(&[2, 2], vec![2, 0, -3, -1]);
    let y = run(gather_elements(&x.ty(), &indices.ty(), 0), &[x.clone(), indices.clone()]);
    assert_eq!(y[0].numbers(), Some(vec![4.0, 1.0, 0.0, 5.0]));
    // Indices outside are brought into range.
    let y = run(gather_elements(&x.ty(), &indices.ty(), 1), &[x, indices]);
    assert_eq!(y[0].numbers(), Some(vec![1.0, 0.0, 2.0, 3.0]));
    // Nothing is read where nothing is.
    let (x, indices) = (counting(&[2, 0]), TensorData::i64(&[2, 1], vec![0, 5]));
    let y = run(gather_elements(&x.ty(), &indices.ty(), 1), &[x, indices]);
    assert_eq!(y[0].numbers(), Some(vec![0.0, 0.0]));
}

#[test]
fn tuples_of_indices_name_slices() {
    let x = counting(&[2, 2, 2]);
    let indices = TensorData::i64(&[2, 2], vec![0, 1, -1, 0]);
    let y = run(gather_nd(&x.ty(), &indices.ty(), 0), &[x.clone(), indices]);
    assert_eq!((y[0].shape.as_slice(), y[0].numbers()), ([2, 2].as_slice(), Some(vec![2.0, 3.0, 4.0, 5.0])));
    let indices = TensorData::i64(&[2, 1], vec![1, 0]);
    let y = run(gather_nd(&x.ty(), &indices.ty(), 1), &[x.clone(), indices]);
    assert_eq!((y[0].shape.as_slice(), y[0].numbers()), ([2, 2].as_slice(), Some(vec![2.0, 3.0, 4.0, 5.0])));
    let indices = TensorData::i64(&[1, 3], vec![1, 0, 1]);
    assert_eq!(run(gather_nd(&x.ty(), &indices.ty(), 0), &[x, indices])[0].numbers(), Some(vec![5.0]));
}

#[test]
fn elements_are_scattered_along_an_axis() {
    let x = counting(&[2, 3]);
    let indices = TensorData::i64(&[1, 3], vec![2, 0, 2]);
    let updates = TensorData::f32(&[1, 3], vec![10.0, 20.0, 30.0]);
    for (reduction, expected) in [
        (Reduction::Replace, [20.0, 1.0, 30.0]),
        (Reduction::Add, [20.0, 1.0, 42.0]),
        (Reduction::Mul, [0.0, 1.0, 600.0]),
        (Reduction::Max, [20.0, 1.0, 30.0]),
        (Reduction::Min, [0.0, 1.0, 2.0]),
    ] {
        let spec = scatter_elements(&x.ty(), &indices.ty(), 1, reduction);
        let y = run(spec, &[x.clone(), indices.clone(), updates.clone()]);
        let expected: Vec<f32> = expected.into_iter().chain([3.0, 4.0, 5.0]).collect();
        assert_eq!(y[0].numbers(), Some(expected), "{reduction:?}");
    }
    let indices = TensorData::i64(&[1, 3], vec![1, 0, -1]);
    let spec = scatter_elements(&x.ty(), &indices.ty(), 0, Reduction::Replace);
    assert_eq!(run(spec, &[x, indices, updates])[0].numbers(), Some(vec![0.0, 20.0, 2.0, 10.0, 4.0, 30.0]));
}

#[test]
fn slices_are_scattered_in_order() {
    let x = counting(&[2, 2]);
    let indices = TensorData::i64(&[3, 1], vec![1, 1, -2]);
    let updates = TensorData::f32(&[3, 2], vec![10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    let inputs = [x.clone(), indices.clone(), updates];
    let y = run(scatter_nd(&x.ty(), &indices.ty(), Reduction::Replace), &inputs);
    assert_eq!(y[0].numbers(), Some(vec![50.0, 60.0, 30.0, 40.0]));
    let y = run(scatter_nd(&x.ty(), &indices.ty(), Reduction::Add), &inputs);
    assert_eq!(y[0].numbers(), Some(vec![50.0, 61.0, 42.0, 63.0]));
    let (indices, updates) = (TensorData::i64(&[1, 2], vec![0, 1]), TensorData::f32(&[1], vec![9.0]));
    let y = run(scatter_nd(&x.ty(), &indices.ty(), Reduction::Replace), &[x, indices, updates]);
    assert_eq!(y[0].numbers(), Some(vec![0.0, 9.0, 2.0, 3.0]));
}

#[test]
fn a_cache_takes_updates_where_each_batch_is() {
    let cache = TensorData::f32(&[2, 3, 1], vec![0.0; 6]);
    let update = TensorData::f32(&[2, 2, 1], vec![1.0, 2.0, 3.0, 4.0]);
    let starts = TensorData::i64(&[2], vec![1, 2]);
    let inputs = [cache.clone(), update, starts];
    let spec = |circular| tensor_scatter(&cache.ty(), &Dim::constant(2), Some(DType::I64), 1, circular);
    assert_eq!(run(spec(true), &inputs)[0].numbers(), Some(vec![0.0, 1.0, 2.0, 4.0, 0.0, 3.0]));
    assert_eq!(run(spec(false), &inputs)[0].numbers(), Some(vec![0.0, 1.0, 2.0, 0.0, 0.0, 3.0]));
    let spec = tensor_scatter(&cache.ty(), &Dim::constant(2), None, 1, false);
    assert_eq!(run(spec, &inputs[..2])[0].numbers(), Some(vec![1.0, 2.0, 0.0, 3.0, 4.0, 0.0]));
}

#[test]
fn sums_up_to_each_element() {
    let x = TensorData::f32(&[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    for (axis, exclusive, reverse, expected) in [
        (1, false, false, [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]),
        (1, true, false, [0.0, 1.0, 3.0, 0.0, 4.0, 9.0]),
        (1, false, true, [6.0, 5.0, 3.0, 15.0, 11.0, 6.0]),
        (0, true, true, [4.0, 5.0, 6.0, 0.0, 0.0, 0.0]),
    ] {
        let y = run(cumulative_sum(&x.ty(), axis, exclusive, reverse), std::slice::from_ref(&x));
        assert_eq!(y[0].numbers(), Some(expected.to_vec()), "{axis} {exclusive} {reverse}");
    }
}

#[test]
fn sequences_are_reversed_up_to_their_lengths() {
    let x = counting(&[2, 3]);
    let lengths = TensorData::i64(&[2], vec![2, 9]);
    let y = run(reverse_sequence(&x.ty(), &lengths.ty(), true), &[x.clone(), lengths]);
    assert_eq!(y[0].numbers(), Some(vec![1.0, 0.0, 2.0, 5.0, 4.0, 3.0]));
    let lengths = TensorData::i64(&[3], vec![0, 1, 2]);
    let y = run(reverse_sequence(&x.ty(), &lengths.ty(), false), &[x, lengths]);
    assert_eq!(y[0].numbers(), Some(vec![0.0, 1.0, 5.0, 3.0, 4.0, 2.0]));
}

#[test]
fn determinants_with_pivots() {
    let matrices = [
        [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        [2.0, 1.0, 1.0, 1.0, 3.0, 2.0, 1.0, 0.0, 0.0],
        [1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 0.0, 0.0, 1.0],
    ];
    let x = TensorData::f32(&[3, 3, 3], matrices.concat());
    let y = run(determinant(&x.ty()), &[x]);
    let found = y[0].numbers().expect("f32");
    for (found, expected) in found.into_iter().zip([-1.0, -1.0, 0.0]) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

#[test]
fn ngrams_are_counted_at_all_distances() {
    let x = TensorData::i64(&[2, 4], vec![1, 2, 1, 2, 2, 2, 2, 1]);
    let grams = TensorData::i64(&[2, 2], vec![1, 0, 1, 2]);
    let (lengths, columns) = (TensorData::i64(&[2], vec![1, 2]), TensorData::i64(&[2], vec![2, 0]));
    let inputs = [x.clone(), grams, lengths, columns];
    let counts = |skips| {
        let table = Ngrams { count: 2, longest: 2, columns: 3, skips };
        run(count_ngrams(&x.ty(), &Dim::constant(2), &Dim::constant(4), table), &inputs)[0].numbers()
    };
    assert_eq!(counts(0), Some(vec![2.0, 0.0, 2.0, 0.0, 0.0, 1.0]));
    assert_eq!(counts(2), Some(vec![3.0, 0.0, 2.0, 0.0, 0.0, 1.0]));
}

#[test]
fn trees_lead_to_leaves() {
    // x0 <= 1 ? leaf 0 : (x1 in {3, 5} ? leaf 1 : leaf 2), and a tree that is leaf 2.
    let nodes = vec![0, 0, -1, 1, 1, 0, 0, 0, 1, 6, -2, -3, 0, 0, 2, 0];
    let x = TensorData::f32(&[4, 2], vec![1.0, 0.0, 2.0, 5.0, 2.0, 4.0, f32::NAN, 0.0]);
    let inputs = [
        x.clone(),
        TensorData::i64(&[2, 8], nodes),
        TensorData::f32(&[2], vec![1.0, 0.0]),
        TensorData::f32(&[2], vec![3.0, 5.0]),
        TensorData::f32(&[3], vec![10.0, 20.0, 30.0]),
        TensorData::i64(&[3], vec![0, 1, 0]),
        TensorData::i64(&[2], vec![0, -3]),
    ];
    let trees = Trees { nodes: 2, leaves: 3, members: 2, trees: 2, depth: 2, targets: 2 };
    let y = run(tree_ensemble(&x.ty(), trees, Aggregate::Sum, 0.0), &inputs);
    assert_eq!(y[0].numbers(), Some(vec![40.0, 0.0, 30.0, 20.0, 60.0, 0.0, 40.0, 0.0]));
    let y = run(tree_ensemble(&x.ty(), trees, Aggregate::Max, -1.0), &inputs);
    assert_eq!(y[0].numbers(), Some(vec![30.0, -1.0, 30.0, 20.0, 30.0, -1.0, 30.0, -1.0]));
}

#[test]
fn extents_may_be_symbols() {
    let x = TensorType::new(DType::F32, vec![Dim::sym("n"), Dim::sym("m")]);
    let indices = TensorType::new(DType::I64, vec![Dim::sym("k"), Dim::sym("l")]);
    let operands = |spec: &sparsec_graph::LoopsSpec, types: &[&TensorType]| spec.check(types);
    assert_eq!(operands(&gather_elements(&x, &indices, 1), &[&x, &indices]), Ok(()));
    let updates = TensorType::new(DType::F32, indices.shape.clone());
    assert_eq!(operands(&scatter_elements(&x, &indices, 0, Reduction::Add), &[&x, &indices, &updates]), Ok(()));
    assert_eq!(operands(&cumulative_sum(&x, 0, true, true), &[&x]), Ok(()));
}
