//! The names of the TypeScript types in types.d.ts, for the signatures of the exported functions.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &'static str = include_str!("types.d.ts");

#[wasm_bindgen]
extern "C" {
    /// `Script` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Script")]
    pub type JsScript;
    /// `Action` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Action")]
    pub type JsAction;
    /// `StoryRecord[]` in types.d.ts.
    #[wasm_bindgen(typescript_type = "StoryRecord[]")]
    pub type JsStory;
    /// `NodeDetail` in types.d.ts.
    #[wasm_bindgen(typescript_type = "NodeDetail | undefined")]
    pub type JsNodeDetail;
    /// `MessageDetail` in types.d.ts.
    #[wasm_bindgen(typescript_type = "MessageDetail | undefined")]
    pub type JsMessageDetail;
    /// `Operation[]` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Asking[]")]
    pub type JsAskings;
    /// `Operation` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Asking | undefined")]
    pub type JsAsking;
    /// `LogWindow` in types.d.ts.
    #[wasm_bindgen(typescript_type = "LogWindow")]
    pub type JsLogs;
    /// `Impossible[]` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Impossible[]")]
    pub type JsImpossible;
    /// `Verdict` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Verdict")]
    pub type JsVerdict;
    /// `Rule[]` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Rule[]")]
    pub type JsRules;
    /// `StoryGroup[]` in types.d.ts.
    #[wasm_bindgen(typescript_type = "StoryGroup[]")]
    pub type JsGroups;
    /// `CauseLink[]` in types.d.ts.
    #[wasm_bindgen(typescript_type = "CauseLink[]")]
    pub type JsLinks;
    /// A sentence or null for each action.
    #[wasm_bindgen(typescript_type = "(string | null)[]")]
    pub type JsWhyNots;
    /// `Check` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Check")]
    pub type JsCheck;
    /// `DiagramHit` in types.d.ts.
    #[wasm_bindgen(typescript_type = "DiagramHit | undefined")]
    pub type JsHit;
    /// `Branch[]` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Branch[]")]
    pub type JsBranches;
    /// `Comparison` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Comparison")]
    pub type JsComparison;
    /// `Target` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Target")]
    pub type JsTarget;
    /// `Progress` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Progress")]
    pub type JsProgress;
    /// `Violation` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Violation | undefined")]
    pub type JsViolation;
}
