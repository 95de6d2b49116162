//! The values of a program's nodes while it runs.

use super::program::{EMPTY, NONE, NodeId, Origin, Program};
use super::{KeyedWindowId, KeyedWindows};

/// What is known of each node so far. A value is dropped with its last use.
#[derive(Debug)]
pub struct Values {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    /// Itself, or the node whose value this one has as well; [`NONE`] while nothing is known.
    same_as: NodeId,
    bytes: Option<Box<[u8]>>,
    uses: u32,
    /// Whether a merge failed on the way to it.
    incomplete: bool,
}

/// What a keyed window has after a program.
#[derive(Debug)]
pub(super) enum Settled {
    /// What it had before.
    Unchanged,
    /// This.
    Bytes(Option<Box<[u8]>>),
}

impl Values {
    /// Nothing is known yet.
    pub fn new(keyed_windows: &KeyedWindows, program: &Program) -> Self {
        let slot = |(number, node): (NodeId, &super::program::Node)| {
            let given = matches!(node.origin, Origin::Empty | Origin::Stored(_) | Origin::Sum(_));
            let same_as = if given { number } else { NONE };
            Slot { same_as, bytes: None, uses: node.uses, incomplete: false }
        };
        let mut values = Self { slots: (0..).zip(&program.nodes).map(slot).collect() };
        keyed_windows.last_nodes().for_each(|node| values.slots[node as usize].uses += 1);
        values
    }

    /// The node that has the value of this one.
    pub fn resolve(&self, node: NodeId) -> NodeId {
        if node == NONE { NONE } else { self.slots[node as usize].same_as }
    }

    /// The value of a node; nothing, if it is empty or not known yet.
    pub fn get<'a>(&'a self, keyed_windows: &'a KeyedWindows, program: &Program, node: NodeId) -> Option<&'a [u8]> {
        let node = self.resolve(node);
        if node == NONE {
            return None;
        }
        match &self.slots[node as usize].bytes {
            Some(bytes) => Some(bytes),
            None => keyed_windows.stored(program.nodes[node as usize].origin),
        }
    }

    /// Whether nothing is known of a node yet.
    pub fn is_open(&self, node: NodeId) -> bool {
        self.slots[node as usize].same_as == NONE
    }

    /// Sets the value of a node.
    pub fn set(&mut self, node: NodeId, bytes: &[u8]) {
        let slot = &mut self.slots[node as usize];
        slot.same_as = node;
        match &mut slot.bytes {
            Some(had) if had.len() == bytes.len() => had.copy_from_slice(bytes),
            had => *had = Some(bytes.into()),
        }
    }

    /// Notes that a node has the value of another one, which is known.
    pub fn set_same(&mut self, node: NodeId, other: NodeId) {
        let other = self.resolve(other);
        let uses = self.slots[node as usize].uses;
        self.slots[node as usize].same_as = other;
        self.slots[other as usize].uses += uses;
    }

    /// Notes that a node was used.
    pub fn used(&mut self, node: NodeId) {
        let node = self.resolve(node);
        let slot = &mut self.slots[node as usize];
        slot.uses -= 1;
        if slot.uses == 0 {
            slot.bytes = None;
        }
    }

    /// Says whether a merge failed on the way to a node.
    pub fn mark_incomplete(&mut self, node: NodeId, incomplete: bool) {
        self.slots[node as usize].incomplete |= incomplete;
    }

    /// Whether a merge failed on the way to a node.
    pub fn is_incomplete(&self, node: NodeId) -> bool {
        self.slots[node as usize].incomplete
    }

    /// The value of a node for the keyed window that has it from now on.
    pub(super) fn settled(
        &mut self,
        keyed_windows: &KeyedWindows,
        program: &Program,
        node: NodeId,
        keyed_window: KeyedWindowId,
    ) -> Settled {
        let node = self.resolve(node);
        let origin = program.nodes[node as usize].origin;
        if node == EMPTY {
            Settled::Bytes(None)
        } else if origin == Origin::Stored(keyed_window) {
            Settled::Unchanged
        } else if self.slots[node as usize].uses <= 1 && self.slots[node as usize].bytes.is_some() {
            Settled::Bytes(self.slots[node as usize].bytes.take())
        } else {
            self.slots[node as usize].uses -= 1;
            let bytes = self.slots[node as usize].bytes.as_deref().or_else(|| keyed_windows.stored(origin));
            Settled::Bytes(bytes.map(Box::from))
        }
    }
}
