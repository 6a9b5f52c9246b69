//! The answer to placing, changing or cancelling an order, with auto-slice's two shapes (`kite.md` 2.3).

use serde::{Deserialize, Deserializer, Serialize};

use super::super::json;

/// What was placed. Success means registered with the order system, not accepted by the exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// The order; with auto-slice the parent, which is in no order book.
    pub order_id: String,
    /// The slices of an auto-sliced order, else none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
}

/// A slice: placed, or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Child {
    /// Placed as an order of its own.
    Placed {
        /// Which.
        #[serde(with = "json::id")]
        order_id: String,
    },
    /// Failed; the others may stand.
    Failed {
        /// Why.
        error: ChildError,
    },
}

/// Why a slice failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildError {
    /// The HTTP status it would have been.
    pub code: u16,
    /// The class.
    #[serde(default)]
    pub error_type: String,
    /// The broker's words.
    #[serde(default)]
    pub message: String,
    /// Always null.
    #[serde(default, skip_deserializing)]
    pub data: (),
}

impl Placed {
    /// A plain order.
    #[must_use]
    pub fn one(order_id: impl Into<String>) -> Self {
        Self { order_id: order_id.into(), children: Vec::new() }
    }

    /// The error of the first slice, if there are slices and not one was placed.
    #[must_use]
    pub fn failed(&self) -> Option<&ChildError> {
        if self.children.iter().any(|child| matches!(child, Child::Placed { .. })) {
            return None;
        }
        self.children.iter().find_map(|child| match child {
            Child::Failed { error } => Some(error),
            Child::Placed { .. } => None,
        })
    }
}

impl<'de> Deserialize<'de> for Placed {
    /// Reads both shapes: an object with an id and perhaps children, and the older bare array of children, whose first
    /// placed slice then stands for the whole.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Whole {
                #[serde(with = "json::id")]
                order_id: String,
                #[serde(default)]
                children: Option<Vec<Child>>,
            },
            Slices(Vec<Child>),
        }
        Ok(match Shape::deserialize(deserializer)? {
            Shape::Whole { order_id, children } => Self { order_id, children: children.unwrap_or_default() },
            Shape::Slices(children) => {
                let first = children.iter().find_map(|child| match child {
                    Child::Placed { order_id } => Some(order_id.clone()),
                    Child::Failed { .. } => None,
                });
                if children.is_empty() {
                    return Err(serde::de::Error::custom("no order at all"));
                }
                Self { order_id: first.unwrap_or_default(), children }
            }
        })
    }
}
