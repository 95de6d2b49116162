//! A plugin tried by itself, before there is a pipeline that runs it.

use std::sync::Arc;

use serde_json::Value;

use super::{Samples, Verdict, generated, run};
use crate::clock::now_ms;
use crate::ids::default_tenant;
use crate::pipeline::engine::plan::Loaded;
use crate::pipeline::engine::references::References;
use crate::pipeline::error::Error;
use crate::pipeline::spec::Spec;
use crate::plugin::{Certificate, Grant, Grants, GuestLoader, Lookups, Owner, World};
use crate::record::{Batch, Column, ColumnRef};

/// Rows that are made up, where none are given.
const ROWS: usize = 128;
/// Two topics, so that a plugin that joins inputs gets rows of both.
const MANIFEST: &str = r#"
name = "check"
[source]
topics = ["first", "second"]
headers = true
[[steps]]
name = "plugin"
plugin = "plugin"
[output]
topic = "results"
"#;
/// What the step of an aggregate says beside that. Every made-up row is late for some windows, and none for most.
const WINDOW: &str = "plugin = \"plugin\"\nwindow = { tumbling = \"2s\" }";

/// Runs rows through a plugin whole and cut; made-up ones, if none are given. An error says which answers differ.
pub async fn try_plugin(
    loader: &dyn GuestLoader,
    component: &[u8],
    config: &Value,
    certificate: &Certificate,
    rows: Option<&Batch>,
) -> Result<Verdict, Error> {
    let manifest = match certificate.world {
        World::Aggregate => MANIFEST.replace("plugin = \"plugin\"", WINDOW),
        World::Transform | World::Process => MANIFEST.to_owned(),
    };
    let mut spec: Spec = manifest.parse()?;
    let needs = certificate.needs();
    for step in &mut spec.steps {
        step.config = config.clone();
        step.table = needs.contains(&Grant::Table);
    }
    let lookups = needs.contains(&Grant::Lookup).then(|| Arc::new(Empty) as Arc<dyn Lookups>);
    let mut loaded = Vec::new();
    for step in &spec.steps {
        let (pipeline, step_name) = (spec.name.clone(), step.name.clone());
        let owner = Owner { tenant: default_tenant(), pipeline, step: step_name, is_trial: true };
        let grants = Grants { table: step.table, lookups: lookups.clone() };
        let guest = loader.load(component, &step.config, owner, grants).await;
        let guest = guest.map_err(|source| Error::Plugin { step: step.name.clone(), source })?;
        loaded.push(Loaded { digest: certificate.digest, guest });
    }
    let inputs = spec.sources.len();
    let samples: Samples = match rows {
        None => {
            spec.sources.iter().cloned().zip((0..inputs).map(|input| generated(&spec, ROWS / inputs, input))).collect()
        }
        // In one topic they keep the order that they are given in.
        Some(rows) => spec.sources.iter().take(1).map(|topic| (topic.clone(), rows.clone())).collect(),
    };
    run(&spec, References::new(&spec), loaded, &samples, now_ms()).await
}

/// Reference tables that have nothing: whatever name the plugin looks under.
#[derive(Debug)]
struct Empty;

impl Lookups for Empty {
    fn get(&self, _: &str, keys: ColumnRef<'_>) -> Option<Column> {
        Some(keys.iter().map(|_| None::<&[u8]>).collect())
    }
}
