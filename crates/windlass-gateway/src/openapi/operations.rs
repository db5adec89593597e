//! What each route does, takes and answers: the one table of words beside the table of routes.
//!
//! Deliberately absent: what follows from the route itself. Who may call it, the parameters of its
//! path and the refusals of the guard are added when the document is made.

use serde_json::{Value, json};
use windlass_core::blob::Blob;
use windlass_core::estimate::Estimates;
use windlass_core::explain::Explanation;
use windlass_core::history::HistoryReport;
use windlass_core::idempotency::MAX_KEY_BYTES;
use windlass_core::jobs::{Draining, MachineCapacity};
use windlass_core::usage_over_time::UsageOverTime;
use windlass_core::{Function, Job, Phase, Queue, Report};

use super::operation::{Answer, Body, Content, Header, Operation, Parameter, Tag};
use super::schemas::{self, label, label_list, label_selector, schema_of, submission};
use crate::handlers::jobs::list::{DEFAULT_LIMIT, MAX_CONTINUE_BYTES, MAX_LIMIT};
use crate::handlers::login::{Login, LoginCode};
use crate::live::outbox::ReportBatch;
use crate::protocol::problem::ProblemKind;
use crate::protocol::resource_list::ResourceList;
use crate::protocol::route::Route;

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

const WAIT: Parameter = Parameter::header(
    "Prefer",
    "`wait=N` answers when the job has ended, or after N seconds, at most 3600. \
               What cannot be read is no preference (RFC 7240).",
    || json!({ "type": "string", "examples": ["wait=10"] }),
);

const UID: Parameter = Parameter::query(
    "uid",
    "409 when the job of the name has another `metadata.uid`: it was deleted, and made again.",
    || json!({ "type": "string", "minLength": 1 }),
);

const LOCATION: Header = Header::always(
    "Location",
    "Path of the job.",
    || json!({ "type": "string", "format": "uri-reference" }),
);

const APPLIED: Header = Header::sometimes(
    "Preference-Applied",
    "`wait` when the answer has waited.",
    || json!({ "const": "wait" }),
);

const ETAG: Header = Header::always(
    "ETag",
    "The SHA-256 of the result's bytes.",
    || json!({ "type": "string", "pattern": "^\"sha256-[0-9a-f]{64}\"$" }),
);

const RANGES: Header =
    Header::always("Accept-Ranges", "A part may be asked for.", || json!({ "const": "bytes" }));

const DISPOSITION: Header = Header::always(
    "Content-Disposition",
    "A browser makes a file of it and does not show it: what a function writes is not trusted.",
    text,
);

const PART: Header = Header::always(
    "Content-Range",
    "Which bytes these are, and of how many.",
    || json!({ "type": "string", "pattern": "^bytes [0-9]+-[0-9]+/[0-9]+$" }),
);

const KEY: Parameter = Parameter::header(
    "Idempotency-Key",
    "The same key and the same request give the same job, also when the first \
               answer was lost; another request under it is 409. Visible ASCII characters. \
               A key is known as long as its job is kept, a day at least.",
    || json!({ "type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES, "pattern": "^[!-~]+$" }),
);

const FIELDS: Parameter = Parameter::query(
    "fields",
    "Only these fields, separated by commas, such as `metadata.name,status.phase`.",
    schemas::job_fields,
);

const REPLAYED: Header = Header::sometimes(
    "Idempotency-Replayed",
    "An earlier request under the same key has created the job.",
    || json!({ "const": "true" }),
);

const CPUS: fn() -> Value = || json!({ "type": "integer", "minimum": 1, "maximum": 1024 });

const JOB: Content = Content::Json(schema_of::<Job>);

const ANSWERS_OF_A_SUBMISSION: &[Answer] = &[
    Answer::new(
        200,
        "Waited for: the job has ended, `status.phase` says how. Or not waited for: the job of the key as it is.",
        JOB,
    )
    .with(&[LOCATION, APPLIED, REPLAYED]),
    Answer::new(201, "Accepted: the job as it was submitted.", JOB).with(&[LOCATION]),
    Answer::new(202, "Waited for: the job has not ended by then.", JOB)
        .with(&[LOCATION, APPLIED, REPLAYED]),
];

const BLOB: Content = Content::Json(schema_of::<Blob>);

const BLOB_LOCATION: Header = Header::always(
    "Location",
    "Path of the bytes.",
    || json!({ "type": "string", "format": "uri-reference" }),
);

const BLOB_BODY: Option<Body> = Some(Body {
    media_type: "application/octet-stream",
    text: "The bytes, of any media type and as many as there is room for.",
    schema: |_| json!({}),
    example: None,
});

const BLOB_REFUSALS: &[ProblemKind] = &[
    ProblemKind::Malformed,
    ProblemKind::Slow,
    ProblemKind::TooLarge,
    ProblemKind::MediaType,
    ProblemKind::Invalid,
];

/// What a worker stores: the same whatever it is.
const UPLOAD: Operation = Operation {
    parameters: &[Parameter {
        location: "header",
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
    answers: &[Answer::new(
        201,
        "They are stored.",
        Content::Json(|_| {
            json!({
                "type": "object",
                "required": ["location"],
                "properties": {
                    "location": { "type": "string", "description": "Where, for the report." }
                }
            })
        }),
    )],
    refusals: &[
        ProblemKind::Unannounced,
        ProblemKind::TooLarge,
        ProblemKind::Conflict,
        ProblemKind::Refused,
        ProblemKind::Busy,
    ],
    ..Operation::EMPTY
};

/// All the operations, in the order of the table of routes.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        route: ("GET", "/healthz"),
        id: "isAlive",
        tag: Tag::Operations,
        summary: "Whether the process answers",
        text: "For everybody.",
        answers: &[Answer::new(200, "It does.", Content::Text("text/plain"))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/readyz"),
        id: "isReady",
        tag: Tag::Operations,
        summary: "Whether the world behind the gateway answers",
        text: "For everybody. A server that is about to end is not ready.",
        answers: &[Answer::new(200, "It does.", Content::Text("text/plain"))],
        refusals: &[ProblemKind::Unavailable],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/openapi.json"),
        id: "describeApi",
        tag: Tag::Operations,
        summary: "This document",
        text: "For everybody: it is the same for every server of this version, and names \
               nothing of this one.",
        answers: &[Answer::new(
            200,
            "An OpenAPI 3.1 document.",
            Content::Json(|_| json!({ "type": "object" })),
        )],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/docs"),
        id: "readDocs",
        tag: Tag::Operations,
        summary: "This document as a page",
        text: "For everybody, like the document. The page loads nothing from anywhere.",
        answers: &[Answer::new(200, "The page.", Content::Text("text/html"))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/dashboard"),
        id: "openDashboard",
        tag: Tag::Operations,
        summary: "The dashboard, by its short name",
        text: "The same page as `/dashboard/`.",
        answers: &[Answer::new(200, "The page.", Content::Text("text/html"))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/dashboard/"),
        id: "readDashboard",
        tag: Tag::Operations,
        summary: "A page for people that shows jobs, functions and queues",
        text: "For everybody, like the document: what it shows it asks of this API with its reader's token. It \
               loads nothing from elsewhere. It has an `ETag`.",
        answers: &[Answer::new(200, "The page.", Content::Text("text/html"))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/dashboard/app.js"),
        id: "readDashboardScript",
        tag: Tag::Operations,
        summary: "The script of the dashboard",
        text: "Compressed by gzip.",
        answers: &[Answer::new(200, "The script.", Content::Text("text/javascript"))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/dashboard/app.css"),
        id: "readDashboardStyle",
        tag: Tag::Operations,
        summary: "The style of the dashboard",
        text: "Compressed by gzip.",
        answers: &[Answer::new(200, "The style.", Content::Text("text/css"))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/dashboard/parquet.js"),
        id: "readDashboardParquetWorker",
        tag: Tag::Operations,
        summary: "The worker with which the dashboard reads Parquet files",
        text: "Compressed by gzip.",
        answers: &[Answer::new(200, "The script.", Content::Text("text/javascript"))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/login-codes"),
        id: "issueLoginCode",
        tag: Tag::Operations,
        summary: "A code with which a browser gets the caller's token",
        text: "For the admin of a server on one machine. The code is good once and for a minute. \
               `windlass dashboard` makes a link of it.",
        answers: &[Answer::new(201, "The code.", Content::Json(schema_of::<LoginCode>))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/login"),
        id: "redeemLoginCode",
        tag: Tag::Operations,
        summary: "The token for a code",
        text: "The code is sent as the bearer token. It is forgotten. On a cluster there is no such path.",
        answers: &[Answer::new(200, "The token.", Content::Json(schema_of::<Login>))],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/drain"),
        id: "drainServer",
        tag: Tag::Operations,
        summary: "Takes nothing new, and ends when nothing runs",
        text: "For the admin of a server on one machine. From now on submissions are 503 and no job \
               starts. What runs goes on; when it has ended, the server ends. Jobs that wait are \
               started by the next server on its data directory. It can be asked again and tells how \
               far it is.",
        answers: &[Answer::new(
            202,
            "What still runs, and what waits.",
            Content::Json(schema_of::<Draining>),
        )],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/metrics"),
        id: "readMetrics",
        tag: Tag::Operations,
        summary: "What is measured",
        text: "In the OpenMetrics text format, for Prometheus.",
        answers: &[Answer::new(
            200,
            "Everything that is measured.",
            Content::Text("application/openmetrics-text"),
        )],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/reports"),
        id: "report",
        tag: Tag::Workers,
        summary: "Tells that an attempt runs, how far it is, what it uses, or how it ended",
        text: "A report that was accepted is durable. One that is refused will be refused \
               for ever; `reason` in the problem says why.",
        body: Body::json(
            "One report. Unknown fields are ignored: a worker may be of a later release.",
            schema_of::<Report>,
        ),
        answers: &[Answer::new(204, "It counts.", Content::None)],
        refusals: &[ProblemKind::Conflict, ProblemKind::Refused],
        ..Operation::EMPTY
    },
    Operation {
        route: ("PUT", "/v1/reports/{job_uid}/{attempt}/result"),
        id: "storeResult",
        tag: Tag::Workers,
        summary: "Stores a result that is too large for a report",
        text: "Whether the pod may store it is decided before a byte is read. The report \
               that follows names the location.",
        ..UPLOAD
    },
    Operation {
        route: ("PUT", "/v1/reports/{job_uid}/{attempt}/log"),
        id: "storeLog",
        tag: Tag::Workers,
        summary: "Stores the end of what a function has said",
        text: "Sent before the report of the end. Each line begins with the time at which it came and a space. At most \
               a MiB; 413 also where there is no store.",
        ..UPLOAD
    },
    Operation {
        route: ("GET", "/v1/reports/{job_uid}/{attempt}/blobs/{digest}"),
        id: "fetchBlob",
        tag: Tag::Workers,
        summary: "Gives an attempt a blob that its job names",
        text: "The bytes are as they are stored: the worker holds them against their digest.",
        answers: &[Answer::new(200, "The bytes.", Content::Bytes)],
        refusals: &[ProblemKind::Invalid, ProblemKind::Refused],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/reports/assignment"),
        id: "assignAttempt",
        tag: Tag::Workers,
        summary: "Tells a worker that waits what to do",
        text: "Waits until the worker's pod is an attempt, for half a minute at most.",
        answers: &[
            Answer::new(
                200,
                "The attempt and its input.",
                Content::Json(|_| json!({ "type": "object" })),
            ),
            Answer::new(204, "It is none yet: ask again.", Content::None),
        ],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/peers/progress"),
        id: "sharePeerProgress",
        tag: Tag::Workers,
        summary: "Takes the progress that another replica of the gateway has heard",
        text: "For the gateway's own service account; nothing of it is stored. It reaches \
               the streams that are open here.",
        body: Body::json("The latest report of each job.", schema_of::<ReportBatch>),
        answers: &[Answer::new(204, "It is told.", Content::None)],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/functions"),
        id: "listFunctions",
        tag: Tag::Functions,
        summary: "Lists what may run",
        text: "All functions of the namespace; there are few. Whoever may not write functions reads \
               `(hidden)` for each value in `spec.env`.",
        answers: &[Answer::new(
            200,
            "The functions.",
            Content::Json(schema_of::<ResourceList<Function>>),
        )],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/functions/{name}"),
        id: "getFunction",
        tag: Tag::Functions,
        summary: "Reads one function",
        text: "`spec.inputSchema` is the JSON Schema that the `input` of its jobs must meet. Whoever \
               may not write functions reads `(hidden)` for each value in `spec.env`.",
        answers: &[Answer::new(200, "The function.", Content::Json(schema_of::<Function>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/functions/{name}/call"),
        id: "callFunction",
        tag: Tag::Functions,
        summary: "Runs a function: the body is its input, the answer its result",
        text: "It is a job like any other, at `Location`; a caller who goes away does not \
               cancel it, and with an `Idempotency-Key` the same call gives its result \
               later. The answer waits for `Prefer`, else as long as the server waits at \
               most, an hour. The result is the function's bytes, as its `contentType`. \
               404 says that there is no such function, or with `instance` that the job \
               was deleted meanwhile. Needs the rights to create, get and watch jobs.",
        parameters: &[
            KEY,
            WAIT,
            Parameter::query("parallelism", "CPUs wanted.", CPUS),
            Parameter::query("minParallelism", "Fewest CPUs to start with.", CPUS),
            Parameter::query("queue", "The queue.", label),
            Parameter::query(
                "priority",
                "Higher starts first.",
                || json!({ "type": "integer", "minimum": -1000, "maximum": 1000 }),
            ),
            Parameter::query(
                "timeoutSeconds",
                "How long one attempt may run, in seconds.",
                || json!({ "type": "integer", "minimum": 1, "maximum": 2_592_000 }),
            ),
            Parameter::query(
                "retries",
                "Further attempts after the first one failed.",
                || json!({ "type": "integer", "minimum": 0, "maximum": 100 }),
            ),
            Parameter::query(
                "labels",
                "Labels of the job, as `key=value,key=value`. Of a key that is there twice the last value counts.",
                label_list,
            ),
        ],
        body: Body::json_like(
            "The input. The function's `inputTypes` and `maxInputBytes` say what is taken, of any media \
               type. JSON keeps one rule: no name twice in an object, integers from -2^63 to 2^63 - 1. \
               It meets the function's `inputSchema`; one that has a schema, and a cluster without an \
               object store, take objects of at most 128 KiB.",
            |_| json!({}),
            || json!({ "hello": "world" }),
        ),
        answers: &[
            Answer::new(200, "The result.", Content::Bytes).with(&[
                LOCATION,
                ETAG,
                RANGES,
                DISPOSITION,
                APPLIED,
                REPLAYED,
            ]),
            Answer::new(202, "It has not ended by then: the job.", JOB)
                .with(&[LOCATION, APPLIED, REPLAYED]),
        ],
        refusals: &[
            ProblemKind::Query,
            ProblemKind::Key,
            ProblemKind::KeyReused,
            ProblemKind::Conflict,
            ProblemKind::Busy,
            ProblemKind::InputRefused,
            ProblemKind::Cancelled,
            ProblemKind::FunctionFailed,
        ],
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/blobs"),
        id: "storeBlob",
        tag: Tag::Jobs,
        summary: "Sends bytes for an input or a file",
        text: "For jobs that name them in `inputBlob` or `files`. What no job names is kept for an hour. \
               On a cluster without an object store there is no such path.",
        body: BLOB_BODY,
        answers: &[
            Answer::new(201, "They are stored.", BLOB).with(&[BLOB_LOCATION]),
            Answer::new(200, "The same bytes were there already.", BLOB).with(&[BLOB_LOCATION]),
        ],
        refusals: BLOB_REFUSALS,
        ..Operation::EMPTY
    },
    Operation {
        route: ("PUT", "/v1/namespaces/{namespace}/blobs/{digest}"),
        id: "storeNamedBlob",
        tag: Tag::Jobs,
        summary: "Sends bytes whose digest is known",
        text: "Bytes that are there already cost nothing: with `Expect: 100-continue` they are not asked \
               for. Either way they are kept for another hour.",
        body: BLOB_BODY,
        answers: &[
            Answer::new(201, "They are stored.", BLOB).with(&[BLOB_LOCATION]),
            Answer::new(200, "They were there already.", BLOB).with(&[BLOB_LOCATION]),
        ],
        refusals: BLOB_REFUSALS,
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/blobs/{digest}"),
        id: "readBlob",
        tag: Tag::Jobs,
        summary: "Reads bytes that were sent",
        text: "HEAD says whether they are there, and how many. A part may be asked for.",
        answers: &[
            Answer::new(200, "All of them.", Content::Bytes).with(&[ETAG, RANGES, DISPOSITION]),
            Answer::new(206, "A part of them.", Content::Bytes).with(&[
                ETAG,
                RANGES,
                PART,
                DISPOSITION,
            ]),
            Answer::new(304, "The caller has them already.", Content::None).with(&[ETAG, RANGES]),
        ],
        refusals: &[ProblemKind::Range, ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/queues"),
        id: "listQueues",
        tag: Tag::Queues,
        summary: "Lists the queues",
        text: "A queue that a job names and that is not among them has no quota.",
        answers: &[Answer::new(
            200,
            "The queues.",
            Content::Json(schema_of::<ResourceList<Queue>>),
        )],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/queues/{name}"),
        id: "getQueue",
        tag: Tag::Queues,
        summary: "Reads one queue",
        text: "`status` is told coarsely, and absent on one machine.",
        answers: &[Answer::new(200, "The queue.", Content::Json(schema_of::<Queue>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/queues/{name}/hold"),
        id: "holdQueue",
        tag: Tag::Queues,
        summary: "Starts nothing new in a queue",
        text: "Sets the queue's `spec.hold`; what runs goes on. It needs the right to patch queues; on one machine the \
               admin has it. There it outlives the server, until the queue's manifest says otherwise.",
        answers: &[Answer::new(200, "The queue.", Content::Json(schema_of::<Queue>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/queues/{name}/resume"),
        id: "resumeQueue",
        tag: Tag::Queues,
        summary: "Starts jobs of a queue again",
        text: "The opposite of holding it.",
        answers: &[Answer::new(200, "The queue.", Content::Json(schema_of::<Queue>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/capacity"),
        id: "readCapacity",
        tag: Tag::Queues,
        summary: "Tells what there is for all queues together",
        text: "On one machine: how many CPUs jobs may be granted. On a cluster: what the namespace shares with others, if it \
               shares the CPUs of a ClusterComputeQueue. In both worlds: how many are in use, and by which jobs.",
        answers: &[Answer::new(200, "What there is.", Content::Json(schema_of::<MachineCapacity>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/history"),
        id: "readHistory",
        tag: Tag::Jobs,
        summary: "Tells what the last hour and the last day were like",
        text: "How many jobs have ended and how, and how long they had waited, by minutes and by quarters of an \
               hour. Jobs that were deleted since count, too. On a cluster each replica of the gateway counts what \
               it has seen since it started.",
        answers: &[Answer::new(200, "Both.", Content::Json(schema_of::<HistoryReport>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/estimates"),
        id: "readEstimates",
        tag: Tag::Jobs,
        summary: "Estimates when jobs start and end",
        text: "Of the jobs that hold CPUs and of the first 1,000 that wait: their position in the line, and when they \
               are likely to start and to end. It is worked out from the progress of what runs and from the run times \
               of the latest jobs of each function. Of what is not known well enough nothing is told but why. It is \
               worked out at most once a second.",
        answers: &[Answer::new(200, "The estimates.", Content::Json(schema_of::<Estimates>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/jobs"),
        id: "submitJob",
        tag: Tag::Jobs,
        summary: "Submits a job",
        text: "The body is the fields of a job's spec and optionally its `name`, `labels` and `retryOf`; an \
               unknown field is refused. What was answered with 2xx is kept: neither a \
               kill of the server nor a loss of power loses it. Waiting (`Prefer`) needs \
               the right to watch; a caller without it is answered at once.",
        parameters: &[KEY, WAIT],
        body: Body::json_like(
            "At most 192 KiB, of which `input` is at most 128 KiB of compact JSON. Its \
               integers are from -2^63 to 2^63 - 1: a larger one would become a float, and \
               is refused.",
            submission,
            || json!({ "function": "echo", "parallelism": 2, "input": { "hello": "world" } }),
        ),
        answers: ANSWERS_OF_A_SUBMISSION,
        refusals: &[
            ProblemKind::Key,
            ProblemKind::KeyReused,
            ProblemKind::Conflict,
            ProblemKind::Busy,
        ],
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs"),
        id: "listJobs",
        tag: Tag::Jobs,
        summary: "Lists jobs",
        text: "In the order of their names, by pages. A parameter that does not exist is \
               refused.",
        parameters: &[
            Parameter::query("function", "Only jobs of this function.", label),
            Parameter::query("phase", "Only jobs in this phase.", phase),
            Parameter::query("queue", "Only jobs of this queue.", label),
            Parameter::query(
                "labelSelector",
                "Only jobs with such labels, in the grammar of `kubectl get -l`.",
                label_selector,
            ),
            FIELDS,
            Parameter::query("limit", "Most jobs of a page.", || {
                json!({
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_LIMIT,
                    "default": DEFAULT_LIMIT
                })
            }),
            Parameter::query(
                "continue",
                "`metadata.continue` of the page before.",
                || json!({ "type": "string", "maxLength": MAX_CONTINUE_BYTES }),
            ),
        ],
        answers: &[Answer::new(200, "A page of jobs.", Content::Json(schemas::jobs_or_fields))],
        refusals: &[ProblemKind::Query, ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}"),
        id: "getJob",
        tag: Tag::Jobs,
        summary: "Reads one job",
        text: "The whole resource, the same JSON as `kubectl get cjob -o json`. A result \
               of at most 32 KiB is in `status.result`.",
        parameters: &[FIELDS],
        answers: &[Answer::new(200, "The job.", Content::Json(schemas::job_or_fields))],
        refusals: &[ProblemKind::Query, ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("DELETE", "/v1/namespaces/{namespace}/jobs/{name}"),
        id: "deleteJob",
        tag: Tag::Jobs,
        summary: "Ends and forgets a job",
        text: "Its result and its log go with it.",
        parameters: &[UID],
        answers: &[Answer::new(204, "It is forgotten.", Content::None)],
        refusals: &[ProblemKind::Query, ProblemKind::Invalid, ProblemKind::Conflict],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/jobs/{name}/cancel"),
        id: "cancelJob",
        tag: Tag::Jobs,
        summary: "Cancels a job",
        text: "Final, and repeating it changes nothing. The function gets SIGTERM and 30 \
               seconds. A job that has ended stays as it ended. A body is not read.",
        parameters: &[UID, WAIT],
        answers: &[
            Answer::new(200, "The job has ended.", JOB).with(&[LOCATION, APPLIED]),
            Answer::new(202, "The job is asked to end.", JOB).with(&[LOCATION, APPLIED]),
        ],
        refusals: &[ProblemKind::Query, ProblemKind::Invalid, ProblemKind::Conflict],
        ..Operation::EMPTY
    },
    Operation {
        route: ("POST", "/v1/namespaces/{namespace}/jobs/{name}/retry"),
        id: "retryJob",
        tag: Tag::Jobs,
        summary: "Submits the same job again",
        text: "A new job of the same spec and labels, under a name that is made up. Its annotation \
               `windlass.dev/retry-of` names the job that it repeats. 409 while that has not ended; 422 where \
               its function refuses it by now, or a blob that it names is gone. A body is not read. Needs \
               the rights to create and get jobs.",
        parameters: &[UID, KEY, WAIT],
        answers: ANSWERS_OF_A_SUBMISSION,
        refusals: &[
            ProblemKind::Query,
            ProblemKind::Key,
            ProblemKind::KeyReused,
            ProblemKind::Conflict,
            ProblemKind::Busy,
            ProblemKind::Invalid,
        ],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/result"),
        id: "getResult",
        tag: Tag::Jobs,
        summary: "Fetches the result",
        text: "The bytes that the function wrote, unchanged, as its `contentType`. They \
               are no JSON of Windlass and come from a program that may echo what a \
               stranger sent. 409 while there is no result, and of a job that has failed.",
        parameters: &[
            Parameter::query(
                "partial",
                "Whether what a failed job had computed before will do. There is some where its `status.result` is.",
                || json!({ "type": "boolean", "default": false }),
            ),
            Parameter::header(
                "Range",
                "One range of bytes; anything else is ignored (RFC 9110).",
                || json!({ "type": "string", "examples": ["bytes=0-1023"] }),
            ),
            Parameter::header(
                "If-Range",
                "The `ETag` of the bytes that the range goes on from.",
                text,
            ),
            Parameter::header(
                "If-None-Match",
                "The `ETag` of the bytes that the caller has.",
                text,
            ),
        ],
        answers: &[
            Answer::new(200, "The whole result.", Content::Bytes).with(&[
                ETAG,
                RANGES,
                DISPOSITION,
            ]),
            Answer::new(206, "The part that was asked for.", Content::Bytes).with(&[
                ETAG,
                RANGES,
                DISPOSITION,
                PART,
            ]),
            Answer::new(304, "The caller has it.", Content::None).with(&[ETAG]),
        ],
        refusals: &[
            ProblemKind::Query,
            ProblemKind::Invalid,
            ProblemKind::Conflict,
            ProblemKind::Range,
        ],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/explain"),
        id: "explainJob",
        tag: Tag::Jobs,
        summary: "Tells where a job's time went",
        text: "The parts follow each other without a gap and sum to `wallSeconds`.",
        answers: &[Answer::new(200, "The explanation.", Content::Json(schema_of::<Explanation>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/usage"),
        id: "readUsage",
        tag: Tag::Jobs,
        summary: "Tells how many CPUs and how much memory a job uses, over its time",
        text: "Of its latest attempt. On a cluster a gateway keeps in memory what workers have told it while they run; of an \
               attempt that has ended there may be none without an object store.",
        answers: &[Answer::new(200, "The samples.", Content::Json(schema_of::<UsageOverTime>))],
        refusals: &[ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/logs"),
        id: "readLogs",
        tag: Tag::Jobs,
        summary: "Reads what the function says",
        text: "The end of its stdout and stderr, at most a MiB, also while it runs. \
               Whatever bytes it wrote: they are not always UTF-8. 410 says why nothing is kept of an attempt.",
        parameters: &[
            Parameter::query(
                "attempt",
                "That of this attempt, 1 for the first. Without it that of the latest. That of an earlier one ends, also with `follow`.",
                || json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }),
            ),
            Parameter::query(
                "follow",
                "All that is said until the job has ended.",
                || json!({ "type": "boolean", "default": false }),
            ),
            Parameter::query(
                "tailBytes",
                "Most bytes of what was said already.",
                || json!({ "type": "integer", "minimum": 0, "maximum": 1 << 20 }),
            ),
            Parameter::query(
                "timestamps",
                "Whether each line begins with the time at which it came and a space. `tailBytes` counts the times, too.",
                || json!({ "type": "boolean", "default": false }),
            ),
        ],
        answers: &[Answer::new(200, "The end of the log.", Content::Text("text/plain"))],
        refusals: &[ProblemKind::Query, ProblemKind::Gone, ProblemKind::Invalid],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/events"),
        id: "followJobs",
        tag: Tag::Jobs,
        summary: "Tells what happens to any job of the namespace",
        text: "Server-sent events. `event: begun` says that what happens from now on is told. `event: job` has a job that is new or has changed, whole or with \
               `fields` some of it, but never its input and the bytes of its result. `event: deleted` names a job \
               that is gone. States may be skipped, the last one is not. Whoever lists the jobs once the stream has \
               begun, and then applies its events, has missed nothing. `event: problem` has a problem document and \
               is the last: begin again. A stream ends after an hour, when the server ends, and soon after its \
               token is taken back.",
        parameters: &[FIELDS],
        answers: &[Answer::new(
            200,
            "A stream of events.",
            Content::Events(schemas::namespace_event),
        )],
        refusals: &[ProblemKind::Query],
        ..Operation::EMPTY
    },
    Operation {
        route: ("GET", "/v1/namespaces/{namespace}/jobs/{name}/events"),
        id: "followJob",
        tag: Tag::Jobs,
        summary: "Follows a job until it has ended",
        text: "Server-sent events. `event: job` has the job as `data`, whole or with \
               `fields` some of it: first the \
               job as it is, then again each time it was stored, last the finished one. \
               `event: progress` has what the function tells in between. States may be \
               skipped, the last one is not. `event: problem` has a problem document and \
               is the last. A stream ends after an hour, when the server ends, and soon \
               after its token is taken back; a client that comes back with the last `id`, \
               to whichever replica, is told nothing twice and nothing older.",
        parameters: &[
            FIELDS,
            Parameter::header(
                "Last-Event-ID",
                "The `id` of the last event that was seen; browsers send it by themselves.",
                text,
            ),
        ],
        answers: &[
            Answer::new(200, "A stream of events.", Content::Events(schemas::event)),
            Answer::new(
                204,
                "The job has ended, and the caller has seen it. Nothing comes any more.",
                Content::None,
            ),
        ],
        refusals: &[ProblemKind::Query, ProblemKind::Invalid],
        ..Operation::EMPTY
    },
];

/// The entry of a route.
pub(crate) fn operation_of(route: &Route) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.route == (route.method.as_str(), route.path))
}
