//! What is to be computed for an arrival: values, each from others, and which of them are results.
//!
//! Planning decides by times and keys alone what becomes of rows: which keyed window each is added to, which keyed windows become one,
//! which give results. It does not know a single accumulator. So a program is a graph: a node is the content of a keyed window
//! at one moment, made by adding rows to another or by merging two. Its level is one above those it is made from.
//! Whoever runs the program computes level by level, all keys at once: one call of the guest adds, one merges.

use super::KeyedWindowId;
use super::keys::KeyId;
use super::slices::SumKey;
use crate::time::Window;

/// A node's number.
pub type NodeId = u32;

/// The node of nothing.
pub const EMPTY: NodeId = 0;
/// No node.
pub const NONE: NodeId = NodeId::MAX;

/// What a value is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nothing.
    Empty,
    /// What a keyed window had before.
    Stored(KeyedWindowId),
    /// A sum of slices that was kept.
    Sum(SumKey),
    /// Rows added to another.
    Add {
        /// The other.
        base: NodeId,
    },
    /// Two others.
    Merge {
        /// The earlier.
        left: NodeId,
        /// The later.
        right: NodeId,
        /// Whose it is, for people.
        key: KeyId,
        /// The window for which it is made, for people.
        window: Window,
    },
}

/// The content of a keyed window at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// What it is made from.
    pub origin: Origin,
    /// In which round it is computed.
    pub level: u32,
    /// By how many it is used that are not done yet.
    pub uses: u32,
    /// Whether something else is made from it, so that no more rows may be added.
    sealed: bool,
}

/// A result to be given.
#[derive(Debug, Clone, Copy)]
pub struct Fire {
    /// The content.
    pub node: NodeId,
    /// What changed since the last result, before and after: if they are the same, because every row was rejected, there
    /// is no result.
    pub change: (NodeId, NodeId),
    pub key: KeyId,
    pub window: Window,
    /// The event time of the result.
    pub time: i64,
    /// The watermark that rows after the result may rely on; `i64::MIN` for none.
    pub place: i64,
    /// Whether it is the window's result at its end, and not one more.
    pub at_end: bool,
    /// Whether the window has given a result before.
    pub again: bool,
}

/// What is to be computed.
#[derive(Debug)]
pub struct Program {
    /// All nodes; the first is empty.
    pub nodes: Vec<Node>,
    /// For each level, the rows to add and the nodes they go to, by ascending row.
    pub adds: Vec<Vec<(u32, NodeId)>>,
    /// For each level, the nodes to merge.
    pub merges: Vec<Vec<NodeId>>,
    /// Results, in the order in which they are to come.
    pub fires: Vec<Fire>,
    /// For each level, the results that can be given after it.
    pub ready: Vec<Vec<u32>>,
    /// Rows that are late, ascending.
    pub late: Vec<u32>,
    /// Rows in windows past the ends of time, ascending.
    pub unassignable: Vec<u32>,
    /// Windows that ended without a new result.
    pub ended: u64,
    /// Timers that were dealt with.
    pub due: usize,
    ops: usize,
    ops_max: usize,
}

impl Program {
    /// A program that is full after about this many operations.
    pub fn with_limit(ops_max: usize) -> Self {
        let empty = Node { origin: Origin::Empty, level: 0, uses: 1, sealed: true };
        Self {
            nodes: vec![empty],
            adds: Vec::new(),
            merges: Vec::new(),
            fires: Vec::new(),
            ready: Vec::new(),
            late: Vec::new(),
            unassignable: Vec::new(),
            ended: 0,
            due: 0,
            ops: 0,
            ops_max: ops_max.max(1),
        }
    }

    /// How many levels there are; the first one has nothing to compute.
    pub fn levels(&self) -> usize {
        self.adds.len().max(self.merges.len()).max(self.ready.len())
    }

    /// Whether it is time to run it.
    pub fn is_full(&self) -> bool {
        self.ops >= self.ops_max
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.fires.is_empty() && self.due == 0
    }

    /// Counts an operation that is none of the others.
    pub(super) fn count(&mut self) {
        self.ops += 1;
    }

    /// What a keyed window had before.
    pub(super) fn stored(&mut self, keyed_window: KeyedWindowId) -> NodeId {
        self.node(Origin::Stored(keyed_window), 0)
    }

    /// A sum that was kept.
    pub(super) fn sum(&mut self, sum: SumKey) -> NodeId {
        self.node(Origin::Sum(sum), 0)
    }

    /// Adds a row to what `node` has: the node that has both.
    pub(super) fn add(&mut self, node: NodeId, row: u32) -> NodeId {
        self.ops += 1;
        let Node { origin, level, sealed, .. } = self.nodes[node as usize];
        let (node, level) = if matches!(origin, Origin::Add { .. }) && !sealed {
            (node, level)
        } else {
            self.consume(node);
            let level = level + 1;
            (self.node(Origin::Add { base: node }, level), level)
        };
        at(&mut self.adds, level).push((row, node));
        node
    }

    /// Merges many into one, neighbours first, so that as few rounds as possible are needed. The shape depends on
    /// nothing but their number.
    pub(super) fn merge_all(&mut self, mut nodes: Vec<NodeId>, key: KeyId, window: Window) -> NodeId {
        nodes.retain(|&node| node != EMPTY);
        while nodes.len() > 1 {
            let pair = |pair: &[NodeId]| match *pair {
                [left, right] => self.merge(left, right, key, window),
                _ => pair[0],
            };
            nodes = nodes.chunks(2).map(pair).collect();
        }
        nodes.pop().unwrap_or(EMPTY)
    }

    /// Gives what `fire` says.
    pub(super) fn fire(&mut self, fire: Fire) {
        self.ops += 1;
        if fire.node == EMPTY {
            self.ended += u64::from(fire.at_end && fire.again);
            return;
        }
        self.consume(fire.node);
        let level = self.nodes[fire.node as usize].level;
        at(&mut self.ready, level).push(self.fires.len() as u32);
        self.fires.push(fire);
    }

    /// Lets no more rows be added to a node: the next one makes another.
    pub(super) fn seal(&mut self, node: NodeId) {
        self.nodes[node as usize].sealed = true;
    }

    /// Notes that a node is used once more.
    pub(super) fn keep(&mut self, node: NodeId) {
        self.nodes[node as usize].uses += 1;
    }

    fn merge(&mut self, left: NodeId, right: NodeId, key: KeyId, window: Window) -> NodeId {
        self.ops += 1;
        self.consume(left);
        self.consume(right);
        let level = 1 + self.nodes[left as usize].level.max(self.nodes[right as usize].level);
        let node = self.node(Origin::Merge { left, right, key, window }, level);
        at(&mut self.merges, level).push(node);
        node
    }

    fn consume(&mut self, node: NodeId) {
        let node = &mut self.nodes[node as usize];
        node.uses += 1;
        node.sealed = true;
    }

    fn node(&mut self, origin: Origin, level: u32) -> NodeId {
        self.nodes.push(Node { origin, level, uses: 0, sealed: false });
        self.nodes.len() as NodeId - 1
    }
}

/// The list of a level, made if it is new.
fn at<T>(lists: &mut Vec<Vec<T>>, level: u32) -> &mut Vec<T> {
    let level = level as usize;
    if lists.len() <= level {
        lists.resize_with(level + 1, Vec::new);
    }
    &mut lists[level]
}
