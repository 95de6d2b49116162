//! Replaces the value of each row by what the reference table `names` has for its key: one call of the host for many rows,
//! so what is measured around it is the host.

use millstream_sdk::answer::Answer;
use millstream_sdk::prelude::*;
use millstream_sdk::{Batch, Record};

/// Keys that are looked up at once: half of what the host allows.
const KEYS_AT_ONCE: usize = 8192;

/// The plugin.
#[derive(Debug)]
pub struct LookUp;

/// Replaces each row's value by that of the table `names`; rows whose key it does not have are dropped.
#[transform(outputs(found = "The rows whose key the table has."))]
impl Transform for LookUp {
    type Config = NoConfig;
    type Input<'a> = Key<Bytes<'a>>;

    fn new(_: NoConfig) -> Result<Self> {
        Ok(LookUp)
    }

    fn record(&self, Key(Bytes(key)): Self::Input<'_>, out: &mut Out<'_, '_>) -> Result<()> {
        if let Some(name) = lookup::table("names").get(key)? {
            out.row().value(Some(&name));
        }
        Ok(())
    }

    fn batch(&self, batch: &Batch, answer: &mut Answer<'_>) {
        let records: Vec<Record<'_>> = batch.records().collect();
        for records in records.chunks(KEYS_AT_ONCE) {
            let keys = records.iter().map(|record| record.key.unwrap_or_default());
            match lookup::table("names").get_many(keys) {
                Ok(names) => {
                    for (record, name) in records.iter().zip(names.iter()).filter(|(_, name)| name.is_some()) {
                        answer.row(record.index, |out| {
                            out.row().value(name);
                            Ok(())
                        });
                    }
                }
                Err(error) => records.iter().for_each(|record| answer.row(record.index, |_| Err(error.clone()))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::Input;

    #[test]
    fn rows_get_the_value_that_the_table_has_for_their_key() {
        testing::lookup("names", [("a", "Ada"), ("b", "Bob")]);
        let out = testing::run(&LookUp, ["b", "c", "a"].map(|key| Input::value("x").key(key)));
        assert_eq!(out.values(), ["Bob", "Ada"]);
    }
}
