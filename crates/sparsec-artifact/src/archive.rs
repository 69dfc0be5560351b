//! Static libraries in the format of System V `ar`, as GNU binutils and LLVM write it.
//!
//! Written by hand, because the available writers want every member in memory, and one member here is as large as the
//! model's weights. The format is small: a magic line, then members of a 60-byte text header and data padded to two bytes;
//! the first member, `/`, maps symbols to the offsets of the members that define them.
//!
//! ```text
//! !<arch>\n
//! name/           mtime       uid   gid   mode    size      `\n
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::ArtifactError;
use crate::error::at;

/// A member: a file, and the symbols that it defines.
pub(crate) struct Member<'a> {
    pub(crate) name: String,
    pub(crate) file: &'a Path,
    pub(crate) symbols: Vec<String>,
}

/// Writes an archive of these members.
pub(crate) fn write_archive(path: &Path, members: &[Member<'_>]) -> Result<(), ArtifactError> {
    let mut sizes = Vec::new();
    for member in members {
        sizes.push(member.file.metadata().map_err(at(member.file))?.len());
    }
    let out = File::create(path).map_err(at(path))?;
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let (long_names, name_fields) = long_names(members);
    write_index(&mut out, members, &sizes, long_names.len() as u64).map_err(at(path))?;
    if !long_names.is_empty() {
        write_member_header(&mut out, "//", long_names.len() as u64).map_err(at(path))?;
        write_padded(&mut out, &long_names).map_err(at(path))?;
    }
    for ((member, size), field) in members.iter().zip(&sizes).zip(&name_fields) {
        write_member_header(&mut out, field, *size).map_err(at(path))?;
        let mut file = File::open(member.file).map_err(at(member.file))?;
        // From file to file the system copies by itself.
        out.flush().map_err(at(path))?;
        io::copy(&mut file, out.get_mut()).map_err(at(path))?;
        if size % 2 == 1 {
            out.write_all(b"\n").map_err(at(path))?;
        }
    }
    out.flush().map_err(at(path))
}

const HEADER: u64 = 60;

/// Names of more than 15 bytes lie in a member `//`, and are referred to by `/offset`.
fn long_names(members: &[Member<'_>]) -> (Vec<u8>, Vec<String>) {
    let mut table = Vec::new();
    let mut fields = Vec::new();
    for member in members {
        if member.name.len() <= 15 {
            fields.push(format!("{}/", member.name));
        } else {
            fields.push(format!("/{}", table.len()));
            table.extend_from_slice(member.name.as_bytes());
            table.extend_from_slice(b"/\n");
        }
    }
    (table, fields)
}

/// The magic line and the symbol index: count, offsets (big-endian, 32 bits), then names ended by zeros.
fn write_index(out: &mut impl Write, members: &[Member<'_>], sizes: &[u64], long_names: u64) -> io::Result<()> {
    let padded = |n: u64| n.next_multiple_of(2);
    let count: usize = members.iter().map(|m| m.symbols.len()).sum();
    let names: usize = members.iter().flat_map(|m| &m.symbols).map(|s| s.len() + 1).sum();
    let index = 4 + 4 * count as u64 + names as u64;
    let mut offset = 8 + HEADER + padded(index);
    if long_names > 0 {
        offset += HEADER + padded(long_names);
    }
    let mut table = (count as u32).to_be_bytes().to_vec();
    for (member, size) in members.iter().zip(sizes) {
        let at = u32::try_from(offset).map_err(|_| io::Error::other("the archive would pass 4 GiB"))?;
        for _ in &member.symbols {
            table.extend_from_slice(&at.to_be_bytes());
        }
        offset += HEADER + padded(*size);
    }
    for symbol in members.iter().flat_map(|m| &m.symbols) {
        table.extend_from_slice(symbol.as_bytes());
        table.push(0);
    }
    out.write_all(b"!<arch>\n")?;
    write_member_header(out, "/", table.len() as u64)?;
    write_padded(out, &table)
}

/// Times and owners are zero: the same model gives the same bytes.
fn write_member_header(out: &mut impl Write, name: &str, size: u64) -> io::Result<()> {
    writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 644)
}

fn write_padded(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    out.write_all(data)?;
    if data.len() % 2 == 1 { out.write_all(b"\n") } else { Ok(()) }
}
