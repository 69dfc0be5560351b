//! Tables for a terminal.

use std::collections::BTreeMap;

use sparsec::inspect::Inspection;

/// Prints lines of columns; the first row is the header.
pub(crate) fn print_table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    for row in rows {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        println!("  {}", line.trim_end());
    }
}

/// How often each format was chosen, with what it holds.
pub(crate) fn format_counts(inspection: &Inspection) -> Vec<Vec<String>> {
    let mut counts: BTreeMap<&str, (usize, u64, f64)> = BTreeMap::new();
    for weight in &inspection.weights {
        let family = weight.chosen.split('<').next().unwrap_or_default();
        let count = counts.entry(family).or_default();
        count.0 += 1;
        count.1 += weight.bytes;
        count.2 += weight.predicted_ms;
    }
    let mut rows = vec![["format", "weights", "kB", "predicted ms"].map(str::to_owned).to_vec()];
    rows.extend(counts.into_iter().map(|(format, (n, bytes, ms))| {
        vec![format.to_owned(), n.to_string(), format!("{:.1}", bytes as f64 / 1e3), format!("{ms:.2}")]
    }));
    rows
}
