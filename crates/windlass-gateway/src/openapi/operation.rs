//! The shape of an entry of the table of operations.

use serde_json::Value;

use super::schemas::SchemaOf;
use crate::protocol::problem::ProblemKind;

/// What one route does.
pub(crate) struct Operation {
    /// Method and path, as in the table of routes.
    pub(crate) route: (&'static str, &'static str),
    /// A name for programs that are made from the document.
    pub(crate) id: &'static str,
    pub(crate) tag: Tag,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// What else there is to know.
    pub(crate) text: &'static str,
    /// What it takes beside the names in its path.
    pub(crate) parameters: &'static [Parameter],
    pub(crate) body: Option<Body>,
    /// What it answers when it does what was asked.
    pub(crate) answers: &'static [Answer],
    /// How it says no, beside what follows from its guard and its body.
    pub(crate) refusals: &'static [ProblemKind],
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Jobs,
    Functions,
    Queues,
    Operations,
    Workers,
}

impl Tag {
    pub(crate) const ALL: [Self; 5] =
        [Self::Jobs, Self::Functions, Self::Queues, Self::Operations, Self::Workers];

    /// Its name and what it says.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Jobs => ("jobs", "Submit work, follow it and fetch what came out."),
            Self::Functions => {
                ("functions", "What may run. Admins write functions; here they are read.")
            }
            Self::Queues => (
                "queues",
                "Who may use how much. Admins write queues; here they are read, held and resumed.",
            ),
            Self::Operations => ("operations", "For those who keep the server running."),
            Self::Workers => (
                "workers",
                "How the worker of a job's attempt reports, on a cluster. The token is bound to its pod; \
                 no other is good for it. On one machine there are no such paths.",
            ),
        }
    }
}

/// A parameter of the query or a header.
pub(crate) struct Parameter {
    /// `query` or `header`.
    pub(crate) location: &'static str,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) schema: fn() -> Value,
    pub(crate) required: bool,
}

/// What is sent.
pub(crate) struct Body {
    pub(crate) media_type: &'static str,
    pub(crate) text: &'static str,
    pub(crate) schema: SchemaOf,
    pub(crate) example: Option<fn() -> Value>,
}

/// An answer that is no refusal.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: &'static str,
    pub(crate) headers: &'static [Header],
    pub(crate) content: Content,
}

/// What an answer has in its body.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    None,
    Json(SchemaOf),
    /// Server-sent events, each of this schema.
    Events(SchemaOf),
    /// Text of this media type.
    Text(&'static str),
    /// Bytes of any media type: the function's.
    Bytes,
}

/// A header of an answer.
pub(crate) struct Header {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) schema: fn() -> Value,
    /// Whether every such answer has it.
    pub(crate) always: bool,
}

impl Operation {
    /// An operation that takes nothing, answers nothing and refuses nothing yet: what most entries of
    /// the table leave out.
    pub(crate) const EMPTY: Self = Self {
        route: ("", ""),
        id: "",
        tag: Tag::Operations,
        summary: "",
        text: "",
        parameters: &[],
        body: None,
        answers: &[],
        refusals: &[],
    };
}

impl Body {
    /// How a body of its media type is refused, whatever the operation.
    pub(crate) fn refusals(&self) -> &'static [ProblemKind] {
        match self.media_type {
            "application/json" => &[
                ProblemKind::Malformed,
                ProblemKind::Slow,
                ProblemKind::TooLarge,
                ProblemKind::MediaType,
                ProblemKind::Invalid,
            ],
            _ => &[],
        }
    }

    /// A JSON body.
    pub(crate) const fn json(text: &'static str, schema: SchemaOf) -> Option<Self> {
        Some(Self { media_type: "application/json", text, schema, example: None })
    }

    /// The same with an example.
    pub(crate) const fn json_like(
        text: &'static str,
        schema: SchemaOf,
        example: fn() -> Value,
    ) -> Option<Self> {
        Some(Self { media_type: "application/json", text, schema, example: Some(example) })
    }
}

impl Answer {
    /// An answer without headers of its own.
    pub(crate) const fn new(status: u16, text: &'static str, content: Content) -> Self {
        Self { status, text, headers: &[], content }
    }

    /// The same with these headers.
    pub(crate) const fn with(self, headers: &'static [Header]) -> Self {
        Self { headers, ..self }
    }
}

impl Header {
    /// A header that every such answer has.
    pub(crate) const fn always(
        name: &'static str,
        text: &'static str,
        schema: fn() -> Value,
    ) -> Self {
        Self { name, text, schema, always: true }
    }

    /// A header that some of them have.
    pub(crate) const fn sometimes(
        name: &'static str,
        text: &'static str,
        schema: fn() -> Value,
    ) -> Self {
        Self { name, text, schema, always: false }
    }
}

impl Parameter {
    /// An optional parameter of the query.
    pub(crate) const fn query(
        name: &'static str,
        text: &'static str,
        schema: fn() -> Value,
    ) -> Self {
        Self { location: "query", name, text, schema, required: false }
    }

    /// An optional header.
    pub(crate) const fn header(
        name: &'static str,
        text: &'static str,
        schema: fn() -> Value,
    ) -> Self {
        Self { location: "header", name, text, schema, required: false }
    }
}
