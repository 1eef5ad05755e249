//! Scripts, settings, actions and targets from JavaScript objects.
//!
//! Actions and targets are read by hand: the derived readers of tagged enums keep the whole object
//! in a buffer of every type, which is a tenth of the module that each visitor loads.

use js_sys::{Array, Error, Object, Reflect};
use raft_sim::{
    Action, ClusterConfig, Condition, DiskConfig, DurationRange, NetworkConfig, Request, Script,
    Target, TimedAction, WorkloadConfig, WorldConfig,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};

/// Reads a script. An error names the invalid action.
pub(crate) fn script(value: &JsValue) -> Result<Script, Error> {
    if Array::is_array(value) {
        return Err(Error::new("the script is invalid: it is an array"));
    }
    let field = |name: &str| {
        let field = Reflect::get(value, &name.into()).unwrap_or(JsValue::UNDEFINED);
        (!field.is_undefined() && !field.is_null()).then_some(field)
    };
    let config = field("config");
    let config = config.map(|settings| self::config("the script", &settings)).transpose()?;
    let actions = field("actions").unwrap_or_else(|| Array::new().into());
    let actions = actions.dyn_into::<Array>();
    let actions = actions.map_err(|_| Error::new("the script is invalid: actions are no list"))?;
    let actions = (1..).zip(actions.iter());
    let read_action =
        |(number, action): (usize, JsValue)| timed_action(&format!("action {number}"), &action);
    let actions = actions.map(read_action).collect::<Result<_, _>>()?;
    let script = Script { config: config.unwrap_or_default(), actions };
    check_settings(value, &script)?;
    Ok(script)
}

/// Fails if the script has a setting that does not exist: JavaScript objects are read field by
/// field, so such a setting would be ignored.
fn check_settings(value: &JsValue, script: &Script) -> Result<(), Error> {
    let known: JsValue = crate::write(&script.config)?;
    let given = Reflect::get(value, &"config".into()).unwrap_or(JsValue::UNDEFINED);
    let Ok(given) = given.dyn_into::<Object>() else {
        return Ok(());
    };
    for entry in Object::entries(&given).iter() {
        let entry: Array = entry.unchecked_into();
        let (name, setting) = (entry.get(0), entry.get(1));
        // `known` does not contain settings without a value.
        let is_empty = setting.is_undefined()
            || setting.is_null()
            || setting.dyn_ref::<Array>().is_some_and(|array| array.length() == 0);
        if !is_empty && !Reflect::has(&known, &name).unwrap_or(true) {
            let name = name.as_string().unwrap_or_default();
            if raft_sim::EARLIER_SETTING_NAMES.iter().any(|(earlier, _)| *earlier == name) {
                continue;
            }
            return Err(Error::new(&format!(
                "unknown setting: `{name}`; use the names of WorldConfig"
            )));
        }
    }
    Ok(())
}

/// Reads a value of a type that serde supports.
pub(crate) fn value<T: DeserializeOwned>(what: &str, value: &JsValue) -> Result<T, Error> {
    // In JavaScript an array is an object without any of the fields. It would be read as a script
    // that omits everything.
    if Array::is_array(value) {
        return Err(Error::new(&format!("{what} is invalid: it is an array; use an object")));
    }
    let read = serde_wasm_bindgen::from_value(value.clone());
    read.map_err(|problem| {
        let problem = problem.to_string();
        // The list of all possible values by serde is too long for a sentence.
        let problem = problem.split_once(", expected").map_or(&*problem, |(problem, _)| problem);
        let problem = problem.strip_prefix("Error: ").unwrap_or(problem);
        Error::new(&format!("{what} is invalid: {problem}"))
    })
}

/// An object that is read field by field. Fields that were not read are a mistake.
struct Fields<'a> {
    what: &'a str,
    object: Object,
    read: u32,
}

type Read<T> = Result<T, Error>;

impl<'a> Fields<'a> {
    fn new(what: &'a str, value: &JsValue) -> Read<Self> {
        if Array::is_array(value) {
            return Err(invalid(what, "it is an array"));
        }
        let object = value.dyn_ref::<Object>().ok_or_else(|| invalid(what, "it is no object"))?;
        Ok(Self { what, object: object.clone(), read: 0 })
    }

    /// The value of a field; none if it is absent or null.
    fn optional(&mut self, name: &str) -> Option<JsValue> {
        let name = JsValue::from(name);
        if !Object::has_own(&self.object, &name) {
            return None;
        }
        self.read += 1;
        let value = Reflect::get(&self.object, &name).ok();
        value.filter(|value| !value.is_undefined() && !value.is_null())
    }

    fn field(&mut self, name: &str) -> Read<JsValue> {
        let value = self.optional(name);
        value.ok_or_else(|| self.problem(&format!("missing field `{name}`")))
    }

    fn text(&mut self, name: &str) -> Read<String> {
        let text = self.field(name)?.as_string();
        text.ok_or_else(|| self.problem(&format!("`{name}` is no text")))
    }

    fn number(&mut self, name: &str) -> Read<u64> {
        let value = self.field(name)?;
        self.whole(name, &value)
    }

    fn whole(&self, name: &str, value: &JsValue) -> Read<u64> {
        let number = value
            .as_f64()
            .filter(|number| (0.0..=9e15).contains(number) && number.trunc() == *number);
        let number = number.map(|number| number as u64);
        number.ok_or_else(|| self.problem(&format!("`{name}` is no whole number")))
    }

    fn small(&mut self, name: &str) -> Read<u32> {
        let number = self.number(name)?;
        u32::try_from(number).map_err(|_| self.problem(&format!("`{name}` is too large")))
    }

    fn span(&mut self, name: &str) -> Read<DurationRange> {
        let value = self.field(name)?;
        let mut span = Fields::new(self.what, &value)?;
        let range = DurationRange::new(span.number("min")?, span.number("max")?);
        span.finish(range)
    }

    fn list(&self, name: &str, value: &JsValue) -> Read<Vec<u64>> {
        let list = value.dyn_ref::<Array>();
        let list = list.ok_or_else(|| self.problem(&format!("`{name}` is no list")))?;
        list.iter().map(|value| self.whole(name, &value)).collect()
    }

    fn numbers(&mut self, name: &str) -> Read<Vec<u64>> {
        match self.optional(name) {
            None => Ok(Vec::new()),
            Some(value) => self.list(name, &value),
        }
    }

    fn problem(&self, problem: &str) -> Error {
        invalid(self.what, problem)
    }

    /// Fails if the object has fields that were not read.
    fn finish<T>(self, result: T) -> Read<T> {
        match Object::keys(&self.object).length() > self.read {
            true => Err(self.problem("it has a field that it must not have")),
            false => Ok(result),
        }
    }
}

fn invalid(what: &str, problem: &str) -> Error {
    Error::new(&format!("{what} is invalid: {problem}"))
}

/// The settings of a world that belong to no group.
#[derive(Deserialize)]
#[serde(default)]
struct RunSettings {
    seed: u64,
    #[serde(alias = "story")]
    record_events: bool,
    #[serde(alias = "branches")]
    count_coverage: bool,
}

impl Default for RunSettings {
    fn default() -> Self {
        let WorldConfig { seed, record_events, count_coverage, .. } = WorldConfig::default();
        Self { seed, record_events, count_coverage }
    }
}

/// Reads the settings of a world. Each group is read from the same object, because the derived
/// reader of flattened groups makes the module larger by 9 KiB.
pub(crate) fn config(what: &str, value: &JsValue) -> Read<WorldConfig> {
    let RunSettings { seed, record_events, count_coverage } = self::value(what, value)?;
    Ok(WorldConfig {
        cluster: self::value::<ClusterConfig>(what, value)?,
        seed,
        network: self::value::<NetworkConfig>(what, value)?,
        disk: self::value::<DiskConfig>(what, value)?,
        workload: self::value::<WorkloadConfig>(what, value)?,
        record_events,
        count_coverage,
    })
}

/// Reads an action.
pub(crate) fn action(what: &str, value: &JsValue) -> Read<Action> {
    let mut fields = Fields::new(what, value)?;
    let action = action_of(&mut fields)?;
    fields.finish(action)
}

/// Reads an action and its moment.
pub(crate) fn timed_action(what: &str, value: &JsValue) -> Read<TimedAction> {
    let mut fields = Fields::new(what, value)?;
    let at = fields.number("at")?;
    let action = action_of(&mut fields)?;
    fields.finish(TimedAction { at, action })
}

/// The addresses of earlier versions have earlier names of some actions.
fn action_of(fields: &mut Fields<'_>) -> Read<Action> {
    let name = fields.text("do")?;
    Ok(match name.as_str() {
        "crash" => Action::Crash { node: fields.number("node")? },
        "power-cut" => Action::PowerCut,
        "restart" => Action::Restart { node: fields.number("node")? },
        "pause" => Action::Pause { node: fields.number("node")? },
        "resume" => Action::Resume { node: fields.number("node")? },
        "fire-timer" | "timeout" => Action::FireTimer { node: fields.number("node")? },
        "align-timers" => Action::AlignTimers,
        "spread-timers" => Action::SpreadTimers,
        "take-snapshot" => Action::TakeSnapshot { node: fields.number("node")? },
        "set-clock" => {
            let drift = fields.field("drift")?.as_f64().filter(|drift| drift.abs() <= 2e9);
            let drift = drift.ok_or_else(|| fields.problem("`drift` is no number"))? as i32;
            Action::SetClock { node: fields.number("node")?, drift }
        }
        "jump-clock" => {
            Action::JumpClock { node: fields.number("node")?, by: fields.number("by")? }
        }
        "change-membership" => Action::ChangeMembership {
            voters: fields.numbers("voters")?,
            learners: fields.numbers("learners")?,
            joining: fields.numbers("joining")?,
        },
        "transfer" => Action::Transfer { to: fields.number("to")? },
        "request" => {
            let via = fields.optional("via");
            let via = via.map(|via| fields.whole("via", &via)).transpose()?;
            let request = fields.field("request")?;
            Action::Request { via, request: client_request(fields.what, &request)? }
        }
        "stop-clients" => Action::StopClients,
        "go-on" => Action::GoOn,
        _ => return disk_or_network(fields, &name),
    })
}

fn disk_or_network(fields: &mut Fields<'_>, name: &str) -> Read<Action> {
    let mut link = || Ok::<_, Error>((fields.number("from")?, fields.number("to")?));
    Ok(match name {
        "cut-link" => link().map(|(from, to)| Action::CutLink { from, to })?,
        "heal-link" => link().map(|(from, to)| Action::HealLink { from, to })?,
        "set-latency" => {
            let (from, to) = link()?;
            Action::SetLatency { from, to, latency: fields.span("latency")? }
        }
        "set-loss" => {
            let (from, to) = link()?;
            Action::SetLoss { from, to, loss_per_mille: fields.small("loss_per_mille")? }
        }
        "isolate" => Action::Isolate { node: fields.number("node")? },
        "reconnect" => Action::Reconnect { node: fields.number("node")? },
        "partition" => {
            let groups = fields.field("groups")?;
            let groups = groups.dyn_ref::<Array>().cloned();
            let groups = groups.ok_or_else(|| fields.problem("`groups` is no list"))?;
            let groups = groups.iter().map(|group| fields.list("groups", &group));
            Action::Partition { groups: groups.collect::<Read<_>>()? }
        }
        "heal-network" => Action::HealNetwork,
        "set-network" => Action::SetNetwork {
            latency: fields.span("latency")?,
            loss_per_mille: fields.small("loss_per_mille")?,
            duplicate_per_mille: fields.small("duplicate_per_mille")?,
        },
        "drop-message" => Action::DropMessage { message: fields.number("message")? },
        "duplicate-message" => Action::DuplicateMessage { message: fields.number("message")? },
        "deliver-message" => Action::DeliverMessage { message: fields.number("message")? },
        "delay-message" => {
            Action::DelayMessage { message: fields.number("message")?, by: fields.number("by")? }
        }
        "hold-messages" => Action::HoldMessages,
        "release-messages" => Action::ReleaseMessages,
        "fail-disk" => Action::FailDisk { node: fields.number("node")? },
        "wipe-disk" => Action::WipeDisk { node: fields.number("node")? },
        "destroy-disk" | "lose-disk" => Action::DestroyDisk { node: fields.number("node")? },
        "fill-disk" => Action::FillDisk { node: fields.number("node")? },
        "free-disk" => Action::FreeDisk { node: fields.number("node")? },
        "corrupt-entry" | "rot-disk" => {
            Action::CorruptEntry { node: fields.number("node")?, back: fields.number("back")? }
        }
        "misdirect-write" => {
            Action::MisdirectWrite { node: fields.number("node")?, back: fields.number("back")? }
        }
        "set-sync-latency" | "set-disk" => {
            let earlier = Object::has_own(&fields.object, &"sync".into());
            let sync_latency = fields.span(if earlier { "sync" } else { "sync_latency" })?;
            Action::SetSyncLatency { node: fields.number("node")?, sync_latency }
        }
        _ => return Err(fields.problem(&format!("unknown variant `{name}`"))),
    })
}

fn client_request(what: &str, value: &JsValue) -> Read<Request> {
    let mut fields = Fields::new(what, value)?;
    let (name, key) = (fields.text("op")?, fields.text("key")?);
    let request = match name.as_str() {
        "put" => Request::Put { key, value: fields.text("value")? },
        "get" => Request::Get { key },
        "delete" => Request::Delete { key },
        "cas" => Request::Cas {
            key,
            expected: fields.optional("expected").and_then(|expected| expected.as_string()),
            value: fields.text("value")?,
        },
        _ => return Err(fields.problem(&format!("unknown variant `{name}`"))),
    };
    fields.finish(request)
}

/// Reads a target.
pub(crate) fn target(value: &JsValue) -> Read<Target> {
    let mut fields = Fields::new("the target", value)?;
    let name = fields.text("to")?;
    let target = match name.as_str() {
        "election" => Target::Election,
        "commit" => Target::Commit,
        "violation" => Target::Violation,
        "message" => {
            let node = fields.optional("node");
            Target::Message { node: node.map(|node| fields.whole("node", &node)).transpose()? }
        }
        "event" => Target::Event { node: fields.number("node")? },
        "condition" => {
            let condition = fields.field("condition")?;
            Target::Condition { node: fields.number("node")?, condition: condition_of(&condition)? }
        }
        _ => return Err(fields.problem(&format!("unknown variant `{name}`"))),
    };
    fields.finish(target)
}

fn condition_of(value: &JsValue) -> Read<Condition> {
    let mut fields = Fields::new("the condition", value)?;
    let name = fields.text("is")?;
    let condition = match name.as_str() {
        "leader" => Condition::Leader,
        "candidate" => Condition::Candidate,
        "follower" => Condition::Follower,
        "down" => Condition::Down,
        "term" => Condition::Term { least: fields.number("least")? },
        "log" => Condition::Log { least: fields.number("least")? },
        "commit" => Condition::Commit { least: fields.number("least")? },
        "applied" => Condition::Applied { least: fields.number("least")? },
        _ => return Err(fields.problem(&format!("unknown variant `{name}`"))),
    };
    fields.finish(condition)
}
