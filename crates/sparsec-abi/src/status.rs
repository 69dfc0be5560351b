//! What the functions of a compiled model return.

macro_rules! statuses {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $c_name:literal, $message:literal;)*) => {
        /// A status code. Zero is success; the numbers never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum Status {
            $($(#[$doc])* $variant = $code,)*
        }

        impl Status {
            /// Every status, in the order of the codes, which count from zero without gaps.
            pub const ALL: &[Status] = &[$(Status::$variant),*];

            /// The name in the header.
            #[must_use]
            pub fn c_name(self) -> &'static str {
                match self { $(Status::$variant => $c_name,)* }
            }

            /// One sentence for people.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self { $(Status::$variant => $message,)* }
            }
        }
    };
}

statuses! {
    /// Success.
    Ok = 0, "SPARSEC_OK", "success";
    /// A required pointer is null.
    NullPointer = 1, "SPARSEC_NULL_POINTER", "a required pointer is null";
    /// Header and library differ in ABI version.
    AbiVersion = 2, "SPARSEC_ABI_VERSION_MISMATCH", "the header's ABI version is not the library's";
    /// A tensor's rank is not the model's.
    Rank = 3, "SPARSEC_BAD_RANK", "a tensor has another rank than the model asks for";
    /// A tensor's element type is not the model's.
    Dtype = 4, "SPARSEC_BAD_DTYPE", "a tensor has another element type than the model asks for";
    /// An input's extent is not the one that the model fixes.
    Extent = 5, "SPARSEC_BAD_EXTENT", "an extent of an input is not the one that the model fixes";
    /// Two inputs disagree about a symbol.
    Symbol = 6, "SPARSEC_SYMBOL_CONFLICT", "extents of the inputs disagree about a symbolic dimension";
    /// A dimension is negative or above the limit.
    Dimension = 7, "SPARSEC_BAD_DIMENSION", "a dimension is negative or larger than 2147483648";
    /// An output's shape is not what the inputs give.
    OutputShape = 8, "SPARSEC_BAD_OUTPUT_SHAPE", "the shape given for an output is not the one that the inputs lead to";
    /// Sizes in bytes do not fit.
    TooLarge = 9, "SPARSEC_TOO_LARGE", "the dimensions need more memory than can be addressed";
    /// Elements of an output share memory, or the device takes tensors in row-major order only.
    Strides = 10, "SPARSEC_BAD_STRIDES", "strides that let elements of an output share memory, or that a GPU does not take";
    /// The arena is too small.
    Arena = 11, "SPARSEC_ARENA_TOO_SMALL", "the arena is too small for these dimensions, strides and threads: reserve first";
    /// Another thread is using the context.
    Busy = 12, "SPARSEC_BUSY", "the context is in use by another thread";
    /// The system has no more memory.
    Memory = 13, "SPARSEC_OUT_OF_MEMORY", "the system has no more memory";
    /// An output overlaps an input or another output.
    Overlap = 14, "SPARSEC_OVERLAP", "the memory of an output overlaps that of another tensor";
    /// A query's index names nothing.
    Index = 15, "SPARSEC_BAD_INDEX", "an index is out of range";
    /// A pointer is not aligned.
    Alignment = 16, "SPARSEC_BAD_ALIGNMENT", "a pointer is not aligned as it must be";
    /// The number of threads is out of range.
    Threads = 17, "SPARSEC_BAD_THREADS", "the number of threads is out of range";
    /// The dimensions break a constraint of the model.
    OutOfRange = 18, "SPARSEC_OUT_OF_RANGE", "a symbolic dimension is outside the range that the model allows";
    /// No driver of GPUs can be loaded.
    NoDriver = 19, "SPARSEC_NO_DRIVER", "no driver of the GPU is installed";
    /// The machine has no such GPU.
    NoDevice = 20, "SPARSEC_NO_DEVICE", "the machine has no GPU of this number";
    /// The GPU is not one that the model was compiled for.
    Capability = 21, "SPARSEC_BAD_DEVICE", "the GPU is too old for the model, or of another kind";
    /// The files of a model are missing or damaged.
    Artefact = 22, "SPARSEC_BAD_ARTEFACT", "the files of the model can't be read, or are not of one compilation";
    /// The driver, or a kernel, failed.
    Device = 23, "SPARSEC_DEVICE_FAILED", "the GPU or its driver failed";
    /// The machine is below the lowest CPU that the library has code for.
    Cpu = 24, "SPARSEC_UNSUPPORTED_CPU", "the library has no code for this machine's CPU";
}

impl Status {
    /// The number in the ABI.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The status of a number.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Status> {
        usize::try_from(code).ok().and_then(|c| Status::ALL.get(c).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_without_gaps() {
        for (i, s) in Status::ALL.iter().enumerate() {
            assert_eq!(s.code() as usize, i);
            assert_eq!(Status::from_code(s.code()), Some(*s));
        }
        assert_eq!(Status::from_code(-1), None);
        assert_eq!(Status::from_code(Status::ALL.len() as i32), None);
    }
}
