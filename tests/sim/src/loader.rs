//! The simulation's sandbox: plugins that are compiled in, each call of which may take its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream::ids::Digest;
use millstream::plugin::{
    Aggregator, Answer, Call, Called, Certificate, Closed, Contribution, Description, Done, Error, Folded, Grants,
    Guest, GuestLoader, Loading, Metric, Migrator, Owner, Plugin, Processor, Stateful, Transformer, Work,
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
        let description = guest.plugin().description().clone();
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
            Ok(self.lingering(guest))
        })
    }
}

impl Loader {
    fn lingering(&self, guest: Guest) -> Guest {
        let machine = self.0.clone();
        match guest {
            Guest::Transform(guest) => Guest::Transform(Arc::new(Lingering { guest, machine })),
            Guest::Aggregate(guest) => Guest::Aggregate(Arc::new(Lingering { guest, machine })),
            Guest::Process(guest) => Guest::Process(Arc::new(Lingering { guest, machine })),
        }
    }
}

/// A guest that takes its time.
#[derive(Debug)]
struct Lingering<G: ?Sized> {
    guest: Arc<G>,
    machine: Machine,
}

impl<G: ?Sized + Send + Sync> Lingering<G> {
    fn then<'a, T: Send + 'a>(&'a self, call: impl FnOnce() -> Call<'a, T> + Send + 'a) -> Call<'a, T> {
        Box::pin(async move {
            self.machine.linger().await;
            call().await
        })
    }
}

impl<G: ?Sized + Plugin> Plugin for Lingering<G> {
    fn description(&self) -> &Description {
        self.guest.description()
    }

    fn metrics(&self) -> BTreeMap<String, Metric> {
        self.guest.metrics()
    }
}

impl Transformer for Lingering<dyn Transformer> {
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer> {
        self.then(move || self.guest.transform(rows))
    }
}

impl Aggregator for Lingering<dyn Aggregator> {
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded> {
        self.then(move || self.guest.add(rows))
    }

    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column> {
        self.then(move || self.guest.merge(left, right))
    }

    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer> {
        self.then(move || self.guest.finish(windows))
    }
}

impl Processor for Lingering<dyn Processor> {
    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done> {
        self.then(move || self.guest.process(work))
    }

    fn has_pages(&self) -> bool {
        self.guest.has_pages()
    }
}

impl<G: ?Sized + Stateful> Stateful for Lingering<G> {
    fn migrator(&self) -> Option<&dyn Migrator> {
        self.guest.migrator().map(|_| self as &dyn Migrator)
    }
}

impl<G: ?Sized + Stateful> Migrator for Lingering<G> {
    fn migrate<'a>(&'a self, from: &'a str, state: ColumnRef<'a>) -> Call<'a, Result<Column, String>> {
        self.then(move || match self.guest.migrator() {
            Some(migrator) => migrator.migrate(from, state),
            None => Box::pin(std::future::ready(Ok(Called { answer: Err("it does not migrate".to_owned()), fuel: 0 }))),
        })
    }
}
