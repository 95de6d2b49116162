//! What a [`Process`](crate::Process) keeps for each key: typed parts, each with an optional time to live.
//!
//! - [`Value`]: one value.
//! - [`List`]: values in the order in which they were pushed.
//! - [`Map`]: one value a key, in the order of the keys.
//! - [`Ordered`]: any number of values a key, in the order of the keys, such as rows by their event time.
//!
//! A struct of parts derives [`State`](macro@crate::State); structs, parts and tuples of them nest.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! #[derive(Debug, Default, State)]
//! struct Account {
//!     owner: Value<String>,
//!     recent: Ordered<i64, f64>,
//!     by_shop: Map<String, u64>,
//! }
//!
//! // Times to live come from the configuration, in `Process::state`:
//! let account = Account { recent: Ordered::new().ttl(Ttl::event_time(3_600_000)), ..Account::default() };
//! assert!(account.is_empty());
//! ```
//!
//! # Time to live
//!
//! An entry is gone once its time to live has passed since it was written, or read where the [`Ttl`] says so: an entry of
//! time `t` is not there any more at `t + ttl`. Entries of lists, maps and ordered parts go one by one. In event time, the
//! time of writing is that of the row or timer, and the watermark says what the time is; in processing time both are the
//! host's clock. Writing and reading at an earlier time than before does not shorten a life. An entry that was written
//! while the part had no time to live, or by a processing-time timer where it lives in event time, gets its time when the
//! key is next seen.
//!
//! The SDK cleans up by timers of its own, at most one a key and domain, so state of silent keys goes away as well: within
//! 1/256 of the time to live after it has ended.
//!
//! # Size
//!
//! A part that is small is read and written whole with each call that has its key, which is the cheapest way. Once it is
//! larger than 16 KiB it goes on in pages of some 4 KiB by itself, which the host keeps beside the key's state: of these
//! only those that are touched are read, and only those that changed are written. It comes back when it has shrunk to
//! 4 KiB. Nothing of that can be seen but in what it costs; no grant is needed. How large a key may become, the limits of
//! the pipeline say: all its state together has one.
//!
//! What a part gives is in memory until the row or timer is done: going through all of a key with 100 MiB takes more memory
//! than a call has, while ranges, keys and ends of it are cheap. An entry, and a [`Value`], is read and written whole.

mod bounds;
mod codec;
mod life;
mod list;
mod map;
mod ordered;
mod pages;
mod slot;
mod slots;
mod store;
mod value;

pub use bounds::StateBounds;
#[cfg(not(target_arch = "wasm32"))]
pub use bounds::with_state_bounds;
pub(crate) use codec::{Kept, decode_kept, encode_kept, encode_whole};
#[doc(hidden)]
pub use codec::{Reader, Writer};
pub use life::{Now, Ttl};
pub use list::List;
pub use map::Map;
pub use ordered::Ordered;
pub use value::Value;

use crate::process::Domain;

/// Something that can be kept for a key. The parts of this module are, and structs that derive it.
///
/// Its functions are called by the SDK. Changes since the last [`begin`](Self::begin) can be taken back.
pub trait State: std::fmt::Debug + Default {
    /// Whether the bytes are the plugin's own, without anything of the SDK's before them.
    #[doc(hidden)]
    const RAW: bool = false;

    /// Whether there is nothing to keep. The key then takes no room.
    fn is_empty(&self) -> bool;
    /// Writes what is to be kept.
    fn encode(&mut self, writer: &mut Writer<'_>);
    /// Reads what was kept; none if it is not there. Settings, such as times to live, stay.
    fn decode(&mut self, reader: &mut Reader<'_>) -> Option<()>;
    /// Says what the time is, lets go of what has no time left, and begins to remember changes.
    fn begin(&mut self, now: &Now);
    /// Takes back what has changed since `begin`.
    fn undo(&mut self);
    /// Whether anything has a time to live in that domain, which nothing but the settings decide.
    fn lives(&self, domain: Domain) -> bool;
    /// The earliest end of a life that was written since `begin`.
    fn written(&self, domain: Domain) -> Option<i64>;
    /// The earliest end of a life.
    fn earliest(&self, domain: Domain) -> Option<i64>;
}

macro_rules! tuple_state {
    ($($part:ident $place:tt)*) => {
        impl<$($part: State),*> State for ($($part,)*) {
            fn is_empty(&self) -> bool {
                true $(&& self.$place.is_empty())*
            }
            fn encode(&mut self, _writer: &mut Writer<'_>) {
                $(self.$place.encode(_writer);)*
            }
            fn decode(&mut self, _reader: &mut Reader<'_>) -> Option<()> {
                $(self.$place.decode(_reader)?;)*
                Some(())
            }
            fn begin(&mut self, _now: &Now) {
                $(self.$place.begin(_now);)*
            }
            fn undo(&mut self) {
                $(self.$place.undo();)*
            }
            fn lives(&self, _domain: Domain) -> bool {
                false $(|| self.$place.lives(_domain))*
            }
            fn written(&self, _domain: Domain) -> Option<i64> {
                let times: &[Option<i64>] = &[$(self.$place.written(_domain)),*];
                times.iter().flatten().copied().min()
            }
            fn earliest(&self, _domain: Domain) -> Option<i64> {
                let times: &[Option<i64>] = &[$(self.$place.earliest(_domain)),*];
                times.iter().flatten().copied().min()
            }
        }
    };
}
tuple_state!();
tuple_state!(A 0);
tuple_state!(A 0 B 1);
tuple_state!(A 0 B 1 C 2);
tuple_state!(A 0 B 1 C 2 D 3);

#[cfg(test)]
mod paged_tests;
#[cfg(test)]
mod tests;
