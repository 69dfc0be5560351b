//! Constant data of a kernel: values, offsets, row numbers.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use sparsec_graph::Dim;
use sparsec_tir::{BufferId, BufferKind, Scalar};

use crate::context::Context;

/// Writes the bytes of a table.
type Writer = Arc<dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync>;

/// A constant array. Small ones are kept; large ones are made when they are written, so that a model's weights are
/// never in memory twice.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// With the name of the weight; set when the table becomes a constant of the program.
    pub(crate) full_name: String,
    pub(crate) elem: Scalar,
    pub(crate) elements: u64,
    pub(crate) writer: Writer,
}

impl Table {
    /// An array of plain values.
    pub(crate) fn of<T: bytemuck::NoUninit + Send + Sync>(name: &'static str, elem: Scalar, values: Vec<T>) -> Self {
        debug_assert_eq!(size_of::<T>(), elem.size());
        let elements = values.len() as u64;
        Table {
            name,
            full_name: String::new(),
            elem,
            elements,
            writer: Arc::new(move |out| out.write_all(bytemuck::cast_slice(&values))),
        }
    }

    /// An array that is made when it is written.
    pub(crate) fn lazy(
        name: &'static str,
        elem: Scalar,
        elements: u64,
        write: impl Fn(&mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Table { name, full_name: String::new(), elem, elements, writer: Arc::new(write) }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.elements * self.elem.size() as u64
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[{}]", self.name, self.elem, self.elements)
    }
}

/// Declares the tables as inputs; their lengths are parameters.
pub(crate) fn declare_tables(c: &mut Context, tables: &[Table]) -> Vec<BufferId> {
    tables
        .iter()
        .map(|t| {
            let size = c.dim(&Dim::sym(&format!("table_{}", t.name)));
            c.buffer(t.name, t.elem, BufferKind::Input, vec![size], vec![])
        })
        .collect()
}
