//! Sets and deletes event-time timers as rows say and, when they fire, as the configuration says.

use std::collections::BTreeMap;

use millstream_sdk::prelude::*;

/// The configuration.
#[config]
pub struct Config {
    /// What the timer of a time does when it fires.
    #[serde(default)]
    on_timer: BTreeMap<String, String>,
}

/// What a row asks for: `r500;d600` sets a timer for 500 and deletes that for 600.
#[derive(Debug, Deserialize)]
pub struct Event {
    #[serde(default)]
    actions: String,
}

/// The plugin.
#[derive(Debug)]
pub struct Scripted {
    on_timer: BTreeMap<i64, Vec<Action>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Set(i64),
    Delete(i64),
}

/// Tells which timers fired.
#[process(outputs(fired = "One row a timer: its time."))]
impl Process for Scripted {
    type Config = Config;
    type Input<'a> = Json<Event>;
    type State = ();

    fn new(config: Config) -> Result<Self> {
        let mut on_timer = BTreeMap::new();
        for (time, actions) in &config.on_timer {
            on_timer.insert(number(time)?, parse(actions)?);
        }
        Ok(Scripted { on_timer })
    }

    fn on_row(&self, ctx: &mut Context<'_>, (): &mut (), Json(event): Json<Event>) -> Result<()> {
        act(ctx, &parse(&event.actions)?);
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, (): &mut (), timer: Timer) -> Result<()> {
        ctx.emit(format!(r#"{{"ts":{}}}"#, timer.time))?;
        act(ctx, self.on_timer.get(&timer.time).map_or(&[], Vec::as_slice));
        Ok(())
    }
}

fn act(ctx: &mut Context<'_>, actions: &[Action]) {
    for action in actions {
        match *action {
            Action::Set(time) => ctx.timers().at(time),
            Action::Delete(time) => ctx.timers().delete_at(time),
        }
    }
}

fn parse(actions: &str) -> Result<Vec<Action>> {
    actions.split(';').map(str::trim).filter(|action| !action.is_empty()).map(action).collect()
}

fn action(action: &str) -> Result<Action> {
    match action.split_at_checked(1) {
        Some(("r", time)) => number(time).map(Action::Set),
        Some(("d", time)) => number(time).map(Action::Delete),
        _ => reject!("bad-action", "`{action}` is neither `r` nor `d` and a time"),
    }
}

fn number(time: &str) -> Result<i64> {
    match time.trim().parse() {
        Ok(time) => Ok(time),
        Err(_) => reject!("bad-action", "`{time}` is no time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{Input, keyed, plugin};

    #[test]
    fn rows_and_timers_set_and_delete_timers() {
        let scripted = plugin::<Scripted>(r#"{"on_timer":{"10":"r30; d20"}}"#).expect("a script");
        let mut run = keyed(&scripted);
        run.row(Input::value(r#"{"actions":"r10;r20;r25;d25"}"#).key("k"));
        run.watermark(30);
        assert_eq!(run.end().values(), [r#"{"ts":10}"#, r#"{"ts":30}"#]);
    }

    #[test]
    fn what_is_no_action_is_refused() {
        let error = plugin::<Scripted>(r#"{"on_timer":{"10":"x30"}}"#).expect_err("no action");
        assert!(error.contains("`x30` is neither"), "{error}");
        let scripted = plugin::<Scripted>("{}").expect("no script");
        let mut run = keyed(&scripted);
        run.row(r#"{"actions":"r"}"#);
        assert_eq!(run.end().codes(), ["bad-action"]);
    }
}
