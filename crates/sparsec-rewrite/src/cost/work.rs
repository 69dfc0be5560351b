//! What operators are made of: kinds of work, each with a constant of the machine.
//!
//! An operator's time is a sum of terms: how often its kernel does something, times what that costs. Which terms an
//! operator has follows from shapes, format and schedule; what a term costs is measured by `sparsec calibrate`, which
//! solves for the constants that explain the times of many kernels best. Nothing else of the model depends on the
//! kernels' speed, so after a change of a kernel only a new calibration is due.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! terms {
    ($($(#[$doc:meta])* $name:ident $text:literal $typical:literal, $default:literal;)*) => {
        /// A kind of work.
        ///
        /// Terms named `fma` count vector multiply-adds in units of the machine's peak, so 1.25 is 80 % of it. Those
        /// named `bytes` count bytes in units of the bandwidth of the cache that they come from, so 0.5 says that half
        /// of the transfer is hidden behind arithmetic. All others are in clock cycles.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Term {
            $($(#[$doc])* $name,)*
        }

        impl Term {
            /// All terms.
            pub const ALL: &[Term] = &[$(Term::$name),*];

            /// Its name in files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Term::$name => $text,)* }
            }

            /// What it costs by the order of magnitude, on any machine: where a search for its cost begins.
            #[must_use]
            pub fn typical(self) -> f64 {
                match self { $(Term::$name => $typical,)* }
            }

            /// What it costs on the machine that `docs/tuning.md` names.
            fn default(self) -> f64 {
                match self { $(Term::$name => $default,)* }
            }
        }
    };
}

terms! {
    /// Dense product: vector multiply-adds.
    DenseFma "dense.fma" 1.1, 0.923;
    /// Dense product: vectors of X loaded into registers.
    DenseLoad "dense.load" 0.3, 0.298;
    /// Dense product: steps of the innermost loop.
    DenseStep "dense.step" 1.0, 0.569;
    /// Dense product: panels begun and ended.
    DensePanel "dense.panel" 20.0, 18.4;
    /// Minimal filtering of 3x3 convolutions: vector multiply-adds in transformed coordinates.
    WinogradFma "winograd.fma" 1.3, 0.868;
    /// Minimal filtering: vectors of tiles whose input is transformed, channel by channel.
    WinogradInput "winograd.input" 120.0, 186.0;
    /// Minimal filtering: vectors of tiles whose result is transformed, output by output.
    WinogradOutput "winograd.output" 120.0, 186.0;
    /// Panels of rows (`bsr`, `csr`, `pruned`, groups): vector multiply-adds.
    PanelFma "panel.fma" 1.1, 0.847;
    /// Panels: vectors of X loaded into registers.
    PanelLoad "panel.load" 0.5, 0.461;
    /// Panels: steps of the innermost loop, one a column with a nonzero.
    PanelStep "panel.step" 1.5, 0.553;
    /// Panels: panels begun and ended.
    PanelPanel "panel.panel" 25.0, 0.0;
    /// Rows (`hyb`): vector multiply-adds.
    RowFma "row.fma" 1.4, 0.767;
    /// Rows: vectors of X loaded; an entry that two rows share is one.
    RowLoad "row.load" 0.5, 0.346;
    /// Rows: entries, padding included.
    RowEntry "row.entry" 1.0, 0.463;
    /// Rows: steps of the innermost loop.
    RowStep "row.step" 2.0, 0.958;
    /// Rows: groups of rows begun and ended.
    RowGroup "row.group" 30.0, 0.0;
    /// Depthwise convolution: vector multiply-adds.
    DepthwiseFma "depthwise.fma" 2.0, 0.648;
    /// Depthwise convolution: vectors of results.
    DepthwiseVector "depthwise.vector" 4.0, 3.39;
    /// Bands of images: vectors copied.
    BandVector "band.vector" 3.0, 2.17;
    /// Bands of images: vectors copied where a stride parts columns.
    BandStrided "band.strided" 12.0, 4.47;
    /// Bands of images: rows begun.
    BandRow "band.row" 20.0, 8.93;
    /// `nm`: vector multiply-adds.
    NmFma "nm.fma" 1.4, 1.36;
    /// `nm`: entries.
    NmEntry "nm.entry" 1.0, 0.053;
    /// `nm`: groups of rows begun and ended.
    NmGroup "nm.group" 30.0, 25.3;
    /// Loads for a single multiply-add from windows whose rows are not aligned: some cross cache lines.
    Unaligned "load.unaligned" 0.5, 0.328;
    /// Partial sums: vectors written by one partition and read by the next.
    PartialSum "partial" 3.0, 2.04;
    /// Packing: vectors copied.
    PackVector "pack.vector" 2.0, 2.89;
    /// Packing: rows of windows.
    PackRow "pack.row" 12.0, 15.5;
    /// Packing: elements that a stride parts.
    PackStrided "pack.strided" 0.8, 0.0;
    /// Packing: elements of which each is of another row of X.
    PackElement "pack.element" 3.0, 2.5;
    /// Results: vectors stored.
    StoreVector "store.vector" 2.0, 0.187;
    /// Results: rows of tiles that are stored piece by piece.
    StoreRow "store.row" 12.0, 10.1;
    /// Results: elements that do not lie side by side.
    StoreElement "store.element" 2.0, 2.91;
    /// Matrix-vector products: vector multiply-adds of dense rows.
    VectorDense "vector.dense" 1.0, 1.11;
    /// Matrix-vector products: vectors of columns of `nm`, those that are not kept included.
    VectorNm "vector.nm" 2.0, 0.0881;
    /// Matrix-vector products: columns of blocks.
    VectorBlock "vector.block" 2.0, 0.484;
    /// Matrix-vector products: entries whose input is gathered.
    VectorEntry "vector.entry" 1.2, 0.557;
    /// Matrix-vector products: rows.
    VectorRow "vector.row" 20.0, 17.0;
    /// Matrix-vector products: bytes of dense weights.
    VectorBytes "vector.bytes" 0.9, 0.718;
    /// Matrix-vector products: bytes of sparse weights.
    VectorIndexed "vector.indexed" 1.2, 1.33;
    /// Product of two activations: vector multiply-adds.
    GemmFma "gemm.fma" 1.15, 1.05;
    /// Product of two activations: panels begun and ended.
    GemmPanel "gemm.panel" 25.0, 18.9;
    /// Product of two activations: vectors packed.
    GemmPack "gemm.pack" 2.0, 1.13;
    /// Product of two activations: elements packed that do not lie side by side.
    GemmElement "gemm.element" 1.5, 1.43;
    /// Attention: vector multiply-adds.
    AttentionFma "attention.fma" 1.3, 0.974;
    /// Attention: vectors of scores.
    AttentionScore "attention.score" 25.0, 20.4;
    /// Product of a row and a matrix of activations: vectors of the matrix.
    GemvVector "gemv.vector" 1.5, 0.743;
    /// Instructions of fused or separate element-wise operators, for a vector.
    Instruction "instruction" 0.5, 0.843;
    /// Vectors of operands that element-wise operators and epilogues read, and of results that they write.
    Operand "operand" 1.0, 0.511;
    /// Elements that are transposed.
    TransposeElement "transpose.element" 1.5, 1.97;
    /// Elements that are gathered from a table.
    GatherElement "gather.element" 1.0, 0.0517;
    /// Vectors reduced to the number of their line.
    ReduceAlong "reduce.along" 6.0, 0.69;
    /// Vectors reduced whose lanes are lines.
    ReduceVector "reduce.vector" 1.5, 1.4;
    /// Vectors of softmax.
    SoftmaxVector "softmax.vector" 14.0, 17.0;
    /// Vectors of layer normalisation.
    NormVector "norm.vector" 5.0, 8.59;
    /// Lines along the innermost axis that are reduced to a number.
    ReduceLine "reduce.line" 40.0, 0.0304;
    /// The same of softmax.
    SoftmaxLine "softmax.line" 40.0, 29.4;
    /// The same of layer normalisation.
    NormLine "norm.line" 40.0, 23.4;
    /// Largest elements of windows: vectors for each element of the window.
    PoolVector "pool.vector" 1.5, 0.715;
    /// Means of windows: the same.
    PoolMean "pool.mean" 10.0, 30.1;
    /// Means of windows with a stride: the same.
    PoolStrided "pool.strided" 20.0, 35.8;
    /// Bytes from the second-level cache.
    L2Bytes "bytes.l2" 0.3, 0.593;
    /// Bytes from the last-level cache.
    L3Bytes "bytes.l3" 0.5, 0.826;
    /// Bytes from memory.
    DramBytes "bytes.dram" 0.7, 1.12;
    /// Starts of kernels.
    Launch "launch" 300.0, 155.0;
}

/// Number of terms.
const TERMS: usize = Term::ALL.len();

/// How much of each kind of work an operator does.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    counts: [f64; TERMS],
    /// Seconds that are predicted as a whole: on a GPU arithmetic and memory overlap, and no sum of terms says so.
    seconds: f64,
}

impl Default for Work {
    fn default() -> Self {
        Work { counts: [0.0; TERMS], seconds: 0.0 }
    }
}

impl Work {
    /// Adds so many units of a term.
    pub fn add(&mut self, term: Term, count: f64) {
        self.counts[term as usize] += count;
    }

    /// Work that takes so many seconds, whatever it is made of.
    pub(crate) fn whole(seconds: f64) -> Work {
        Work { seconds, ..Work::default() }
    }

    /// Seconds that are predicted as a whole.
    pub(crate) fn whole_seconds(&self) -> f64 {
        self.seconds
    }

    /// The work of this many times the same.
    #[must_use]
    pub fn repeated(&self, times: f64) -> Work {
        Work { counts: self.counts.map(|count| count * times), seconds: self.seconds * times }
    }

    /// The terms that occur, by name.
    #[must_use]
    pub fn named(&self) -> BTreeMap<&'static str, f64> {
        Term::ALL.iter().filter(|&&t| self.count(t) != 0.0).map(|&t| (t.name(), self.count(t))).collect()
    }

    /// Units of a term.
    #[must_use]
    pub fn count(&self, term: Term) -> f64 {
        self.counts[term as usize]
    }
}

/// What one unit of each kind of work costs, in cycles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, f64>", into = "BTreeMap<String, f64>")]
pub struct Constants([f64; TERMS]);

impl Default for Constants {
    fn default() -> Self {
        let mut constants = [0.0; TERMS];
        for &term in Term::ALL {
            constants[term as usize] = term.default();
        }
        Constants(constants)
    }
}

impl Constants {
    /// The cost of a term.
    #[must_use]
    pub fn get(&self, term: Term) -> f64 {
        self.0[term as usize]
    }

    /// Sets the cost of a term.
    pub fn set(&mut self, term: Term, cycles: f64) {
        self.0[term as usize] = cycles;
    }

    /// Cycles that work takes.
    #[must_use]
    pub fn cycles(&self, work: &Work) -> f64 {
        self.0.iter().zip(&work.counts).map(|(cost, count)| cost * count).sum()
    }
}

impl From<Constants> for BTreeMap<String, f64> {
    fn from(constants: Constants) -> Self {
        Term::ALL.iter().map(|&term| (term.name().to_owned(), constants.get(term))).collect()
    }
}

impl TryFrom<BTreeMap<String, f64>> for Constants {
    type Error = String;

    fn try_from(map: BTreeMap<String, f64>) -> Result<Self, String> {
        let mut constants = [0.0; TERMS];
        for &term in Term::ALL {
            let name = term.name();
            match map.get(name) {
                Some(value) if value.is_finite() && *value >= 0.0 => constants[term as usize] = *value,
                Some(value) => return Err(format!("the cost `{name}` is {value}, which is no time")),
                None => return Err(format!("the cost `{name}` is missing")),
            }
        }
        match map.keys().find(|name| !Term::ALL.iter().any(|term| term.name() == name.as_str())) {
            Some(unknown) => Err(format!("the cost `{unknown}` is unknown")),
            None => Ok(Constants(constants)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_read_back_and_checked() {
        let mut constants = Constants::default();
        constants.set(Term::RowFma, 1.375);
        let map = BTreeMap::from(constants.clone());
        assert_eq!(map["row.fma"], 1.375);
        assert_eq!(Constants::try_from(map.clone()), Ok(constants));
        let refused = |name: &str, value: f64| {
            let mut map = map.clone();
            map.insert(name.to_owned(), value);
            Constants::try_from(map).expect_err("refused")
        };
        assert!(refused("launch", -1.0).contains("no time"));
        assert!(refused("speed", 1.0).contains("`speed` is unknown"));
        let missing = map.into_iter().filter(|(name, _)| name != "launch").collect::<BTreeMap<_, _>>();
        assert!(Constants::try_from(missing).expect_err("refused").contains("`launch` is missing"));
    }

    #[test]
    fn cycles_are_counts_times_costs() {
        let mut work = Work::default();
        work.add(Term::Launch, 2.0);
        work.add(Term::Launch, 1.0);
        let mut constants = Constants::default();
        constants.set(Term::Launch, 100.0);
        assert_eq!((work.count(Term::Launch), constants.cycles(&work)), (3.0, 300.0));
    }
}
