//! Blocks of every version there has been stay readable: each is laid out here byte by byte, as it was written.

use super::harness::{COUNTING, Driver};

/// A block as it lies in the log.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        let mut bytes = self.u32(text.len() as u32);
        bytes.0.extend(text.as_bytes());
        bytes
    }

    /// The open windows of a step: one from 20 ms on, in which `a` was counted twice.
    fn windows(self) -> Self {
        // No window closed, neither wholly nor in part.
        let none = self.u8(0).i64(0).i64(0).u32(0).u8(0);
        // One window; a column of one key of one byte, and one of one count of eight.
        let mut bytes = none.u32(1).i64(20).u32(1).u8(1).u32(1);
        bytes.0.push(b'a');
        bytes.u32(1).u8(1).u32(8).i64(2)
    }
}

/// Newest event times alone, and steps with the size of their windows.
fn version_1() -> Bytes {
    let head = Bytes::default().u8(1).u32(1).text("in").u32(0).i64(23);
    head.u32(1).text("count").i64(10).windows()
}

/// The clock, the watermark that was acted upon, what is known of each input, and steps with what state they have.
fn version_2() -> Bytes {
    let head = Bytes::default().u8(2).i64(1000).i64(17).u32(1).text("in").u32(0).u8(1).i64(23).i64(17).u8(0);
    head.u32(1).text("count").text("tumbling of 10 ms from 0 ms").windows()
}

/// What the block is, 0 for changes, comes first.
fn version_3() -> Bytes {
    let mut bytes = version_2();
    bytes.0.splice(0..1, [3, 0]);
    bytes
}

/// The same as a whole block, whose steps each have their count of entries and digest.
fn version_3_whole() -> Bytes {
    let mut bytes = version_3().i64(1);
    bytes.0[1] = 1;
    bytes.0.extend(0x70b70a60048f58c31c201f5cbd76f389_u128.to_le_bytes());
    bytes
}

/// The same, and for windows that may give several results up to when they are over whatever the lateness.
fn version_4() -> Bytes {
    let mut bytes = version_3();
    bytes.0[0] = 4;
    bytes
}

/// The same, saying of which runs rows that come round are of its history.
fn version_5() -> Bytes {
    let mut bytes = version_4();
    let before_steps = 1 + 1 + 8 + 8 + 4 + (4 + 2 + 4) + (1 + 8 + 8 + 1);
    // One run: a task, an epoch, its last commit, and the topic of its loop.
    let lineage = Bytes::default().u32(1).i64(7).u32(0).i64(3).i64(12).text("again");
    bytes.0[0] = 5;
    bytes.0.splice(before_steps..before_steps, lineage.0);
    bytes
}

/// A session from 20 ms to 40 ms in which `a` was counted twice.
fn sessions(version: u8) -> Bytes {
    let begin = Bytes::default().u8(version);
    // What the block is, 0 for changes.
    let begin = if version < 3 { begin } else { begin.u8(0) };
    let head = begin.i64(1000).i64(17).u32(1).text("in").u32(0).u8(1).i64(23).i64(17).u8(0);
    let head = if version < 5 { head } else { head.u32(0) };
    let step = head.u32(1).text("count").text("sessions");
    let step = if version < 4 { step } else { step.i64(i64::MIN) };
    // None went. One is there, with rows since its last result and counts of them: two, twice, and the newest of 30 ms.
    let numbered = step.u32(0).u32(1).u32(0);
    let flagged = if version < 4 { numbered.u8(2 | 64) } else { numbered.u32(2 | 64) };
    let session = flagged.i64(20).i64(40).i64(39).i64(2).i64(2).i64(30).i64(i64::MAX);
    let mut bytes = session.u32(1).u8(1).u32(1);
    bytes.0.push(b'a');
    bytes.u32(1).u8(1).u32(8).i64(2)
}

#[test]
fn sessions_of_all_versions_are_read() {
    let manifest = COUNTING.replace("tumbling", "session");
    for version in [2, 3, 4, 5] {
        let mut driver = Driver::new(&manifest, &[vec!["7 late".to_owned(), "99 z".to_owned()]]);
        driver.machine.recover(1, &sessions(version).0).expect("it stays readable");
        driver.finish().expect("the host is well");
        assert_eq!(driver.values("out"), ["a 20 2"], "version {version}");
    }
}

#[test]
fn blocks_of_all_versions_are_read() {
    let blocks = [
        (1, version_1()),
        (2, version_2()),
        (3, version_3()),
        (3, version_3_whole()),
        (4, version_4()),
        (5, version_5()),
    ];
    for (version, block) in blocks {
        // The first row is late by what the block knows of its partition; the second closes what is open.
        let mut driver = Driver::new(COUNTING, &[vec!["7 late".to_owned(), "99 z".to_owned()]]);
        driver.machine.recover(1, &block.0).expect("it stays readable");
        driver.finish().expect("the host is well");
        assert_eq!(driver.values("out"), ["a 20 2"], "version {version}");
        assert_eq!(driver.values("late").len(), 1, "version {version}");
    }
}
