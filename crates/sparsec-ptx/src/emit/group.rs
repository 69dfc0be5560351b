//! Products of warp groups, by `wgmma`: four warps, 64 rows, factors that stay in shared memory.
//!
//! A factor is in blocks of 128 bytes, the core matrices of a layout without swizzle, each 8 lines of 16 bytes. Lines of the left factor are
//! rows: *K-major*. Those of the right one are columns, which is K-major, too, or rows: *N-major*, which the instruction calls
//! transposed. A matrix descriptor has, in units of 16 bytes, the address in bits 0 to 13, the leading byte offset from bit 16 on and
//! the stride byte offset from bit 32 on. Along k blocks lie at the leading offset, along rows of the left and columns of the
//! right factor at the stride ("Asynchronous Warpgroup Level Matrix Shared Memory Layout" of the PTX ISA).
//!
//! Register `r` of a warp's sums is register `r % 4` of the fragment of columns `8 (r / 4)` and on, as `mma` has it, so sums of
//! groups are saved as all others.

use sparsec_tir::{Access, Layout, Product, RegisterId, Tile};

use super::body::Body;
use super::error::{Emit, invalid};
use super::memory::store_type;
use super::product::inputs_of;
use super::value::{Value, class_of};
use crate::{
    Address, Base, BinaryOp, GroupA, GroupMma, Hopper, Instruction, MadMode, Operand, Reg, RegClass, Space, SparseA,
    Type,
};

/// Largest offset between blocks: 14 bits of 16 bytes.
const MOST: i64 = 16 << 14;

impl Body<'_> {
    pub(super) fn group_product(&mut self, p: &Product, tiles: u32) -> Emit<()> {
        let d = self.group_sums(&p.sums.0, &p.sums.1, tiles)?;
        let [rows, columns] = self.distances(&p.left)?;
        let a = self.descriptor(&p.left, columns, rows)?;
        let [rows, columns] = self.distances(&p.right)?;
        let b = self.descriptor(&p.right, rows, columns)?;
        let sparse = match &p.kept {
            Some(kept) => Some(SparseA { metadata: self.group_places(kept)?, selector: 0 }),
            None => None,
        };
        let add = self.code.predicate(Operand::Int(1));
        if !self.fenced {
            self.code.push(Instruction::Hopper(Hopper::GroupFence));
            self.fenced = true;
        }
        let a = GroupA::Shared { descriptor: a, transpose: false };
        let (n, inputs, transpose_b) = (8 * tiles, inputs_of(p.precision), p.right.layout == Layout::Blocks);
        let product = GroupMma { n, inputs, sparse, d, a, b, transpose_b, add, negate: [false; 2] };
        self.code.push(Instruction::Hopper(Hopper::GroupMma(product)));
        Ok(())
    }

    /// The registers of sums that differ in the last index.
    fn group_sums(&mut self, r: &RegisterId, index: &[sparsec_tir::Expr], tiles: u32) -> Emit<Vec<Reg>> {
        let Some((last, outer)) = index.split_last() else { return invalid("sums of a group without an index") };
        let mut all = Vec::new();
        for t in 0..tiles {
            let last = last.clone() + sparsec_tir::Expr::int(t.into());
            let index: Vec<_> = outer.iter().cloned().chain([last]).collect();
            all.extend(self.sums(*r, &index)?);
        }
        Ok(all)
    }

    /// Distances of blocks along rows and along columns, in bytes.
    fn distances(&mut self, tile: &Tile) -> Emit<[i64; 2]> {
        let size = self.element(tile.at.buffer)?.size() as i64;
        let mut bytes = [0; 2];
        for (bytes, stride) in bytes.iter_mut().zip(&tile.strides) {
            let found = self.constant(stride).and_then(|s| s.checked_mul(size));
            let Some(found) = found.filter(|b| b % 16 == 0 && (0..MOST).contains(b)) else {
                return invalid("the distances of a group's blocks are no multiples of 16 bytes below 256 KiB");
            };
            *bytes = found;
        }
        Ok(bytes)
    }

    /// The matrix descriptor of a factor.
    fn descriptor(&mut self, tile: &Tile, leading: i64, stride: i64) -> Emit<Reg> {
        let size = self.element(tile.at.buffer)?.size() as i64;
        let [index] = tile.at.index.as_slice() else { return invalid("an access of flat code has one index") };
        let aligned = self.divisor(index) % (16 / size) == 0;
        let (address, space) = self.address(&tile.at)?;
        let Base::Reg(base) = address.base else { return invalid("an address that is no register") };
        let offset = i64::from(address.offset);
        if space != Space::Shared || !aligned || offset % 16 != 0 {
            return invalid("a group's factor lies in shared memory, at a multiple of 16 bytes");
        }
        let start = self.code.binary(BinaryOp::Shr, Type::U32, base.into(), Operand::Int(4));
        let start = self.code.extend(Type::U64, Type::U32, start);
        let rest = (leading / 16) << 16 | (stride / 16) << 32;
        let bits = self.code.binary(BinaryOp::Add, Type::S64, start, Operand::Int(rest + offset / 16));
        Ok(self.code.in_register(RegClass::B64, bits))
    }

    /// The metadata of a warp's rows.
    fn group_places(&mut self, kept: &Access) -> Emit<Reg> {
        let Some(warp) = self.team.clone() else { return invalid("a group outside of a team") };
        let lane = self.code.lane();
        let row = self.code.binary(BinaryOp::Shr, Type::U32, lane, Operand::Int(2));
        let warp = self.code.binary(BinaryOp::And, Type::B32, warp.first(), Operand::Int(3));
        let row = self.code.mad(MadMode::Lo, Type::U32, warp, Operand::Int(16), row);
        let place = self.code.binary(BinaryOp::And, Type::B32, lane, Operand::Int(3));
        self.places_kept(kept, row, place)
    }

    /// Stores a vector in pieces of 16 bytes: lanes that share one store neighbouring elements.
    pub(super) fn spread(&mut self, to: &Access, value: &Value, distance: i64) -> Emit<()> {
        let scalar = self.element(to.buffer)?;
        let size = scalar.size() as i64;
        let value = self.code.widen(value);
        let (address, space) = self.address(&Access { lanes: 1, active: None, ..to.clone() })?;
        let Base::Reg(base) = address.base else { return invalid("an address that is no register") };
        if space != Space::Shared
            || value.ty.lanes != to.lanes
            || value.ty.scalar != scalar
            || !to.lanes.is_multiple_of(32)
        {
            return invalid("what is spread is no vector of whole warps, to shared memory");
        }
        let piece = 16 / size;
        let lane = self.code.lane();
        let (shift, mask) = (i64::from(piece.trailing_zeros()), piece - 1);
        let number = self.code.binary(BinaryOp::Shr, Type::U32, lane, Operand::Int(shift));
        let inner = self.code.binary(BinaryOp::And, Type::B32, lane, Operand::Int(mask));
        let own = self.code.mad(MadMode::Lo, Type::U32, number, Operand::Int(distance * size), base.into());
        let own = self.code.mad(MadMode::Lo, Type::U32, inner, Operand::Int(size), own);
        let own = self.code.in_register(RegClass::B32, own);
        self.loaded.clear();
        for (part, x) in value.parts.iter().enumerate() {
            // A part is 32 elements.
            let offset = i64::from(address.offset) + part as i64 * 32 / piece * distance * size;
            let Ok(offset) = i32::try_from(offset) else { return invalid("pieces that lie too far from each other") };
            let address = Address::reg(own, offset);
            let src = vec![self.code.in_register(class_of(scalar), *x).into()];
            self.code.push(Instruction::St { space, hint: None, ty: store_type(scalar), address, src });
        }
        Ok(())
    }
}
