//! The configuration, checked.

use millstream_sdk::expression::{Expression, Names, Reader};
use millstream_sdk::prelude::*;

/// A row's steps are bits of a number of 32.
const STEPS_MAX: usize = 32;

/// The configuration.
#[config]
pub struct Config {
    /// A session ends when so many milliseconds pass without a row. One exactly so long after another is still in it.
    gap_ms: i64,
    /// Paths of the fields of which the first and the last row's values are in the result, such as `page.path`.
    #[serde(default)]
    fields: Vec<String>,
    /// The steps of a funnel, in order: how far each session came.
    #[serde(default)]
    funnel: Vec<StepConfig>,
    /// Path of the field that holds the step's name, for steps that have no expression.
    funnel_field: Option<String>,
    /// How many rows of the funnel a key may keep; a row beyond is rejected. Without it, any number.
    funnel_rows_max: Option<usize>,
}

/// A step of the funnel.
#[config]
pub struct StepConfig {
    /// Its name in the result.
    name: String,
    /// The expression that its rows fulfil; without it the field `funnel_field` is the name.
    #[serde(rename = "where")]
    condition: Option<String>,
}

/// The plugin.
#[derive(Debug)]
pub struct Sessionize {
    pub(crate) gap: i64,
    pub(crate) reader: Reader,
    /// The chosen fields: their paths, and their places among what is read.
    pub(crate) fields: Vec<String>,
    pub(crate) places: Vec<usize>,
    /// The steps: their names and expressions.
    pub(crate) funnel: Vec<(String, Expression)>,
    pub(crate) funnel_rows_max: Option<usize>,
}

impl Sessionize {
    pub(crate) fn of(config: Config) -> Result<Self> {
        if config.gap_ms <= 0 {
            reject!("bad-config", "`gap_ms` is {}: a session needs a gap above 0 ms", config.gap_ms);
        }
        if config.funnel.len() > STEPS_MAX {
            reject!("bad-config", "`funnel` has {} steps: {STEPS_MAX} are the limit", config.funnel.len());
        }
        if config.funnel_field.is_some() && config.funnel.iter().all(|step| step.condition.is_some()) {
            reject!("bad-config", "`funnel_field` is for steps without an expression, and there are none");
        }
        let mut names = Names::default();
        let mut funnel: Vec<(String, Expression)> = Vec::new();
        for (place, step) in config.funnel.iter().enumerate() {
            if step.name.is_empty() || funnel.iter().any(|(name, _)| *name == step.name) {
                reject!("bad-config", "`funnel[{place}].name` is `{}`: each step has a name of its own", step.name);
            }
            funnel.push((step.name.clone(), step.condition(place, config.funnel_field.as_deref(), &mut names)?));
        }
        Fields::new(&config.fields)?;
        let places = config.fields.iter().map(|path| names.field(path)).collect::<Result<_>>()?;
        Ok(Self {
            gap: config.gap_ms,
            reader: names.reader()?,
            fields: config.fields,
            places,
            funnel,
            funnel_rows_max: config.funnel_rows_max,
        })
    }
}

impl StepConfig {
    fn condition(&self, place: usize, field: Option<&str>, names: &mut Names) -> Result<Expression> {
        match (&self.condition, field) {
            (Some(condition), _) => names.expression(&format!("funnel[{place}].where"), condition),
            (None, Some(field)) => names.equals(field, &self.name),
            (None, None) => {
                reject!("bad-config", "step `{}` has no `where`, and no `funnel_field` says where to look", self.name)
            }
        }
    }
}
