//! What nearly every plugin needs: `use millstream_sdk::prelude::*;`.

pub use crate::collections::{HashMap, HashSet};
pub use crate::describe::{Output, Reads};
pub use crate::input::{Bytes, EventTime, Json, Key, Text};
#[cfg(not(target_arch = "wasm32"))]
pub use crate::testing;
pub use crate::{Accumulator, Aggregate, Error, Fields, NoConfig, Out, Record, Result, Row, Transform, Window};
pub use crate::{Context, List, Map, Ordered, Process, State, Table, Timer, Ttl, Value};
pub use crate::{aggregate, config, log, lookup, metrics, process, reject, transform};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
