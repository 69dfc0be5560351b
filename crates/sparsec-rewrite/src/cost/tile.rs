//! Tiles, as the lowering chooses them: output pixels that a kernel computes at once, and the window of X for them.
//!
//! This follows `Geometry` of `sparsec-lower`, which this crate can't ask: the two are neighbours, and a format is chosen
//! long before a schedule exists. It needs to be right about how much is computed, packed and kept between
//! partitions, not about addresses. Its score is simpler than that of the lowering, whose costs were fitted to one family of
//! kernels, so where two tiles are nearly as good the two may differ.

use super::Machine;

/// A sliding window along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// Kernel elements.
    pub(crate) kernel: usize,
    /// Distance between windows.
    pub(crate) stride: usize,
    /// Distance between kernel elements.
    pub(crate) dilation: usize,
}

impl Window {
    /// One element, moved one by one.
    pub(crate) const POINT: Window = Window { kernel: 1, stride: 1, dilation: 1 };

    /// Kernel elements along this axis that lie in different copies of X: by phase, and by shift where asked for.
    fn copies(&self, shifted: bool) -> usize {
        let place = |k: usize| {
            let at = k * self.dilation;
            (at % self.stride, if shifted { at / self.stride } else { 0 })
        };
        let mut copies: Vec<(usize, usize)> = (0..self.kernel).map(place).collect();
        copies.sort_unstable();
        copies.dedup();
        copies.len()
    }

    /// The largest number of whole strides before a kernel element.
    fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation / self.stride
    }
}

/// What a tile is chosen for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    /// Output rows and columns.
    pub(crate) extents: (usize, usize),
    /// Vertical and horizontal window.
    pub(crate) windows: (Window, Window),
    /// Input channels.
    pub(crate) channels: usize,
    /// Outputs.
    pub(crate) outputs: usize,
    /// Fraction of the weight that is multiplied.
    pub(crate) density: f64,
}

/// What the kernel family asks of its tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// Most vectors of a tile.
    pub(crate) vectors: usize,
    /// Loads of an entry beside its vectors of X.
    pub(crate) entry_loads: f64,
    /// Whether X is copied once for each horizontal shift, so that loads are aligned.
    pub(crate) aligned: bool,
}

/// A tile and its window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tile {
    /// Output rows and columns.
    pub(crate) extents: (usize, usize),
    /// Vectors.
    pub(crate) vectors: usize,
    /// Rows of a copy of X, and distance between them.
    pub(crate) window: (usize, usize),
    /// Copies of X.
    pub(crate) planes: usize,
    /// Channels of a partition.
    pub(crate) part_channels: usize,
    /// Whether every lane is an output pixel.
    pub(crate) flat: bool,
    /// Whether kernel elements read the same copy at different columns.
    shifted: bool,
}

/// Elements to which rows of aligned windows are rounded.
const ALIGN: usize = 8;
/// Size of a window in first-level caches.
const WINDOW_SHARE: f64 = 1.0;
/// Most copies of an aligned window.
const MOST_PLANES: usize = 6;

impl Tile {
    /// A tile as the lowering might take it.
    pub(crate) fn choose(image: &Image, wish: Wish, machine: &Machine) -> Tile {
        let lanes = machine.vector_lanes as usize;
        let (vertical, horizontal) = image.windows;
        let planes_if = |aligned: bool| vertical.copies(false) * horizontal.copies(aligned);
        let aligned = wish.aligned && planes_if(true) <= MOST_PLANES;
        let planes = planes_if(aligned);
        let reach = if aligned { 0 } else { horizontal.reach() };
        let (rows, cols) = (image.extents.0.max(1), image.extents.1.max(1));
        let mut best: Option<(f64, Tile)> = None;
        for vectors in 1..=wish.vectors {
            let width = vectors * lanes;
            for tile_rows in 1..=16.min(rows) {
                let point = tile_rows == 1 && reach == 0;
                let tile_cols = match tile_rows {
                    1 if point => width,
                    1 => width.saturating_sub(reach).min(cols),
                    _ => cols,
                };
                let pitch = match tile_rows {
                    _ if point => width,
                    _ if aligned && vertical.reach() > 0 => tile_cols.next_multiple_of(ALIGN),
                    _ => tile_cols + reach,
                };
                if tile_cols == 0 || (tile_rows - 1) * pitch + tile_cols > width {
                    continue;
                }
                let window = (tile_rows + vertical.reach(), pitch);
                let tile = Tile::of(image, machine, planes, ((tile_rows, tile_cols), vectors, window));
                let score = tile.score(image, wish, lanes);
                if best.as_ref().is_none_or(|(s, _)| score < *s) {
                    best = Some((score, tile));
                }
            }
        }
        let alone = || ((1, 1), wish.vectors, (1 + vertical.reach(), 1 + reach));
        best.map_or_else(|| Tile::of(image, machine, planes, alone()), |(_, tile)| tile)
    }

    fn of(
        image: &Image,
        machine: &Machine,
        planes: usize,
        (extents, vectors, window): ((usize, usize), usize, (usize, usize)),
    ) -> Tile {
        let channel = planes * window.0 * window.1;
        let most =
            ((machine.l1_bytes * WINDOW_SHARE) as usize / 4 / channel).min(usize::from(u16::MAX) / channel).max(1);
        let parts = image.channels.max(1).div_ceil(most);
        let part_channels = image.channels.max(1).div_ceil(parts);
        let flat = extents.0 == 1 && window.1 == extents.1;
        let shifted = planes < image.windows.0.copies(false) * image.windows.1.copies(true);
        Tile { extents, vectors, window, planes, part_channels, flat, shifted }
    }

    /// Whether loads from the window are not aligned, whatever the kernel element.
    pub(crate) fn crosses_lines(&self) -> bool {
        !self.window.1.is_multiple_of(ALIGN) || !(self.window.0 * self.window.1).is_multiple_of(ALIGN) || self.shifted
    }

    /// Partitions of the channels.
    pub(crate) fn parts(&self, image: &Image) -> usize {
        image.channels.max(1).div_ceil(self.part_channels)
    }

    /// Tiles of an image.
    pub(crate) fn count(&self, image: &Image) -> usize {
        image.extents.0.div_ceil(self.extents.0) * image.extents.1.div_ceil(self.extents.1)
    }

    fn score(&self, image: &Image, wish: Wish, lanes: usize) -> f64 {
        let size = (image.windows.0.kernel * image.windows.1.kernel) as f64;
        let entries = self.part_channels as f64 * size * image.density;
        let partial = if self.parts(image) > 1 { 2.0 / entries.max(1.0) } else { 0.0 };
        let channel = (self.planes * self.window.0 * self.window.1) as f64;
        let pack = channel / lanes as f64 / (size * image.density * image.outputs as f64).max(1.0);
        self.count(image) as f64 * (self.vectors as f64 * (1.0 + partial) + wish.entry_loads + 2.0 * pack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(extents: (usize, usize), kernel: usize, stride: usize) -> Image {
        let window = Window { kernel, stride, dilation: 1 };
        Image { extents, windows: (window, window), channels: 256, outputs: 256, density: 0.1 }
    }

    const WISH: Wish = Wish { vectors: 8, entry_loads: 1.5, aligned: true };

    #[test]
    fn tiles_cover_images_of_every_size() {
        let machine = Machine::for_target("x86-64-v4").expect("a known target");
        for (extents, kernel, stride) in [((1, 64), 1, 1), ((7, 7), 3, 1), ((56, 56), 3, 1), ((112, 112), 7, 2)] {
            let image = image(extents, kernel, stride);
            for wish in [WISH, Wish { vectors: 4, entry_loads: 6.0, aligned: false }] {
                let tile = Tile::choose(&image, wish, &machine);
                assert!(tile.vectors <= wish.vectors && tile.count(&image) > 0, "{tile:?}");
                assert!(tile.count(&image) * tile.extents.0 * tile.extents.1 >= extents.0 * extents.1, "{tile:?}");
                let window = tile.part_channels * tile.planes * tile.window.0 * tile.window.1 * 4;
                assert!(window as f64 <= machine.l1_bytes * WINDOW_SHARE || tile.part_channels == 1, "{tile:?}");
            }
        }
    }

    #[test]
    fn a_row_of_pixels_is_flat() {
        let machine = Machine::for_target("x86-64-v4").expect("a known target");
        let tile = Tile::choose(&image((1, 128), 1, 1), WISH, &machine);
        assert!(tile.flat && tile.planes == 1 && tile.window.0 == 1, "{tile:?}");
        // The window of a 3x3 kernel reaches beyond its tile.
        assert!(!Tile::choose(&image((14, 14), 3, 1), WISH, &machine).flat);
    }
}
