//! Manifests of the pipelines that vectors run in.

use millstream::ids::TopicPartition;
use serde_json::Value;

use crate::trial::{DEAD, LATE, OUT, TIMED_OUT, WORK};

/// How a pipeline knows what time it is.
#[derive(Debug, Clone, Copy)]
pub enum Time {
    /// By marks among its records.
    Marks,
    /// By event times, which are out of order by up to so many milliseconds.
    Disorder(i64),
}

/// A pipeline of a step with state, behind a gate if there are marks.
#[derive(Debug)]
pub struct Pipeline {
    /// The topics that it reads.
    pub topics: Vec<&'static str>,
    /// How it knows the time.
    pub time: Time,
    /// After how many milliseconds a quiet partition is idle.
    pub idle_ms: Option<i64>,
    /// The plugin that does the work.
    pub plugin: &'static str,
    /// Its configuration.
    pub config: Value,
    /// The rest of the step, such as its windows.
    pub rest: String,
}

impl Pipeline {
    /// One input with marks.
    pub fn marked(plugin: &'static str, config: Value) -> Self {
        Self { topics: vec!["in"], time: Time::Marks, idle_ms: None, plugin, config, rest: String::new() }
    }

    /// Two inputs with marks.
    pub fn marked_pair(plugin: &'static str, config: Value) -> Self {
        Self { topics: vec!["left", "right"], ..Self::marked(plugin, config) }
    }

    /// With windows.
    pub fn windows(self, window: &str) -> Self {
        Self { rest: format!("window = {{ {window} }}\nlate = \"{LATE}\"\n"), ..self }
    }

    /// With late rows that the plugin tells apart itself.
    pub fn late_output(self) -> Self {
        Self { rest: format!("outputs = {{ late = \"{LATE}\" }}\n"), ..self }
    }

    /// With late rows and partial matches that the plugin tells apart itself.
    pub fn pattern_outputs(self) -> Self {
        Self { rest: format!("outputs = {{ late = \"{LATE}\", timed-out = \"{TIMED_OUT}\" }}\n"), ..self }
    }

    /// The manifest.
    pub fn manifest(&self) -> String {
        let topics: Vec<String> = self.topics.iter().map(|topic| format!("\"{topic}\"")).collect();
        let topics = topics.join(", ");
        let (watermark, gate) = match self.time {
            Time::Marks => (
                "punctuated = true".to_owned(),
                "[[steps]]\nname = \"gate\"\nplugin = \"vectors-gate\"\n\
                 outputs = { watermark = \"@watermark\", idle = \"@idle\", active = \"@active\" }\n",
            ),
            Time::Disorder(ms) => (format!("disorder = \"{ms}ms\""), ""),
        };
        let idle = self.idle_ms.map_or(String::new(), |ms| format!("idle = \"{ms}ms\"\n"));
        let config: String = match &self.config {
            Value::Object(fields) => fields.iter().map(|(name, value)| format!("{name} = {}, ", toml(value))).collect(),
            _ => String::new(),
        };
        let (plugin, rest) = (self.plugin, &self.rest);
        format!(
            "name = \"vector\"\n\
             [source]\ntopics = [{topics}]\nheaders = true\n\
             [watermark]\n{watermark}\n{idle}\
             {gate}\
             [[steps]]\nname = \"{WORK}\"\nplugin = \"{plugin}\"\nconfig = {{ {} }}\n{rest}\
             [output]\ntopic = \"{OUT}\"\n\
             [dead-letters]\ntopic = \"{DEAD}\"\n",
            config.trim_end_matches(", ")
        )
    }

    /// The partitions that it reads, if each topic has so many.
    pub fn inputs(&self, partitions: u32) -> Vec<TopicPartition> {
        let of = |topic: &&str| {
            let topic = topic.parse().expect("topics here have names that can be");
            (0..partitions).map(move |partition| TopicPartition { topic: Clone::clone(&topic), partition })
        };
        self.topics.iter().flat_map(of).collect()
    }
}

/// A value of a configuration in TOML, on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{} = {}", Value::from(name.as_str()), toml(value));
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        // Strings, numbers and booleans are written alike in both.
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use millstream::pipeline::spec::Spec;
    use serde_json::json;

    use super::*;

    #[test]
    fn manifests_say_what_was_asked_for() {
        let config = json!({ "agg": "sum", "on": { "5": "r6" }, "list": [1, 2], "yes": true });
        let pipeline = Pipeline { idle_ms: Some(120), ..Pipeline::marked_pair("vectors-fold", config.clone()) };
        let spec: Spec = pipeline.windows("tumbling = \"20ms\"").manifest().parse().expect("a manifest");
        assert_eq!((spec.sources.len(), spec.watermark.idle_ms, spec.steps.len()), (2, Some(120), 2));
        assert_eq!(spec.steps[1].config, config);
        assert!(spec.steps[1].window.is_some());
    }
}
