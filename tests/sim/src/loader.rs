//! The simulation's sandbox: plugins that are compiled in, each call of which may take its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream::ids::Digest;
use millstream::plugin::{
    Answer, Call, Certificate, Closed, Contribution, Description, Done, Error, Folded, Grants, Guest, GuestLoader,
    Loading, Metric, Owner, Work,
};
use millstream::record::{BatchRef, Column, ColumnRef};

use crate::guests;
use crate::machine::Machine;

/// Loads plugins that are compiled in.
#[derive(Debug, Clone)]
pub struct Loader(pub Machine);

impl Loader {
    /// What the sandbox would say of a component.
    pub fn certify(component: &str) -> Certificate {
        let guest = guests::load(component, "{}", Grants::default()).expect("the simulation knows its plugins");
        let description = guest.description().clone();
        Certificate {
            digest: Digest::of(component.as_bytes()),
            world: description.world,
            description,
            snapshot: true,
            no_snapshot: None,
            imports: Vec::new(),
            bytes: component.len() as u64,
        }
    }
}

impl GuestLoader for Loader {
    fn load<'a>(&'a self, component: &'a [u8], config: &'a serde_json::Value, _: Owner, grants: Grants) -> Loading<'a> {
        Box::pin(async move {
            self.0.linger().await;
            let name = String::from_utf8_lossy(component);
            let refused = |reason| Error::Host { action: format!("load `{name}`"), reason };
            let guest = guests::load(&name, &config.to_string(), grants).map_err(refused)?;
            Ok(Arc::new(Lingering { guest, machine: self.0.clone() }) as Arc<dyn Guest>)
        })
    }
}

/// A guest that takes its time.
#[derive(Debug)]
struct Lingering {
    guest: Arc<dyn Guest>,
    machine: Machine,
}

impl Lingering {
    fn then<'a, T: Send + 'a>(&'a self, call: impl FnOnce() -> Call<'a, T> + Send + 'a) -> Call<'a, T> {
        Box::pin(async move {
            self.machine.linger().await;
            call().await
        })
    }
}

impl Guest for Lingering {
    fn description(&self) -> &Description {
        self.guest.description()
    }

    fn metrics(&self) -> BTreeMap<String, Metric> {
        self.guest.metrics()
    }

    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        self.then(move || self.guest.transform(rows))
    }

    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        self.then(move || self.guest.add(rows))
    }

    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column> {
        self.then(move || self.guest.merge(left, right))
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer> {
        self.then(move || self.guest.finish(windows))
    }

    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done> {
        self.then(move || self.guest.process(work))
    }

    fn migrates(&self) -> bool {
        self.guest.migrates()
    }

    fn migrate<'a>(&'a self, from: &'a str, state: ColumnRef<'a>) -> Call<'a, Result<Column, String>> {
        self.then(move || self.guest.migrate(from, state))
    }
}
