//! Weights of convolutions whose products are those of bytes.

use sparsec_graph::{DType, TensorData};

use crate::weight::bytes::WORD;

/// A constant weight of small integers, outputs x channels x kernel elements, row-major. The weights of an output span at most
/// 255, so a number can be added to them that makes `i8` of them.
#[derive(Clone, Debug)]
pub(crate) struct ByteFilter {
    data: TensorData,
    channels: usize,
    /// Kernel elements of a channel.
    size: usize,
    /// What is added to the weights of each output.
    added: Vec<i32>,
    /// Sums of the weights of each output, before that.
    sums: Vec<i32>,
}

impl ByteFilter {
    /// `None` where the data is no weight of a convolution of `i8` or `i16` whose outputs span at most 255.
    pub(crate) fn new(data: &TensorData) -> Option<Self> {
        let &[outputs, channels, ref kernel @ ..] = data.shape.as_slice() else { return None };
        let size = kernel.iter().product::<usize>();
        let row = channels * size;
        if row == 0 || outputs == 0 || !matches!(data.dtype, DType::I8 | DType::I16) {
            return None;
        }
        let (mut added, mut sums) = (Vec::with_capacity(outputs), Vec::with_capacity(outputs));
        for bytes in data.bytes.chunks_exact(row * data.dtype.size()) {
            let values = || bytes.chunks_exact(data.dtype.size()).map(|element| i32::from(integer(element)));
            let (lo, hi) = values().fold((i32::MAX, i32::MIN), |(lo, hi), v| (lo.min(v), hi.max(v)));
            if hi - lo > 255 {
                return None;
            }
            added.push(if lo >= -128 && hi <= 127 { 0 } else { -128 - lo });
            sums.push(values().fold(0, i32::wrapping_add));
        }
        (sums.len() == outputs).then(|| ByteFilter { data: data.clone(), channels, size, added, sums })
    }

    /// Rows.
    pub(crate) fn outputs(&self) -> usize {
        self.sums.len()
    }

    /// Channels of the input.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Words of the channels; the last one is filled up with zeros.
    pub(super) fn words(&self) -> usize {
        self.channels.div_ceil(WORD)
    }

    /// What is added to the weights of each output.
    pub(super) fn added(&self) -> &[i32] {
        &self.added
    }

    /// Sums of the weights of each output.
    pub(super) fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// Word `word` of the channels at a kernel element: what is added is added. Rows behind the last one are zero.
    pub(super) fn word(&self, row: usize, word: usize, element: usize) -> i32 {
        let added = self.added.get(row).copied().unwrap_or(0);
        let width = self.data.dtype.size();
        let byte = |i: usize| {
            let channel = word * WORD + i;
            let at = ((row * self.channels + channel) * self.size + element) * width;
            let own = self.data.bytes.get(at..at + width).filter(|_| channel < self.channels && row < self.sums.len());
            own.map_or(0, |own| (i32::from(integer(own)) + added) as u8)
        };
        i32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    }
}

/// One or two bytes, signed.
fn integer(element: &[u8]) -> i16 {
    match *element {
        [low, high] => i16::from_le_bytes([low, high]),
        [byte] => i16::from(byte as i8),
        _ => 0,
    }
}
