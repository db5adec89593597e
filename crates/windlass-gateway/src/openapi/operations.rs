//! What each route does, takes and answers: the one table of words beside the table of routes.
//!
//! Deliberately absent: what follows from the route itself. Who may call it, the parameters of its
//! path and the refusals of the guard are added when the document is made.

use serde_json::{Value, json};
use windlass_core::explain::Explanation;
use windlass_core::idempotency::MAX_KEY_BYTES;
use windlass_core::{Function, Job, Phase, Queue, Report};

use super::schemas::{self, SchemaOf, label, submission};
use crate::jobs::list::{DEFAULT_LIMIT, Listing, MAX_CONTINUE_BYTES, MAX_LIMIT};
use crate::live::peers::Batch;
use crate::problem::Kind;
use crate::routes::Route;

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
    /// How it says no, beside what the guard says.
    pub(crate) refusals: &'static [Kind],
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
            Self::Queues => {
                ("queues", "Who may use how much. Admins write queues; here they are read.")
            }
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
    pub(crate) place: &'static str,
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

fn text() -> Value {
    json!({ "type": "string" })
}

fn digest_line() -> Value {
    json!({ "type": "string", "pattern": "^sha-256=:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=:$" })
}

/// The phases, by their own words.
fn phase() -> Value {
    json!({ "type": "string", "enum": Phase::ALL })
}

const WAIT: Parameter = Parameter {
    place: "header",
    name: "Prefer",
    text: "`wait=N` answers when the job has ended, or after N seconds, at most 3600. What cannot be read \
           is no preference (RFC 7240).",
    schema: || json!({ "type": "string", "examples": ["wait=10"] }),
    required: false,
};

const LOCATION: Header = Header {
    name: "Location",
    text: "Path of the job.",
    schema: || json!({ "type": "string", "format": "uri-reference" }),
    always: true,
};

const APPLIED: Header = Header {
    name: "Preference-Applied",
    text: "`wait` when the answer has waited.",
    schema: || json!({ "const": "wait" }),
    always: false,
};

const ETAG: Header = Header {
    name: "ETag",
    text: "The SHA-256 of the result's bytes.",
    schema: || json!({ "type": "string", "pattern": "^\"sha256-[0-9a-f]{64}\"$" }),
    always: true,
};

const RANGES: Header = Header {
    name: "Accept-Ranges",
    text: "A part may be asked for.",
    schema: || json!({ "const": "bytes" }),
    always: true,
};

const DISPOSITION: Header = Header {
    name: "Content-Disposition",
    text: "A browser makes a file of it and does not show it: what a function writes is not trusted.",
    schema: text,
    always: true,
};

const PART: Header = Header {
    name: "Content-Range",
    text: "Which bytes these are, and of how many.",
    schema: || json!({ "type": "string", "pattern": "^bytes [0-9]+-[0-9]+/[0-9]+$" }),
    always: true,
};

const KEY: Parameter = Parameter {
    place: "header",
    name: "Idempotency-Key",
    text: "The same key and the same request give the same job, also when the first answer was lost; another request \
           under it is 409. Visible ASCII characters. A key is known as long as its job is kept, a day at least.",
    schema: || json!({ "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES, "pattern": "^[!-~]+$" }),
    required: false,
};

const FIELDS: Parameter = Parameter {
    place: "query",
    name: "fields",
    text: "Only these fields, separated by commas, such as `metadata.name,status.phase`.",
    schema: schemas::job_fields,
    required: false,
};

const REPLAYED: Header = Header {
    name: "Idempotency-Replayed",
    text: "An earlier request under the same key has created the job.",
    schema: || json!({ "const": "true" }),
    always: false,
};

const CPUS: fn() -> Value = || json!({ "type": "integer", "minimum": 1, "maximum": 1024 });

/// An optional parameter of the query.
const fn in_query(name: &'static str, text: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter { place: "query", name, text, schema, required: false }
}

/// All the operations, in the order of the table of routes.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        route: ("GET", "/healthz"),
        id: "isAlive",
        tag: Tag::Operations,
        summary: "Whether the process answers",
        text: "For everybody.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "It does.",
            headers: &[],
            content: Content::Text("text/plain"),
        }],
        refusals: &[],
    },
    Operation {
        route: ("GET", "/readyz"),
        id: "isReady",
        tag: Tag::Operations,
        summary: "Whether the world behind the gateway answers",
        text: "For everybody. A server that is about to end is not ready.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "It does.",
            headers: &[],
            content: Content::Text("text/plain"),
        }],
        refusals: &[Kind::Unavailable],
    },
    Operation {
        route: ("GET", "/openapi.json"),
        id: "describeApi",
        tag: Tag::Operations,
        summary: "This document",
        text: "For everybody: it is the same for every server of this version, and names nothing of this one.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "An OpenAPI 3.1 document.",
            headers: &[],
            content: Content::Json(|_| json!({ "type": "object" })),
        }],
        refusals: &[],
    },
    Operation {
        route: ("GET", "/docs"),
        id: "readDocs",
        tag: Tag::Operations,
        summary: "This document as a page",
        text: "For everybody, like the document. The page loads nothing from anywhere.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "The page.",
            headers: &[],
            content: Content::Text("text/html"),
        }],
        refusals: &[],
    },
    Operation {
        route: ("GET", "/metrics"),
        id: "readMetrics",
        tag: Tag::Operations,
        summary: "What is measured",
        text: "In the OpenMetrics text format, for Prometheus.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "Everything that is measured.",
            headers: &[],
            content: Content::Text("application/openmetrics-text"),
        }],
        refusals: &[],
    },
    Operation {
        route: ("POST", "/v1/reports"),
        id: "report",
        tag: Tag::Workers,
        summary: "Tells that an attempt runs, how far it is, or how it ended",
        text: "A report that was accepted is durable. One that is refused will be refused for ever; `reason` \
               in the problem says why.",
        parameters: &[],
        body: Some(Body {
            media_type: "application/json",
            text: "One report. Unknown fields are refused.",
            schema: schemas::of::<Report>,
            example: None,
        }),
        answers: &[Answer {
            status: 204,
            text: "It counts.",
            headers: &[],
            content: Content::None,
        }],
        refusals: &[
            Kind::Malformed,
            Kind::Slow,
            Kind::TooLarge,
            Kind::MediaType,
            Kind::Invalid,
            Kind::Conflict,
            Kind::Refused,
        ],
    },
    Operation {
        route: ("PUT", "/v1/reports/{job_uid}/{attempt}/result"),
        id: "storeResult",
        tag: Tag::Workers,
        summary: "Stores a result that is too large for a report",
        text: "Whether the pod may store it is decided before a byte is read. The report that follows names \
               the location.",
        parameters: &[Parameter {
            place: "header",
            name: "Content-Digest",
            text: "The digest of the bytes: `sha-256=:BASE64:`.",
            schema: digest_line,
            required: true,
        }],
        body: Some(Body {
            media_type: "application/octet-stream",
            text: "The bytes, with their `Content-Length`.",
            schema: |_| json!({}),
            example: None,
        }),
        answers: &[Answer {
            status: 201,
            text: "They are stored.",
            headers: &[],
            content: Content::Json(|_| {
                json!({
                    "type": "object",
                    "required": ["location"],
                    "properties": {
                        "location": { "type": "string", "description": "Where, for the report." }
                    }
                })
            }),
        }],
        refusals: &[Kind::Unannounced, Kind::TooLarge, Kind::Conflict, Kind::Refused, Kind::Busy],
    },
    Operation {
        route: ("POST", "/v1/peers/progress"),
        id: "sharePeerProgress",
        tag: Tag::Workers,
        summary: "Takes the progress that another replica of the gateway has heard",
        text: "For the gateway's own service account; nothing of it is stored. It reaches the streams that are open \
               here.",
        parameters: &[],
        body: Some(Body {
            media_type: "application/json",
            text: "The latest report of each job.",
            schema: schemas::of::<Batch>,
            example: None,
        }),
        answers: &[Answer {
            status: 204,
            text: "It is told.",
            headers: &[],
            content: Content::None,
        }],
        refusals: &[Kind::Malformed, Kind::Slow, Kind::TooLarge, Kind::MediaType, Kind::Invalid],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/functions"),
        id: "listFunctions",
        tag: Tag::Functions,
        summary: "Lists what may run",
        text: "All functions of the namespace; there are few.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "The functions.",
            headers: &[],
            content: Content::Json(schemas::of::<Listing<Function>>),
        }],
        refusals: &[Kind::Invalid],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/functions/{name}"),
        id: "getFunction",
        tag: Tag::Functions,
        summary: "Reads one function",
        text: "`spec.inputSchema` is the JSON Schema that the `input` of its jobs must meet.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "The function.",
            headers: &[],
            content: Content::Json(schemas::of::<Function>),
        }],
        refusals: &[Kind::Invalid],
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/functions/{name}/call"),
        id: "callFunction",
        tag: Tag::Functions,
        summary: "Runs a function: the body is its input, the answer its result",
        text: "It is a job like any other, at `Location`; a caller who goes away does not cancel it, and with an \
               `Idempotency-Key` the same call gives its result later. The answer waits for `Prefer`, else as long as \
               the server waits at most, an hour. The result is the function's bytes, as its `contentType`. 404 says that \
               there is no such function, or with `instance` that the job was deleted meanwhile. Needs the rights to \
               create, get and watch jobs.",
        parameters: &[
            KEY,
            WAIT,
            in_query("parallelism", "CPUs wanted.", CPUS),
            in_query("minParallelism", "Fewest CPUs to start with.", CPUS),
            in_query("queue", "The queue.", label),
            in_query(
                "priority",
                "Higher starts first.",
                || json!({ "type": "integer", "minimum": -1000, "maximum": 1000 }),
            ),
            in_query(
                "timeoutSeconds",
                "How long one attempt may run, in seconds.",
                || json!({ "type": "integer", "minimum": 1, "maximum": 2_592_000 }),
            ),
            in_query(
                "retries",
                "Further attempts after the first one failed.",
                || json!({ "type": "integer", "minimum": 0, "maximum": 100 }),
            ),
        ],
        body: Some(Body {
            media_type: "application/json",
            text: "The input: an object of at most 128 KiB that meets the function's `inputSchema`. Its integers are \
                   from -2^63 to 2^63 - 1.",
            schema: |_| json!({ "type": "object" }),
            example: Some(|| json!({ "hello": "world" })),
        }),
        answers: &[
            Answer {
                status: 200,
                text: "The result.",
                headers: &[LOCATION, ETAG, RANGES, DISPOSITION, APPLIED, REPLAYED],
                content: Content::Bytes,
            },
            Answer {
                status: 202,
                text: "It has not ended by then: the job.",
                headers: &[LOCATION, APPLIED, REPLAYED],
                content: Content::Json(schemas::of::<Job>),
            },
        ],
        refusals: &[
            Kind::Query,
            Kind::Key,
            Kind::KeyReused,
            Kind::Malformed,
            Kind::Slow,
            Kind::TooLarge,
            Kind::MediaType,
            Kind::Invalid,
            Kind::Conflict,
            Kind::Busy,
            Kind::InputRefused,
            Kind::Cancelled,
            Kind::FunctionFailed,
        ],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/queues"),
        id: "listQueues",
        tag: Tag::Queues,
        summary: "Lists the queues",
        text: "A queue that a job names and that is not among them has no quota.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "The queues.",
            headers: &[],
            content: Content::Json(schemas::of::<Listing<Queue>>),
        }],
        refusals: &[Kind::Invalid],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/queues/{name}"),
        id: "getQueue",
        tag: Tag::Queues,
        summary: "Reads one queue",
        text: "`status` is told coarsely, and absent on one machine.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "The queue.",
            headers: &[],
            content: Content::Json(schemas::of::<Queue>),
        }],
        refusals: &[Kind::Invalid],
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/jobs"),
        id: "submitJob",
        tag: Tag::Jobs,
        summary: "Submits a job",
        text: "The body is the fields of a job's spec and optionally its `name`; an unknown field is refused. \
               What was answered with 2xx is kept: neither a kill of the server nor a loss of power loses it. \
               Waiting (`Prefer`) needs the right to watch; a caller without it is answered at once.",
        parameters: &[KEY, WAIT],
        body: Some(Body {
            media_type: "application/json",
            text: "At most 192 KiB, of which `input` is at most 128 KiB of compact JSON. Its integers are from -2^63 to \
                   2^63 - 1: a larger one would become a float, and is refused.",
            schema: submission,
            example: Some(
                || json!({ "function": "echo", "parallelism": 2, "input": { "hello": "world" } }),
            ),
        }),
        answers: &[
            Answer {
                status: 200,
                text: "Waited for: the job has ended, `status.phase` says how. Or not waited for: the job of the key as it is.",
                headers: &[LOCATION, APPLIED, REPLAYED],
                content: Content::Json(schemas::of::<Job>),
            },
            Answer {
                status: 201,
                text: "Accepted: the job as it was submitted.",
                headers: &[LOCATION],
                content: Content::Json(schemas::of::<Job>),
            },
            Answer {
                status: 202,
                text: "Waited for: the job has not ended by then.",
                headers: &[LOCATION, APPLIED, REPLAYED],
                content: Content::Json(schemas::of::<Job>),
            },
        ],
        refusals: &[
            Kind::Key,
            Kind::KeyReused,
            Kind::Malformed,
            Kind::Slow,
            Kind::TooLarge,
            Kind::MediaType,
            Kind::Invalid,
            Kind::Conflict,
            Kind::Busy,
        ],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs"),
        id: "listJobs",
        tag: Tag::Jobs,
        summary: "Lists jobs",
        text: "In the order of their names, by pages. A parameter that does not exist is refused.",
        parameters: &[
            Parameter {
                place: "query",
                name: "function",
                text: "Only jobs of this function.",
                schema: label,
                required: false,
            },
            Parameter {
                place: "query",
                name: "phase",
                text: "Only jobs in this phase.",
                schema: phase,
                required: false,
            },
            Parameter {
                place: "query",
                name: "queue",
                text: "Only jobs of this queue.",
                schema: label,
                required: false,
            },
            FIELDS,
            Parameter {
                place: "query",
                name: "limit",
                text: "Most jobs of a page.",
                schema: || {
                    json!({
                        "type": "integer",
                        "minimum": 1,
                        "maximum": MAX_LIMIT,
                        "default": DEFAULT_LIMIT
                    })
                },
                required: false,
            },
            Parameter {
                place: "query",
                name: "continue",
                text: "`metadata.continue` of the page before.",
                schema: || json!({ "type": "string", "maxLength": MAX_CONTINUE_BYTES }),
                required: false,
            },
        ],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "A page of jobs.",
            headers: &[],
            content: Content::Json(schemas::jobs_or_fields),
        }],
        refusals: &[Kind::Query, Kind::Invalid],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}"),
        id: "getJob",
        tag: Tag::Jobs,
        summary: "Reads one job",
        text: "The whole resource, the same JSON as `kubectl get cjob -o json`. A result of at most 32 KiB is \
               in `status.result`.",
        parameters: &[FIELDS],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "The job.",
            headers: &[],
            content: Content::Json(schemas::job_or_fields),
        }],
        refusals: &[Kind::Query, Kind::Invalid],
    },
    Operation {
        route: ("DELETE", "/v1/namespaces/{namespace}/jobs/{name}"),
        id: "deleteJob",
        tag: Tag::Jobs,
        summary: "Ends and forgets a job",
        text: "Its result and its log go with it.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 204,
            text: "It is forgotten.",
            headers: &[],
            content: Content::None,
        }],
        refusals: &[Kind::Invalid, Kind::Conflict],
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/jobs/{name}/cancel"),
        id: "cancelJob",
        tag: Tag::Jobs,
        summary: "Cancels a job",
        text: "Final, and repeating it changes nothing. The function gets SIGTERM and 30 seconds. A job that \
               has ended stays as it ended. A body is not read.",
        parameters: &[WAIT],
        body: None,
        answers: &[
            Answer {
                status: 200,
                text: "The job has ended.",
                headers: &[LOCATION, APPLIED],
                content: Content::Json(schemas::of::<Job>),
            },
            Answer {
                status: 202,
                text: "The job is asked to end.",
                headers: &[LOCATION, APPLIED],
                content: Content::Json(schemas::of::<Job>),
            },
        ],
        refusals: &[Kind::Invalid, Kind::Conflict],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/result"),
        id: "getResult",
        tag: Tag::Jobs,
        summary: "Fetches the result",
        text: "The bytes that the function wrote, unchanged, as its `contentType`. They are no JSON of Windlass \
               and come from a program that may echo what a stranger sent. 409 while there is no result.",
        parameters: &[
            Parameter {
                place: "header",
                name: "Range",
                text: "One range of bytes; anything else is ignored (RFC 9110).",
                schema: || json!({ "type": "string", "examples": ["bytes=0-1023"] }),
                required: false,
            },
            Parameter {
                place: "header",
                name: "If-Range",
                text: "The `ETag` of the bytes that the range goes on from.",
                schema: text,
                required: false,
            },
            Parameter {
                place: "header",
                name: "If-None-Match",
                text: "The `ETag` of the bytes that the caller has.",
                schema: text,
                required: false,
            },
        ],
        body: None,
        answers: &[
            Answer {
                status: 200,
                text: "The whole result.",
                headers: &[ETAG, RANGES, DISPOSITION],
                content: Content::Bytes,
            },
            Answer {
                status: 206,
                text: "The part that was asked for.",
                headers: &[ETAG, RANGES, DISPOSITION, PART],
                content: Content::Bytes,
            },
            Answer {
                status: 304,
                text: "The caller has it.",
                headers: &[ETAG],
                content: Content::None,
            },
        ],
        refusals: &[Kind::Invalid, Kind::Conflict, Kind::Range],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/explain"),
        id: "explainJob",
        tag: Tag::Jobs,
        summary: "Tells where a job's time went",
        text: "The parts follow each other without a gap and sum to `wallSeconds`.",
        parameters: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "The explanation.",
            headers: &[],
            content: Content::Json(schemas::of::<Explanation>),
        }],
        refusals: &[Kind::Invalid],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/logs"),
        id: "readLogs",
        tag: Tag::Jobs,
        summary: "Reads what the function says",
        text: "The end of its stdout and stderr, at most a MiB, also while it runs. Whatever bytes it wrote: \
               they are not always UTF-8.",
        parameters: &[
            in_query(
                "follow",
                "All that is said until the job has ended.",
                || json!({ "type": "boolean", "default": false }),
            ),
            in_query(
                "tailBytes",
                "Most bytes of what was said already.",
                || json!({ "type": "integer", "minimum": 0, "maximum": 1 << 20 }),
            ),
        ],
        body: None,
        answers: &[Answer {
            status: 200,
            text: "The end of the log.",
            headers: &[],
            content: Content::Text("text/plain"),
        }],
        refusals: &[Kind::Query, Kind::Invalid],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/events"),
        id: "followJob",
        tag: Tag::Jobs,
        summary: "Follows a job until it has ended",
        text: "Server-sent events. `event: job` has the whole job as `data`: first the job as it is, then again each \
               time it was stored, last the finished one. `event: progress` has what the function tells in between. \
               States may be skipped, the last one is not. `event: problem` has a problem document and is the last. \
               A stream ends after an hour, when the server ends, and soon after its token is taken back; a client that comes back with the last `id`, to \
               whichever replica, is told nothing twice and nothing older.",
        parameters: &[Parameter {
            place: "header",
            name: "Last-Event-ID",
            text: "The `id` of the last event that was seen; browsers send it by themselves.",
            schema: text,
            required: false,
        }],
        body: None,
        answers: &[
            Answer {
                status: 200,
                text: "A stream of events.",
                headers: &[],
                content: Content::Events(schemas::event),
            },
            Answer {
                status: 204,
                text: "The job has ended, and the caller has seen it. Nothing comes any more.",
                headers: &[],
                content: Content::None,
            },
        ],
        refusals: &[Kind::Invalid],
    },
];

/// The entry of a route.
pub(crate) fn of(route: &Route) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.route == (route.method.as_str(), route.path))
}
