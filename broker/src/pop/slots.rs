//! Checkpoints in memory: 64 bytes each, in blocks, found by number.

/// No slot.
pub const NONE: u32 = u32::MAX;
const BLOCK: usize = 1024;

/// What was popped together from one queue, as far as it is open.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// First offset.
    pub start: i64,
    /// When it was popped, ms since the epoch.
    pub pop_time: i64,
    /// Bit n: the n-th message is open. The n-th is that at `start + n`, unless the checkpoint has gaps.
    pub mask: u64,
    /// Offset of its note in the revive queue.
    pub note: u64,
    /// Time after `pop_time` at which it is due, ms.
    pub invisible: u32,
    /// By how much the clock was set since then, s.
    pub moved: i32,
    /// The group's lane through the queue.
    pub lane: u32,
    /// Neighbours in the order of notes.
    pub before: u32,
    /// See `before`.
    pub after: u32,
    /// Neighbours among those due at the same time.
    pub due_before: u32,
    /// See `due_before`; in a free slot the next free one.
    pub due_after: u32,
    /// Acknowledgements that are not written yet.
    pub unwritten: u16,
    /// Whether its open messages are being given back to the group.
    pub reviving: bool,
}

impl Slot {
    /// When it is due, ms since the epoch.
    pub fn due(&self) -> i64 {
        self.pop_time.saturating_add(i64::from(self.invisible)).saturating_add(i64::from(self.moved) * 1_000)
    }
}

const EMPTY: Slot = Slot {
    start: 0,
    pop_time: 0,
    mask: 0,
    note: 0,
    invisible: 0,
    moved: 0,
    lane: 0,
    before: NONE,
    after: NONE,
    due_before: NONE,
    due_after: NONE,
    unwritten: 0,
    reviving: false,
};

/// The slots.
#[derive(Debug)]
pub struct Slots {
    blocks: Vec<Box<[Slot]>>,
    free: u32,
    used: u32,
}

impl Default for Slots {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: NONE, used: 0 }
    }
}

impl Slots {
    /// Slots in use.
    pub fn in_use(&self) -> usize {
        self.used as usize
    }

    /// A slot.
    pub fn get(&self, number: u32) -> Option<&Slot> {
        self.blocks.get(number as usize / BLOCK)?.get(number as usize % BLOCK)
    }

    /// A slot, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Slot> {
        self.blocks.get_mut(number as usize / BLOCK)?.get_mut(number as usize % BLOCK)
    }

    /// Puts a checkpoint into a free slot.
    pub fn add(&mut self, slot: Slot) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let number = self.free;
        if let Some(place) = self.get_mut(number) {
            let next = place.due_after;
            *place = slot;
            self.free = next;
            self.used += 1;
        }
        number
    }

    fn grow(&mut self) {
        let first = u32::try_from(self.blocks.len() * BLOCK).unwrap_or(NONE);
        let next = |n: u32| if n as usize + 1 < BLOCK { first + n + 1 } else { NONE };
        self.blocks.push((0..1024).map(|n| Slot { due_after: next(n), ..EMPTY }).collect());
        self.free = first;
    }

    /// Frees a slot.
    pub fn remove(&mut self, number: u32) {
        let free = self.free;
        if let Some(place) = self.get_mut(number) {
            *place = Slot { due_after: free, ..EMPTY };
            self.free = number;
            self.used -= 1;
        }
        if self.used == 0 {
            *self = Self::default();
        }
    }

    /// Bytes that the slots take.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<Slot>()
    }
}
