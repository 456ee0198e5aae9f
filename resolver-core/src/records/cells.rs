//! The pool of cells, and chains of them that hold streams of octets.
//!
//! Owns which cells are free and how a stream is read, overwritten and respliced. What the octets
//! mean is left to [`super::owners`] and [`super::rrsets`].
//!
//! Cells are numbered from 1; 0 is none. A free cell is either above the watermark (never touched)
//! or on the free list, linked by its first four octets. Those four octets lead to another cell, or to
//! none, in *every* use of a cell, so a walk by an outdated number ends, whatever it meets.

use super::store::Cell;

/// Octets of a cell.
pub(super) const CELL: usize = size_of::<Cell>();
/// Where the stream starts in the first cell of a chain; what stands before is the owner's.
pub(super) const FIRST_STREAM: usize = 16;
/// Where it goes on in the other cells: after the link.
const NEXT_STREAM: usize = 4;
/// Octets of the stream in the first cell.
const FIRST_ROOM: usize = CELL - FIRST_STREAM;
/// Octets of the stream in each other cell.
const NEXT_ROOM: usize = CELL - NEXT_STREAM;

/// Cells that a chain of `len` octets takes.
pub(super) const fn chain_cells(len: usize) -> u64 {
    1 + added_cells(len.saturating_sub(FIRST_ROOM))
}

/// Cells that a chain grows by, at most, when its stream grows by `octets`.
pub(super) const fn added_cells(octets: usize) -> u64 {
    octets.div_ceil(NEXT_ROOM) as u64
}

const NO_CELL: Cell = [0; CELL];

/// The four octets at `at` of the cell `id`, as a number; 0 if there is no such cell.
pub(super) fn number(cells: &[Cell], id: u32, at: usize) -> u32 {
    match cell(cells, id).get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// The cell `id`; a zero one if there is no such cell.
pub(super) fn cell(cells: &[Cell], id: u32) -> &Cell {
    cells.get((id as usize).wrapping_sub(1)).unwrap_or(&NO_CELL)
}

/// A place in a chain: before the octet `at` of the cell `id`, or (`at` = [`CELL`]) behind its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: u32,
    pub(super) at: usize,
}

impl Place {
    /// Where the stream of the chain that starts with `id` starts.
    pub(super) const fn start(id: u32) -> Self {
        Self { id, at: FIRST_STREAM }
    }
}

/// Reads a stream. It goes to a next cell only when an octet of it is wanted, so a reader that has read all
/// stands behind the last octet and never in a cell of which nothing is used.
#[derive(Clone, Copy)]
pub(super) struct Reader<'s> {
    cells: &'s [Cell],
    pub(super) place: Place,
}

impl<'s> Reader<'s> {
    pub(super) fn new(cells: &'s [Cell], place: Place) -> Self {
        Self { cells, place }
    }

    /// The next octets up to the cell's end, at most `limit`; empty at the end of the chain.
    pub(super) fn piece(&mut self, limit: usize) -> &'s [u8] {
        if self.place.at >= CELL {
            match number(self.cells, self.place.id, 0) {
                0 => return &[],
                next => self.place = Place { id: next, at: NEXT_STREAM },
            }
        }
        let end = CELL.min(self.place.at.saturating_add(limit));
        let piece = cell(self.cells, self.place.id).get(self.place.at..end).unwrap_or(&[]);
        self.place.at = end;
        piece
    }

    /// Fills `out` as far as the chain reaches; returns how much. Bounded by `out`.
    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < out.len() {
            let piece = self.piece(out.len() - filled);
            if piece.is_empty() {
                break;
            }
            out[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        filled
    }

    /// Goes `count` octets on, or to the end. Bounded by `count`.
    pub(super) fn skip(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            match self.piece(left).len() {
                0 => return,
                passed => left -= passed,
            }
        }
    }

    /// Whether the next octets are `octets`; reads as many. Bounded by `octets`.
    pub(super) fn equals(&mut self, octets: &[u8]) -> bool {
        let mut rest = octets;
        while !rest.is_empty() {
            let piece = self.piece(rest.len());
            match rest.split_at_checked(piece.len()) {
                Some((front, back)) if !piece.is_empty() && front == piece => rest = back,
                _ => return false,
            }
        }
        true
    }
}

/// Octets to be written: a caller's, or such as stand in another chain of the same pool.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Octets(&'a [u8]),
    Stored { from: Place, len: usize },
}

impl Source<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Octets(octets) => octets.len(),
            Self::Stored { len, .. } => *len,
        }
    }
}

/// All cells.
pub(super) struct Cells<'m> {
    memory: &'m mut [Cell],
    /// First cell of the free list.
    free: u32,
    /// Cells up to this number were in use at some time.
    touched: u32,
    used: u32,
    /// Free cells that are kept back for what cannot be refused later.
    pub(super) reserved: u64,
}

impl<'m> Cells<'m> {
    /// `memory` is all zero.
    pub(super) fn new(memory: &'m mut [Cell]) -> Self {
        // The number u32::MAX is no cell's, so that it can stand for an end.
        let count = memory.len().min(u32::MAX as usize - 1);
        Self { memory: &mut memory[..count], free: 0, touched: 0, used: 0, reserved: 0 }
    }

    pub(super) fn all(&self) -> &[Cell] {
        self.memory
    }

    pub(super) fn total(&self) -> u32 {
        self.memory.len() as u32
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Cells that a change may count on.
    pub(super) fn available(&self) -> u64 {
        u64::from(self.total() - self.used).saturating_sub(self.reserved)
    }

    pub(super) fn reader(&self, place: Place) -> Reader<'_> {
        Reader::new(self.memory, place)
    }

    pub(super) fn number(&self, id: u32, at: usize) -> u32 {
        number(self.memory, id, at)
    }

    pub(super) fn set_number(&mut self, id: u32, at: usize, value: u32) {
        if let Some(room) = self.cell_mut(id).and_then(|cell| cell.get_mut(at..at + 4)) {
            room.copy_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn cell_mut(&mut self, id: u32) -> Option<&mut Cell> {
        self.memory.get_mut((id as usize).wrapping_sub(1))
    }

    /// Takes a cell and fills it with `content`; 0 if all are in use.
    pub(super) fn take(&mut self, content: Cell) -> u32 {
        let id = if self.free != 0 {
            let id = self.free;
            self.free = self.number(id, 0);
            id
        } else if self.touched < self.total() {
            self.touched += 1;
            self.touched
        } else {
            debug_assert!(false, "a change was let in without room for it");
            return 0;
        };
        self.used += 1;
        if let Some(cell) = self.cell_mut(id) {
            *cell = content;
        }
        id
    }

    /// Gives a cell back.
    pub(super) fn give(&mut self, id: u32) {
        self.set_number(id, 0, self.free);
        self.free = id;
        self.used -= 1;
    }

    /// Gives a cell and all that follow it back. Bounded by the chain's length.
    pub(super) fn give_chain(&mut self, first: u32) {
        let mut id = first;
        while id != 0 {
            let next = self.number(id, 0);
            self.give(id);
            id = next;
        }
    }

    /// Cells in the chain. Bounded by its length.
    pub(super) fn chain_len(&self, first: u32) -> u64 {
        let (mut count, mut id) = (0, first);
        while id != 0 {
            count += 1;
            id = self.number(id, 0);
        }
        count
    }

    /// Ends the stream at `place`.
    pub(super) fn truncate(&mut self, place: Place) {
        let rest = self.number(place.id, 0);
        self.end(place);
        self.give_chain(rest);
    }

    /// Replaces `cut` octets at `place` by `new`; `tail` octets stand behind them.
    ///
    /// At no time are more cells in use than before or than afterwards, whichever is more, so a full store can still
    /// change what does not grow. (Old cells are given back as they are read, one cell ahead of what is
    /// written elsewhere: without that one, rounding could make it one cell more.) Bounded by the octets cut,
    /// written and behind.
    pub(super) fn splice(&mut self, place: Place, cut: usize, new: [Source<'_>; 2], tail: usize) {
        let mut old = Old { held: *cell(self.memory, place.id), at: place.at, ahead: None };
        old.read_ahead(self);
        old.skip(self, cut);
        let mut pen = place;
        // The chain ends here until more is written; what followed is known to `old` alone.
        self.set_number(place.id, 0, 0);
        for source in new {
            self.write(&mut pen, source);
        }
        let mut left = tail;
        while left > 0 {
            let (piece, len) = old.piece(self, left);
            if len == 0 {
                break;
            }
            self.write_octets(&mut pen, &piece[..len]);
            left -= len;
        }
        debug_assert!(old.ahead.is_none(), "the stream is longer than its RRsets");
        self.end(pen);
    }

    /// Writes the stream of a chain that has none yet.
    pub(super) fn fill(&mut self, first: u32, octets: &[u8]) {
        let mut pen = Place::start(first);
        self.write_octets(&mut pen, octets);
    }

    /// Writes over the octets at `place`, of which there are as many.
    pub(super) fn overwrite(&mut self, place: Place, new: [Source<'_>; 2]) {
        let mut pen = place;
        for source in new {
            self.write(&mut pen, source);
        }
    }

    /// Writes at `pen` and moves it on, into further cells of the chain or new ones.
    fn write(&mut self, pen: &mut Place, source: Source<'_>) {
        match source {
            Source::Octets(octets) => self.write_octets(pen, octets),
            Source::Stored { mut from, len } => {
                let mut left = len;
                while left > 0 {
                    let mut reader = self.reader(from);
                    let octets = reader.piece(left);
                    let mut piece = NO_CELL;
                    let size = octets.len();
                    if size == 0 {
                        return;
                    }
                    piece[..size].copy_from_slice(octets);
                    from = reader.place;
                    self.write_octets(pen, &piece[..size]);
                    left -= size;
                }
            }
        }
    }

    fn write_octets(&mut self, pen: &mut Place, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            if pen.at >= CELL && !self.next_cell(pen) {
                return;
            }
            let (front, back) = rest.split_at(rest.len().min(CELL - pen.at));
            let end = pen.at + front.len();
            if let Some(room) = self.cell_mut(pen.id).and_then(|cell| cell.get_mut(pen.at..end)) {
                room.copy_from_slice(front);
            }
            pen.at = end;
            rest = back;
        }
    }

    /// Moves `pen` into the cell after its own, a new one if there is none.
    fn next_cell(&mut self, pen: &mut Place) -> bool {
        let mut next = self.number(pen.id, 0);
        if next == 0 {
            next = self.take(NO_CELL);
            self.set_number(pen.id, 0, next);
        }
        *pen = Place { id: next, at: NEXT_STREAM };
        next != 0
    }

    /// Ends the chain at `pen`: what is left of its cell becomes zero.
    fn end(&mut self, pen: Place) {
        if let Some(cell) = self.cell_mut(pen.id) {
            cell[..4].fill(0);
            cell[pen.at.min(CELL)..].fill(0);
        }
    }
}

/// What stood in a chain that is being written over: copies of the cell it is read from and of the one after
/// that, which themselves are free already (but for the one where writing began).
struct Old {
    held: Cell,
    at: usize,
    ahead: Option<Cell>,
}

impl Old {
    /// Takes a copy of the cell after the one held, and gives it back.
    fn read_ahead(&mut self, cells: &mut Cells<'_>) {
        let [a, b, c, d, ..] = self.held;
        let next = u32::from_le_bytes([a, b, c, d]);
        self.ahead = (next != 0).then(|| *cell(cells.memory, next));
        if next != 0 {
            cells.give(next);
        }
    }

    fn piece(&mut self, cells: &mut Cells<'_>, limit: usize) -> (Cell, usize) {
        if self.at >= CELL {
            let Some(ahead) = self.ahead else { return (NO_CELL, 0) };
            self.held = ahead;
            self.at = NEXT_STREAM;
            self.read_ahead(cells);
        }
        let len = limit.min(CELL - self.at);
        let mut piece = NO_CELL;
        piece[..len].copy_from_slice(&self.held[self.at..self.at + len]);
        self.at += len;
        (piece, len)
    }

    fn skip(&mut self, cells: &mut Cells<'_>, count: usize) {
        let mut left = count;
        while left > 0 {
            match self.piece(cells, left).1 {
                0 => return,
                passed => left -= passed,
            }
        }
    }
}
