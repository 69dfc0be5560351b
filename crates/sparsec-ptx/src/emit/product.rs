//! Products of matrices, by tensor cores.
//!
//! The sums of 16 x 8 entries are four registers of each lane, in the order of `mma`'s fragment. With `g = lane / 4`, `t = lane % 4`
//! and `p` entries in 32 bits, register `r` of a fragment holds
//!
//! - of the left factor row `g + 8 (r % 2)`, columns from `p t + 4 p (r / 2)` on;
//! - of the right factor column `g`, rows from `p t + 4 p r` on;
//! - of the sums row `g + 8 (r / 2)`, column `2 t + r % 2`.
//!
//! 16-bit entries that neighbour in memory are one load of 32 bits; those of a right factor whose rows lie in one piece, in
//! shared memory, are brought by `ldmatrix.trans`. A sparse left factor is laid out as the columns that it stores. Lane `4 g` has the
//! places of the first eight stored columns of rows `g` (low half) and `g + 8`, lane `4 g + 1` those of the last eight.

use sparsec_tir::{Access, Expr, Layout, Precision, Product, RegisterId, Scalar, Tile};

use super::body::Body;
use super::error::{Emit, invalid};
use super::hazard::{Spot, Touched};
use super::value::Value;
use crate::{
    Address, BinaryOp, CompareOp, Instruction, MadMode, Mma, MmaShape, Operand, Reg, RegClass, Rounding, Space,
    SparseA, Type,
};

/// A matrix with the address of its first element.
pub(super) struct Matrix {
    pub(super) base: Operand,
    pub(super) offset: i32,
    pub(super) space: Space,
    size: i64,
    pub(super) buffer: sparsec_tir::BufferId,
    /// Distances of rows and columns, in elements.
    strides: [Value; 2],
}

/// The type of the factors.
pub(super) fn inputs_of(precision: Precision) -> Type {
    match precision {
        Precision::F16 => Type::F16,
        Precision::BF16 => Type::Bf16,
        Precision::TF32 => Type::Tf32,
    }
}

impl Body<'_> {
    pub(super) fn product(&mut self, p: &Product) -> Emit<()> {
        self.wait_for(&Touched::of_product(self.kernel, p));
        let sums = self.sums(p.sums.0, &p.sums.1)?;
        let left = self.matrix(&p.left)?;
        let right = self.matrix(&p.right)?;
        let wide = p.precision == Precision::TF32;
        // Entries in a register.
        let pack = if wide { 1 } else { 2 };
        let lane = self.code.lane();
        let group = self.code.binary(BinaryOp::Shr, Type::U32, lane, Operand::Int(2));
        let place = self.code.binary(BinaryOp::And, Type::B32, lane, Operand::Int(3));

        let a = if let Some(masked) = &p.masked {
            self.load_selected(&left, masked)?
        } else if p.left.layout == Layout::Blocks {
            self.load_blocks(&left, p.precision)?
        } else {
            let mut a = Vec::new();
            let from = self.element_of(&left, (group, 1), (place, pack))?;
            for r in 0..4 {
                let at = self.step(&left, from, (8 * (r % 2), 4 * pack * (r / 2)))?;
                a.push(self.entries(&left, at, 1, p.precision)?);
            }
            a
        };
        let depth = p.depth() as i64;
        let registers = depth / (4 * pack);
        let rows_in_one_piece = right.strides[1].as_const() == Some(1)
            && right.strides[0].as_const().is_some_and(|s| s % 8 == 0)
            && right.space == Space::Shared
            && right.offset % 16 == 0;
        let b = if pack == 2 && rows_in_one_piece && self.is_aligned(&p.right) {
            self.load_transposed(&right, registers)?
        } else {
            let from = self.element_of(&right, (place, pack), (group, 1))?;
            let mut b = Vec::new();
            for r in 0..registers {
                let at = self.step(&right, from, (4 * pack * r, 0))?;
                b.push(self.entries(&right, at, 0, p.precision)?);
            }
            b
        };
        let sparse = match &p.kept {
            Some(kept) => Some(SparseA { metadata: self.places_kept(kept, group, place)?, selector: 0 }),
            None => None,
        };
        let inputs = inputs_of(p.precision);
        let shape = match depth {
            8 => MmaShape::M16N8K8,
            16 => MmaShape::M16N8K16,
            _ => MmaShape::M16N8K32,
        };
        let mma = Mma { shape, inputs, accumulate: Type::F32, sparse, d: sums.clone(), a, b, c: sums };
        self.code.push(Instruction::Mma(mma));
        Ok(())
    }

    pub(super) fn save_tile(&mut self, to: &Tile, r: RegisterId, index: &[Expr]) -> Emit<()> {
        let sums = self.sums(r, index)?;
        let target = self.matrix(to)?;
        self.wait_for(&Touched::of_store(self.kernel, to.at.buffer, Spot::anywhere(2)));
        self.loaded.clear();
        let lane = self.code.lane();
        let group = self.code.binary(BinaryOp::Shr, Type::U32, lane, Operand::Int(2));
        let place = self.code.binary(BinaryOp::And, Type::B32, lane, Operand::Int(3));
        let from = self.element_of(&target, (group, 1), (place, 2))?;
        for (r, value) in sums.into_iter().enumerate() {
            let r = r as i64;
            let address = self.step(&target, from, (8 * (r / 2), r % 2))?;
            let src = vec![value.into()];
            self.code.push(Instruction::St { space: target.space, hint: None, ty: Type::F32, address, src });
        }
        Ok(())
    }

    pub(super) fn sums(&mut self, r: RegisterId, index: &[Expr]) -> Emit<Vec<Reg>> {
        let (slots, ty) = self.register(r, index)?;
        if ty != sparsec_tir::TILE_SUMS {
            return invalid(format!("sums of a matrix product are {ty}"));
        }
        Ok(slots)
    }

    fn matrix(&mut self, tile: &Tile) -> Emit<Matrix> {
        let (address, space) = self.address(&tile.at)?;
        let size = self.element(tile.at.buffer)?.size() as i64;
        let crate::Base::Reg(base) = address.base else { return invalid("an address that is no register") };
        let strides = [self.expr(&tile.strides[0])?, self.expr(&tile.strides[1])?];
        Ok(Matrix { base: base.into(), offset: address.offset, space, size, buffer: tile.at.buffer, strides })
    }

    /// The address of the element at a row and a column, each a lane's own number times a factor.
    fn element_of(&mut self, m: &Matrix, row: (Operand, i64), column: (Operand, i64)) -> Emit<Address> {
        let mut at = m.base;
        for ((number, times), stride) in [row, column].into_iter().zip(&m.strides) {
            at = match stride.as_const() {
                Some(stride) => self.bytes_on(m, at, number, stride.wrapping_mul(times * m.size)),
                None if m.space == Space::Shared => {
                    let stride = self.code.low_half(stride);
                    let own = self.code.binary(BinaryOp::Mul, Type::S32, number, stride);
                    self.bytes_on(m, at, own, times * m.size)
                }
                None => {
                    let stride = self.code.widen(stride).first();
                    let number = self.code.extend(Type::S64, Type::U32, number);
                    let own = self.code.binary(BinaryOp::Mul, Type::S64, number, stride);
                    self.code.mad(MadMode::Lo, Type::S64, own, Operand::Int(times * m.size), at)
                }
            };
        }
        match at {
            Operand::Reg(base) => Ok(Address::reg(base, m.offset)),
            _ => invalid("an address that is no register"),
        }
    }

    fn bytes_on(&mut self, m: &Matrix, at: Operand, number: Operand, bytes: i64) -> Operand {
        let mode = if m.space == Space::Shared { MadMode::Lo } else { MadMode::Wide };
        self.code.mad(mode, Type::U32, number, Operand::Int(bytes), at)
    }

    /// So many rows and columns on.
    fn step(&mut self, m: &Matrix, from: Address, steps: (i64, i64)) -> Emit<Address> {
        let (Some(rows), Some(columns)) = (m.strides[0].as_const(), m.strides[1].as_const()) else {
            return invalid("the distances of a matrix's rows and columns are not constant");
        };
        let bytes = steps.0.wrapping_mul(rows).wrapping_add(steps.1.wrapping_mul(columns)).wrapping_mul(m.size);
        match i32::try_from(i64::from(from.offset).wrapping_add(bytes)) {
            Ok(offset) => Ok(Address { offset, ..from }),
            Err(_) => invalid("a matrix that is too large"),
        }
    }

    /// The 32 bits of a fragment: one entry of `tf32`, or two that are neighbours along an axis (0: rows, 1: columns).
    fn entries(&mut self, m: &Matrix, at: Address, axis: usize, precision: Precision) -> Emit<Reg> {
        if precision == Precision::TF32 {
            let x = self.load_plain(m, at, Type::F32, RegClass::F32);
            let rounded = self.code.cvt(Type::Tf32, Type::F32, Some(Rounding::Rna), x.into());
            return Ok(self.code.in_register(RegClass::B32, rounded));
        }
        if m.strides[axis].as_const() == Some(1) {
            return Ok(self.load_plain(m, at, Type::B32, RegClass::B32));
        }
        let second = self.step(m, at, if axis == 0 { (1, 0) } else { (0, 1) })?;
        let src = [at, second].map(|at| self.load_plain(m, at, Type::B16, RegClass::B16)).to_vec();
        let dst = self.code.reg(RegClass::B32);
        self.code.push(Instruction::Pack { ty: Type::B32, dst, src });
        Ok(dst)
    }

    fn load_plain(&mut self, m: &Matrix, address: Address, ty: Type, class: RegClass) -> Reg {
        let (space, hint) = (m.space, self.read_hint(m.buffer, m.space));
        let load = |dst| Instruction::Ld { space, hint, ty, dst: vec![dst], address };
        if hint.is_some() {
            // Nothing writes there: what was loaded for one product serves the next.
            let loaded = self.code.pure(class, load);
            return self.code.in_register(class, loaded);
        }
        self.load_changing(class, load)
    }

    /// What one load brings of memory that the kernel writes, too.
    fn load_changing(&mut self, class: RegClass, load: impl Fn(Reg) -> Instruction) -> Reg {
        let brought = self.fragment((class, 1), |dst| load(dst[0]));
        brought[0]
    }

    /// The fragment of a right factor whose rows are 16 bytes in one piece.
    fn load_transposed(&mut self, m: &Matrix, registers: i64) -> Emit<Vec<Reg>> {
        let lane = self.code.lane();
        let own = match registers {
            2 => self.code.binary(BinaryOp::And, Type::B32, lane, Operand::Int(15)),
            _ => lane,
        };
        let address = self.element_of(m, (own, 1), (Operand::Int(0), 0))?;
        Ok(self.fragment((RegClass::B32, registers as usize), |dst| Instruction::Ldmatrix {
            transpose: true,
            dst,
            address,
        }))
    }

    /// The fragment of a left factor of blocks, each 8 rows of 16 bytes: lanes `8 r` and on have the addresses of block `r`'s rows.
    fn load_blocks(&mut self, m: &Matrix, precision: Precision) -> Emit<Vec<Reg>> {
        let (Some(rows), Some(columns)) = (m.strides[0].as_const(), m.strides[1].as_const()) else {
            return invalid("the distances of a matrix's blocks are not constant");
        };
        if m.space != Space::Shared || m.offset % 16 != 0 {
            return invalid("a matrix of blocks lies in shared memory, at a multiple of 16 bytes");
        }
        let lane = self.code.lane();
        let block = 128 / m.size;
        let own = if (rows, columns) == (block, 2 * block) {
            self.code.mad(MadMode::Lo, Type::U32, lane, Operand::Int(16), m.base)
        } else {
            let row = self.code.binary(BinaryOp::And, Type::B32, lane, Operand::Int(7));
            let half = self.code.binary(BinaryOp::Shr, Type::U32, lane, Operand::Int(3));
            let (lower, right) = (
                self.code.binary(BinaryOp::And, Type::B32, half, Operand::Int(1)),
                self.code.binary(BinaryOp::Shr, Type::U32, half, Operand::Int(1)),
            );
            let at = self.bytes_on(m, m.base, row, 16);
            let at = self.bytes_on(m, at, lower, rows.wrapping_mul(m.size));
            self.bytes_on(m, at, right, columns.wrapping_mul(m.size))
        };
        let address = Address::reg(self.code.in_register(RegClass::B32, own), m.offset);
        let words = self.fragment((RegClass::B32, 4), |dst| Instruction::Ldmatrix { transpose: false, dst, address });
        if precision != Precision::TF32 {
            return Ok(words);
        }
        let rounded = words.into_iter().map(|word| {
            let x = self.code.mov_bits(RegClass::F32, word.into());
            let rounded = self.code.cvt(Type::Tf32, Type::F32, Some(Rounding::Rna), x);
            self.code.in_register(RegClass::B32, rounded)
        });
        Ok(rounded.collect())
    }

    /// Whether the first element lies at a multiple of 16 bytes from its buffer's beginning.
    fn is_aligned(&self, tile: &Tile) -> bool {
        let [index] = tile.at.index.as_slice() else { return false };
        self.is_multiple(index, 8)
    }

    /// The word of metadata: of lane `4 g` for the first half of a row and the one 8 below, of lane `4 g + 1` for the second.
    pub(super) fn places_kept(&mut self, kept: &Access, row: Operand, place: Operand) -> Emit<Reg> {
        if self.element(kept.buffer)? != Scalar::U32 {
            return invalid("the places of a sparse factor are no u32");
        }
        let (address, space) = self.address(kept)?;
        let crate::Base::Reg(base) = address.base else { return invalid("an address that is no register") };
        let mode = if space == Space::Shared { MadMode::Lo } else { MadMode::Wide };
        let own = self.code.mad(mode, Type::U32, row, Operand::Int(4), base.into());
        let Operand::Reg(own) = own else { return invalid("an address that is no register") };
        let hint = self.read_hint(kept.buffer, space);
        let mut words = Vec::new();
        for row in [0, 8] {
            let address = Address::reg(own, address.offset + 4 * row);
            let load = |dst| Instruction::Ld { space, hint, ty: Type::U32, dst: vec![dst], address };
            words.push(if hint.is_some() {
                self.code.pure(RegClass::B32, load)
            } else {
                self.load_changing(RegClass::B32, load).into()
            });
        }
        // Bytes 0 and 1 of both words, or 2 and 3.
        let odd = self.code.binary(BinaryOp::And, Type::B32, place, Operand::Int(1));
        let odd = self.code.setp(CompareOp::Ne, Type::U32, odd, Operand::Int(0));
        let odd = self.code.predicate(odd);
        let selector = self.code.selp(Type::B32, Operand::Int(0x7632), Operand::Int(0x5410), odd);
        let (a, b) = (words[0], words[1]);
        let word = self.code.pure(RegClass::B32, |dst| Instruction::Prmt { dst, a, b, selector });
        Ok(self.code.in_register(RegClass::B32, word))
    }
}
