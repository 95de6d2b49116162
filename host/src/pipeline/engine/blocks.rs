//! What a block of a machine has beside the state of its steps, and how blocks of all versions are read.

use bytes::Bytes;

use super::carry::unwanted;
use super::lineage::Lineage;
use super::machine::Machine;
use super::references::Table;
use super::sweep::{Sweep, Turn};
use crate::ids::{PipelineName, TopicPartition};
use crate::pipeline::error::Error;
use crate::state::{BlockError, Reader, Reference, Store, Writer};
use crate::time::{Disorder, Input, Source, Watermark};

/// The version before inputs had watermarks of their own and steps described their state.
const VERSION_NEWEST_ONLY: u8 = 1;

/// The first version whose blocks say which rows that came round are of their history.
const VERSION_LINEAGE: u8 = 5;

/// What the names of tables begin with in a block, which no name of a step can.
const TABLE_PREFIX: &str = "@";
/// Why a block cannot be used.
#[derive(Debug)]
pub(in crate::pipeline) enum Unreadable {
    Block(BlockError),
    Step { step: String, reason: String },
}

impl From<BlockError> for Unreadable {
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
}

impl Unreadable {
    pub(in crate::pipeline) fn of(self, name: &PipelineName) -> Error {
        match self {
            Self::Block(source) => Error::State { name: name.clone(), source },
            Self::Step { step, reason } => Error::StateConflict { name: name.clone(), step, reason },
        }
    }
}

impl Machine {
    /// Writes what changed since the last block as the block of this number. Returns the oldest block that is needed.
    pub(in crate::pipeline) fn write_block(&mut self, sequence: u64) -> (Bytes, u64) {
        let mut writer = Writer::default();
        self.write_head(&mut writer);
        let turn = self.sweep.turn(sequence, self.state_bytes() as usize, self.disk_bytes() as usize);
        let tables = &self.plan.references.tables;
        let stores = self.states.len() + tables.len();
        writer.u32(stores as u32);
        let mut ended = stores == 0;
        for (number, (step, state)) in self.plan.keyed().zip(&mut self.states).enumerate() {
            writer.text(step.step().name.as_str());
            writer.text(&step.describe());
            ended |= write_store(&mut writer, state.store_mut(), number, turn, &mut self.sweep);
        }
        for (number, (name, table)) in (self.states.len()..).zip(tables) {
            writer.text(&format!("{TABLE_PREFIX}{name}"));
            writer.text(&describe(table));
            ended |= write_store(&mut writer, &mut *table.content.write(), number, turn, &mut self.sweep);
        }
        let bytes = Bytes::from(writer.finish());
        let oldest = self.sweep.end_turn(sequence, bytes.len(), ended, stores);
        (bytes, oldest)
    }

    /// Writes the whole state, as the block of this number; none before it is needed.
    pub(in crate::pipeline) fn write_whole(&mut self, sequence: u64) -> Result<Bytes, Error> {
        let mut writer = Writer::whole();
        self.write_head(&mut writer);
        let tables = &self.plan.references.tables;
        writer.u32((self.states.len() + tables.len()) as u32);
        for (step, state) in self.plan.keyed().zip(&mut self.states) {
            writer.text(step.step().name.as_str());
            writer.text(&step.describe());
            write_whole_store(&mut writer, state.store_mut());
        }
        for (name, table) in tables {
            writer.text(&format!("{TABLE_PREFIX}{name}"));
            writer.text(&describe(table));
            write_whole_store(&mut writer, &mut *table.content.write());
        }
        // A disk that fails shows less than there is, to the summary too.
        self.check_state()?;
        let bytes = Bytes::from(writer.finish());
        self.sweep = Sweep::new(self.plan.thresholds);
        self.sweep.read(sequence, bytes.len());
        Ok(bytes)
    }

    fn write_head(&self, writer: &mut Writer) {
        writer.i64(self.clock.now());
        writer.i64(time_of(self.watermarks.output()));
        let read = self.plan.inputs.iter().zip(self.watermarks.inputs().iter().copied());
        let unread = self.unread.iter().map(|(at, &input)| (at, input));
        let known: Vec<_> = read.chain(unread).filter(|(_, input)| *input != Input::default()).collect();
        writer.u32(known.len() as u32);
        for (at, input) in known {
            writer.text(at.topic.as_str());
            writer.u32(at.partition);
            writer.u8(u8::from(input.newest.is_some()));
            writer.i64(input.newest.unwrap_or_default());
            writer.i64(time_of(input.watermark));
            writer.u8(u8::from(input.idle) | u8::from(input.told) << 1 | u8::from(input.behind) << 2);
        }
        self.lineage.write(writer);
    }

    /// Applies a block. Blocks are absolute, so applying one again changes nothing; a whole one takes the place of all that
    /// there is.
    pub(in crate::pipeline) fn read_block(&mut self, block: &[u8]) -> Result<(), Unreadable> {
        let mut reader = Reader::new(block)?;
        if reader.is_whole() {
            self.clear_state();
        }
        if reader.version() == VERSION_NEWEST_ONLY {
            self.read_newest(&mut reader)?;
        } else {
            self.read_head(&mut reader)?;
        }
        for _ in 0..reader.u32()? {
            self.read_step(&mut reader)?;
        }
        if !reader.is_at_end() {
            return Err(reader.error("more bytes than the block has content").into());
        }
        Ok(())
    }

    fn read_head(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        self.clock.restore(reader.i64()?);
        let output = watermark_of(reader.i64()?);
        for _ in 0..reader.u32()? {
            let at = read_partition(reader)?;
            let (has_newest, newest) = (reader.u8()? == 1, reader.i64()?);
            let watermark = watermark_of(reader.i64()?);
            let flags = reader.u8()?;
            let known = Input {
                newest: has_newest.then_some(newest),
                watermark,
                idle: flags & 1 != 0,
                told: flags & 2 != 0,
                behind: flags & 4 != 0,
            };
            self.know(at, known);
        }
        self.watermarks.restore_output(output);
        if reader.version() >= VERSION_LINEAGE {
            self.lineage = Lineage::read(reader)?;
        }
        Ok(())
    }

    fn read_newest(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        let disorder = match self.plan.watermark.source {
            Source::Disorder(disorder) => disorder,
            Source::Marks => Disorder { bound_ms: i64::MAX },
        };
        for _ in 0..reader.u32()? {
            let at = read_partition(reader)?;
            let newest = Some(reader.i64()?);
            self.know(at, Input { newest, watermark: disorder.watermark(newest), ..Input::default() });
        }
        let least = self.watermarks.inputs().iter().map(|input| input.watermark).min();
        self.watermarks.restore_output(least.unwrap_or_default());
        Ok(())
    }

    fn know(&mut self, at: TopicPartition, known: Input) {
        match self.plan.inputs.iter().position(|input| *input == at) {
            Some(input) => self.watermarks.restore(input, known),
            None => {
                self.unread.insert(at, known);
            }
        }
    }

    fn read_step(&mut self, reader: &mut Reader<'_>) -> Result<(), Unreadable> {
        let step = reader.text()?.to_owned();
        let had = match reader.version() {
            VERSION_NEWEST_ONLY => format!("tumbling of {} ms from 0 ms", reader.i64()?),
            _ => reader.text()?.to_owned(),
        };
        let conflict = |reason: String| Unreadable::Step { step: step.clone(), reason };
        let changed = |now: String| conflict(format!("its state was: {had}; now it is: {now}"));
        if let Some(name) = step.strip_prefix(TABLE_PREFIX) {
            if self.carry.drops_table(name) {
                return pass_over(reader, &mut Reference::default());
            }
            let tables = &self.plan.references.tables;
            let table = tables.iter().find(|(table, _)| table.as_str() == name).map(|(_, table)| table);
            let table = table.ok_or_else(|| conflict("there is no such table".to_owned()))?;
            let now = describe(table);
            if now != had {
                return Err(changed(now));
            }
            return read_store(reader, &mut *table.content.write(), &step);
        }
        if self.carry.drops(&step) {
            return pass_over(reader, &mut *unwanted(&had));
        }
        if let Some(reason) = self.carry.refuses(&step) {
            return Err(conflict(reason.to_owned()));
        }
        let mut keyed = self.plan.keyed().enumerate();
        let (number, keyed) = keyed
            .find(|(_, keyed)| keyed.step().name.as_str() == self.carry.name_now(&step))
            .ok_or_else(|| conflict("there is no such step with state".to_owned()))?;
        let now = keyed.describe();
        if now != had {
            return Err(changed(now));
        }
        read_store(reader, self.states[number].store_mut(), &step)
    }
}

fn describe(table: &Table) -> String {
    format!("reference table of {}", table.topic)
}

/// Writes the state of one store; whether its round of rewriting ended.
fn write_store(writer: &mut Writer, store: &mut dyn Store, number: usize, turn: Turn, sweep: &mut Sweep) -> bool {
    let before = writer.len();
    let rewrite = if turn.store == number { turn.rewrite } else { 0 };
    let ended = store.write_block(writer, rewrite) && rewrite > 0;
    sweep.wrote(writer.len() - before);
    ended
}

/// Writes all of a store, and what that is in short: taken from the state, so that it tells of what a block lacks.
fn write_whole_store(writer: &mut Writer, store: &mut dyn Store) {
    let summary = store.summary();
    store.write_whole(writer);
    writer.summary(summary);
}

/// Reads the state of one store, and compares what came of it with what a whole block says that there is.
fn read_store(reader: &mut Reader<'_>, store: &mut dyn Store, name: &str) -> Result<(), Unreadable> {
    store.read_block(reader)?;
    if !reader.is_whole() {
        return Ok(());
    }
    let (written, read) = (reader.summary()?, store.summary());
    if read == written {
        return Ok(());
    }
    let what = format!(
        "the whole state of `{name}` had {} entries with digest {:032x}, read back it has {} with {:032x}",
        written.entries, written.digest, read.entries, read.digest
    );
    Err(reader.error(what).into())
}

/// Reads the state of a store that is left behind. What a whole block says that it has is not compared: state may be left
/// behind because it is damaged.
fn pass_over(reader: &mut Reader<'_>, unwanted: &mut dyn Store) -> Result<(), Unreadable> {
    unwanted.read_block(reader)?;
    if reader.is_whole() {
        reader.summary()?;
    }
    Ok(())
}

fn read_partition(reader: &mut Reader<'_>) -> Result<TopicPartition, BlockError> {
    let topic = reader.text()?.parse().map_err(|_| reader.error("a topic with an impossible name"))?;
    Ok(TopicPartition { topic, partition: reader.u32()? })
}

/// The least time stands for no watermark: it says as little.
fn time_of(watermark: Watermark) -> i64 {
    watermark.time().unwrap_or(i64::MIN)
}

fn watermark_of(time: i64) -> Watermark {
    if time == i64::MIN { Watermark::None } else { Watermark::At(time) }
}
