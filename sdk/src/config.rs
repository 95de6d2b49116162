//! A plugin's configuration: from JSON text into the author's type, with errors that name the place.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A configuration type: anything that serde reads and schemars describes. [`config`](macro@crate::config) makes one.
pub trait Config: DeserializeOwned + JsonSchema {}
impl<T: DeserializeOwned + JsonSchema> Config for T {}

/// The configuration of a plugin that has none: `{}`, and no key is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads a configuration. Empty text and `null` are `{}`, so a plugin whose keys all have defaults needs none.
///
/// The error names the key and what is wrong with it.
pub fn parse<C: Config>(text: &str) -> Result<C, String> {
    let text = match text.trim() {
        "" | "null" => "{}",
        _ => text,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let config = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => format!("config: {}", error.inner()),
            _ => format!("config: `{path}`: {}", error.inner()),
        }
    })?;
    json.end().map_err(|error| format!("config: {error}"))?;
    Ok(config)
}

/// The JSON Schema (2020-12) of a configuration.
pub fn schema<C: Config>() -> String {
    schemars::schema_for!(C).as_value().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Window {
        #[serde(rename = "size-ms")]
        size_ms: u64,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        /// Where to look.
        field: String,
        #[serde(default)]
        windows: Vec<Window>,
    }

    #[test]
    fn no_config_takes_nothing_and_knows_no_key() {
        for text in ["{}", "null", "", "  \n"] {
            assert_eq!(parse::<NoConfig>(text), Ok(NoConfig {}));
        }
        let error = parse::<NoConfig>(r#"{"speed": 1}"#).expect_err("there are no keys");
        assert!(error.starts_with("config: `speed`: unknown field `speed`"), "{error}");
    }

    #[test]
    fn errors_name_the_key_and_the_place() {
        let error = parse::<Settings>(r#"{"field": "a", "windows": [{"size-ms": "x"}]}"#).expect_err("not a number");
        assert_eq!(error, "config: `windows[0].size-ms`: invalid type: string \"x\", expected u64 at line 1 column 42");
        let error = parse::<Settings>("{").expect_err("cut off");
        assert!(error.contains("EOF") && error.contains("line 1"), "{error}");
        assert_eq!(
            parse::<Settings>("{}").expect_err("a key is missing"),
            "config: missing field `field` at line 1 column 2"
        );
        assert!(parse::<NoConfig>("{} {}").is_err());
    }

    #[test]
    fn a_config_becomes_its_type() {
        let settings: Settings = parse(r#"{"field": "a", "windows": [{"size-ms": 7}]}"#).expect("it fits");
        assert_eq!((settings.field.as_str(), settings.windows[0].size_ms), ("a", 7));
    }

    #[test]
    fn the_schema_says_what_is_required_and_that_no_more_is_known() {
        let schema: serde_json::Value = serde_json::from_str(&schema::<Settings>()).expect("a schema is JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["required"], serde_json::json!(["field"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["field"]["description"], "Where to look.");
    }
}
