//! The weights object: constants as page-aligned read-only data, one hidden symbol each. Without an operating system there
//! are no pages, and what would align them is flash wasted.
//!
//! It is written directly as ELF because LLVM takes minutes and gigabytes for constants of this size. The constants are
//! streamed: what is in memory at a time is what the caller's [`ConstantData`] makes of one of them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use object::write::StreamingBuffer;
use object::write::elf::{FileHeader, SectionHeader, Sym, Writer};
use object::{Endianness, elf};
use sparsec_tir::{ConstantData, Program};

use crate::ArtifactError;
use crate::error::at;

/// Constants start on a page of their own, so that they can be shared and dropped by page.
const PAGE: u64 = 4096;
/// Code reaches the constants with signed 32-bit offsets; some room is left for the code itself.
const LIMIT: u64 = (1 << 31) - (64 << 20);

/// Writes the weights object.
pub(crate) fn write_weights(
    path: &Path,
    program: &Program,
    data: &dyn ConstantData,
    triple: &str,
) -> Result<(), ArtifactError> {
    let Machine { machine, flags, is_64, align } = machine(triple)?;
    let (offsets, size) = layout(program)?;
    let file = File::create(path).map_err(at(path))?;
    let mut stream = StreamingBuffer::new(BufWriter::with_capacity(1 << 20, file));
    let mut writer = Writer::new(Endianness::Little, is_64, &mut stream);
    let malformed = |e: object::write::Error| ArtifactError::Object(e.to_string());

    let symbols: Vec<String> = (0..offsets.len()).map(|i| sparsec_abi::constant_symbol(&program.name, i)).collect();
    writer.reserve_file_header();
    writer.reserve_null_section_index();
    let rodata_name = writer.add_section_name(b".rodata.sparsec");
    let rodata = writer.reserve_section_index();
    // Without this note, linkers assume that the object needs an executable stack.
    let note_name = writer.add_section_name(b".note.GNU-stack");
    writer.reserve_section_index();
    writer.reserve_symtab_section_index();
    writer.reserve_strtab_section_index();
    writer.reserve_shstrtab_section_index();
    let start = writer.reserve(size, align);
    let mut names = Vec::new();
    writer.reserve_null_symbol_index();
    for symbol in &symbols {
        names.push(writer.add_string(symbol.as_bytes()));
        writer.reserve_symbol_index(Some(rodata));
    }
    writer.reserve_symtab();
    writer.reserve_strtab().map_err(malformed)?;
    writer.reserve_shstrtab().map_err(malformed)?;
    writer.reserve_section_headers();

    let header = FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_REL,
        e_machine: machine,
        e_entry: 0,
        e_flags: flags,
    };
    writer.write_file_header(&header).map_err(malformed)?;
    writer.pad_until(start);
    for (i, (constant, offset)) in program.constants.iter().zip(&offsets).enumerate() {
        writer.pad_until(start + offset);
        let mut out = Counted { writer: &mut writer, bytes: 0 };
        data.write(i, &mut out).map_err(at(Path::new(&constant.name)))?;
        if out.bytes != constant.bytes {
            let (name, expected, found) = (constant.name.clone(), constant.bytes, out.bytes);
            return Err(ArtifactError::ConstantSize { name, expected, found });
        }
    }
    writer.write_null_symbol();
    for ((name, offset), constant) in names.into_iter().zip(&offsets).zip(&program.constants) {
        writer.write_symbol(&Sym {
            section: Some(rodata.0),
            st_name: writer.string_offset(Some(name)),
            st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_OBJECT),
            st_other: elf::STV_HIDDEN.into(),
            st_shndx: elf::SHN_UNDEF,
            st_value: *offset,
            st_size: constant.bytes,
        });
    }
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    let section = |name, flags, offset, size, align| SectionHeader {
        sh_name: name,
        sh_type: elf::SHT_PROGBITS,
        sh_flags: flags,
        sh_addr: 0,
        sh_offset: offset,
        sh_size: size,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: align,
        sh_entsize: 0,
    };
    let (rodata_name, note_name) =
        (writer.section_name_offset(Some(rodata_name)), writer.section_name_offset(Some(note_name)));
    writer.write_section_header(&section(rodata_name, elf::SHF_ALLOC, start, size, align));
    writer.write_section_header(&section(note_name, elf::SectionFlags(0), start, 0, 1));
    writer.write_symtab_section_header(1);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    stream.flush().map_err(at(path))
}

/// Where each constant lies in the section, and the section's size.
fn layout(program: &Program) -> Result<(Vec<u64>, u64), ArtifactError> {
    let mut offsets = Vec::with_capacity(program.constants.len());
    let mut end: u64 = 0;
    for constant in &program.constants {
        if !constant.align.is_power_of_two() || u64::from(constant.align) > PAGE {
            return Err(ArtifactError::ConstantAlign { name: constant.name.clone(), align: constant.align });
        }
        let offset = end.next_multiple_of(u64::from(constant.align).max(64));
        offsets.push(offset);
        end = offset.saturating_add(constant.bytes);
        if end > LIMIT {
            let bytes = program.constants.iter().fold(0u64, |sum, c| sum.saturating_add(c.bytes));
            return Err(ArtifactError::TooLarge { bytes, limit: LIMIT });
        }
    }
    Ok((offsets, end))
}

/// What ELF says of a machine.
struct Machine {
    machine: elf::Machine,
    flags: elf::FileFlags,
    is_64: bool,
    /// Alignment of the constants together.
    align: u64,
}

/// RISC-V objects must agree on the floating-point ABI: double, with compressed instructions. Arm's have version 5 of its
/// ABI for embedded systems.
fn machine(triple: &str) -> Result<Machine, ArtifactError> {
    let of_64_bits = |machine, flags| Machine { machine, flags: elf::FileFlags(flags), is_64: true, align: PAGE };
    match triple.split('-').next().unwrap_or_default() {
        "x86_64" => Ok(of_64_bits(elf::EM_X86_64, 0)),
        "aarch64" => Ok(of_64_bits(elf::EM_AARCH64, 0)),
        "riscv64" | "riscv64gc" => Ok(of_64_bits(elf::EM_RISCV, 5)),
        "thumbv7em" => {
            Ok(Machine { machine: elf::EM_ARM, flags: elf::FileFlags(0x0500_0000), is_64: false, align: 64 })
        }
        _ => Err(ArtifactError::Triple { triple: triple.to_owned() }),
    }
}

/// Lets a constant be written into the object, and counts its bytes.
struct Counted<'a, 'b> {
    writer: &'a mut Writer<'b>,
    bytes: u64,
}

impl Write for Counted<'_, '_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.writer.write(data);
        self.bytes += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
