//! Rules that are disabled by name. Without the feature `sabotage`, no rule can be disabled.

use crate::world::config::WorldConfig;

/// Disables a rule. Returns false if there is no rule with this name.
#[cfg(feature = "sabotage")]
pub(super) fn disable(config: &mut WorldConfig, name: &str) -> bool {
    let rule = raft_core::Rule::ALL.iter().find(|rule| rule.name() == name);
    if let Some(rule) = rule {
        config.cluster.disabled_rules = config.cluster.disabled_rules.and(*rule);
    }
    rule.is_some()
}

/// Enables all rules, and returns the names of the rules that were disabled.
#[cfg(feature = "sabotage")]
pub(super) fn enable_all(config: &mut WorldConfig) -> Vec<String> {
    let disabled = std::mem::take(&mut config.cluster.disabled_rules);
    let rules = raft_core::Rule::ALL.iter().filter(|rule| disabled.and(**rule) == disabled);
    rules.map(|rule| rule.name().to_owned()).collect()
}

#[cfg(not(feature = "sabotage"))]
pub(super) fn disable(_: &mut WorldConfig, _: &str) -> bool {
    false
}

#[cfg(not(feature = "sabotage"))]
pub(super) fn enable_all(_: &mut WorldConfig) -> Vec<String> {
    Vec::new()
}
