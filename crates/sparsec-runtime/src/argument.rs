//! Memory of the caller as a model's inputs and outputs, without a copy.
//!
//! Nested arrays carry their shape in their type: `[[f32; 8]; 8]` is an image, a slice of them a batch. What is laid out
//! in no such type is a slice of elements and a shape.
#![allow(unsafe_code, reason = "memory of the caller, whose length is checked here, goes to the C ABI")]

use std::ffi::c_void;
use std::marker::PhantomData;

use sparsec_abi::RawTensor;

use crate::{DType, Element, Model, RuntimeError};

/// Most dimensions that an argument has.
const MAX_RANK: usize = 16;

/// An element, or arrays of arrays of elements.
pub trait Nested: Copy + 'static {
    /// What the arrays are made of in the end.
    type Elem: Element;
    /// How deep the nesting is.
    const RANK: usize;
    /// Writes the extents, the outermost first.
    fn extents(into: &mut [i64]);
}

macro_rules! leaves {
    ($($ty:ty),*) => {$(
        impl Nested for $ty {
            type Elem = $ty;
            const RANK: usize = 0;
            fn extents(_into: &mut [i64]) {}
        }
    )*};
}

leaves!(f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

impl<T: Nested, const N: usize> Nested for [T; N] {
    type Elem = T::Elem;
    const RANK: usize = T::RANK + 1;
    fn extents(into: &mut [i64]) {
        if let Some((first, rest)) = into.split_first_mut() {
            *first = N as i64;
            T::extents(rest);
        }
    }
}

/// The shape of an argument.
#[derive(Clone, Copy, Debug)]
struct Shape {
    extents: [i64; MAX_RANK],
    rank: usize,
    dtype: DType,
}

impl Shape {
    /// `dtype` names the element type where it is not that of Rust: `bool` is held in `u8`, `f16` in `u16`.
    fn new(extents: &[i64], of: &'static str, dtype: Option<&str>, size: usize) -> Result<Shape, RuntimeError> {
        let name = dtype.unwrap_or(of);
        let dtype = DType::from_name(name).filter(|d| d.size() == size);
        let dtype = dtype.ok_or_else(|| RuntimeError::Malformed(format!("elements of {size} bytes are not {name}")))?;
        let mut all = [0; MAX_RANK];
        let room = all.get_mut(..extents.len());
        let room = room.ok_or_else(|| RuntimeError::Malformed(format!("more than {MAX_RANK} dimensions")))?;
        room.copy_from_slice(extents);
        Ok(Shape { extents: all, rank: extents.len(), dtype })
    }

    /// The shape of `count` nested arrays, or of a single one.
    fn nested<T: Nested>(count: Option<usize>, dtype: Option<&str>) -> Result<Shape, RuntimeError> {
        let lead = usize::from(count.is_some());
        let mut extents = [0; MAX_RANK];
        let too_deep = || RuntimeError::Malformed(format!("more than {MAX_RANK} dimensions"));
        let used = extents.get_mut(..T::RANK + lead).ok_or_else(too_deep)?;
        if let (Some(count), Some(first)) = (count, used.first_mut()) {
            *first = count as i64;
        }
        T::extents(&mut used[lead..]);
        Shape::new(used, T::Elem::NAME, dtype, size_of::<T::Elem>())
    }

    /// The shape of a slice that has as many elements as it says.
    fn of<E: Element>(count: usize, shape: &[i64], dtype: Option<&str>) -> Result<Shape, RuntimeError> {
        let made = Shape::new(shape, E::NAME, dtype, size_of::<E>())?;
        let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
        if product == Some(count) {
            return Ok(made);
        }
        let size = size_of::<E>();
        let expected = product.map_or(usize::MAX, |n| n.saturating_mul(size));
        let (dtype, shape) = (made.dtype.name(), shape.to_vec());
        Err(RuntimeError::TensorSize { shape, dtype, expected, found: count * size })
    }

    fn raw(&self, data: *mut c_void) -> RawTensor {
        RawTensor {
            data,
            shape: self.extents.as_ptr(),
            strides: std::ptr::null(),
            rank: self.rank as i32,
            dtype: self.dtype.code(),
        }
    }
}

/// An input: memory of the caller that is only read.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a> {
    data: *mut c_void,
    shape: Shape,
    of: PhantomData<&'a u8>,
}

impl<'a> Argument<'a> {
    /// Memory whose type has the whole shape. `dtype` names the element type where it is not that of Rust: `bool` is held
    /// in `u8`, `f16` in `u16`.
    ///
    /// # Errors
    /// Where the element type has another size, or there are too many dimensions.
    pub fn array<T: Nested>(data: &'a T, dtype: Option<&str>) -> Result<Self, RuntimeError> {
        let shape = Shape::nested::<T>(None, dtype)?;
        Ok(Argument { data: std::ptr::from_ref(data).cast_mut().cast(), shape, of: PhantomData })
    }

    /// Memory whose type has the shape but for the first dimension, which is the slice's length.
    ///
    /// # Errors
    /// As for an array.
    pub fn slice<T: Nested>(data: &'a [T], dtype: Option<&str>) -> Result<Self, RuntimeError> {
        let shape = Shape::nested::<T>(Some(data.len()), dtype)?;
        Ok(Argument { data: data.as_ptr().cast_mut().cast(), shape, of: PhantomData })
    }

    /// Elements in row-major order.
    ///
    /// # Errors
    /// As for an array, and where the shape has another number of elements.
    pub fn view<E: Element>(data: &'a [E], shape: &[i64], dtype: Option<&str>) -> Result<Self, RuntimeError> {
        let shape = Shape::of::<E>(data.len(), shape, dtype)?;
        Ok(Argument { data: data.as_ptr().cast_mut().cast(), shape, of: PhantomData })
    }
}

/// An output: memory of the caller that is written.
#[derive(Debug)]
pub struct ArgumentMut<'a> {
    data: *mut c_void,
    shape: Shape,
    of: PhantomData<&'a mut u8>,
}

impl<'a> ArgumentMut<'a> {
    /// As [`Argument::array`].
    ///
    /// # Errors
    /// As there.
    pub fn array<T: Nested>(data: &'a mut T, dtype: Option<&str>) -> Result<Self, RuntimeError> {
        let shape = Shape::nested::<T>(None, dtype)?;
        Ok(ArgumentMut { data: std::ptr::from_mut(data).cast(), shape, of: PhantomData })
    }

    /// As [`Argument::slice`].
    ///
    /// # Errors
    /// As there.
    pub fn slice<T: Nested>(data: &'a mut [T], dtype: Option<&str>) -> Result<Self, RuntimeError> {
        let shape = Shape::nested::<T>(Some(data.len()), dtype)?;
        Ok(ArgumentMut { data: data.as_mut_ptr().cast(), shape, of: PhantomData })
    }

    /// As [`Argument::view`].
    ///
    /// # Errors
    /// As there.
    pub fn view<E: Element>(data: &'a mut [E], shape: &[i64], dtype: Option<&str>) -> Result<Self, RuntimeError> {
        let shape = Shape::of::<E>(data.len(), shape, dtype)?;
        Ok(ArgumentMut { data: data.as_mut_ptr().cast(), shape, of: PhantomData })
    }
}

impl Model {
    /// Runs the model on memory of the caller. Allocates nothing once the arena is large enough ([`Model::reserve`]).
    /// Where extents depend on what the inputs hold, the outputs have room for the largest; see [`Model::result_shape`].
    ///
    /// # Errors
    /// When inputs or outputs do not fit the model.
    pub fn run_on<const I: usize, const O: usize>(
        &mut self,
        inputs: [Argument<'_>; I],
        mut outputs: [ArgumentMut<'_>; O],
    ) -> Result<(), RuntimeError> {
        let inputs_raw = inputs.each_ref().map(|a| a.shape.raw(a.data));
        let mut outputs_raw = outputs.each_mut().map(|a| a.shape.raw(a.data));
        // SAFETY: an argument has memory for as many elements as its shape, borrowed while it lives; the shapes live
        // in the two arrays, which stay where they are.
        unsafe { self.run_raw(&inputs_raw, &mut outputs_raw) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(argument: &Argument<'_>) -> Vec<i64> {
        argument.shape.extents[..argument.shape.rank].to_vec()
    }

    #[test]
    fn types_and_lengths_are_shapes() {
        let images = [[[0f32; 8]; 6]; 3];
        assert_eq!(shape(&Argument::array(&images, None).expect("fits")), [3, 6, 8]);
        assert_eq!(shape(&Argument::slice(&images[..2], None).expect("fits")), [2, 6, 8]);
        assert_eq!(shape(&Argument::array(&1i64, None).expect("fits")), [0i64; 0]);
        assert_eq!(shape(&Argument::view(&[0u8; 6], &[2, 3], Some("bool")).expect("fits")), [2, 3]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Argument::view(&[0f32; 6], &[2, 4], None).is_err());
        assert!(Argument::view(&[0f32; 6], &[-2, -3], None).is_err());
        assert!(Argument::view(&[0f32; 1], &[1; 17], None).is_err());
        assert!(Argument::array(&0f32, Some("f16")).is_err());
        assert!(ArgumentMut::view(&mut [0f32; 6], &[i64::MAX, 2], None).is_err());
    }
}
