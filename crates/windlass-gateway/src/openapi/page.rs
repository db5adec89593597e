//! The document as one page: HTML and a style, no script, nothing from anywhere else.
//!
//! In: the document. Out: text. Everything that is shown is escaped, though it is all ours.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::html::{add, entry, escape, prose};
use super::operations::OPERATIONS;

const STYLE: &str = include_str!("page.css");

/// What a browser may do with the page: apply this one style.
pub(super) fn content_security_policy() -> String {
    let digest = BASE64.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page of a document.
pub(super) fn render(document: &Value) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Windlass: the API</title><style>{STYLE}</style></head><body>\n"
    );
    let info = &document["info"];
    add(&mut page, "<header><h1>Windlass: the API</h1>");
    add(
        &mut page,
        &format!(
            "<p class=\"soft\">Version {}, resources <code>{}</code>. For programs: \
         <a href=\"/openapi.json\">openapi.json</a>.</p>",
            escape(word(&info["version"])),
            escape(word(&info["x-api-version"])),
        ),
    );
    prose(&mut page, word(&info["description"]));
    contents(&mut page, document);
    add(&mut page, "</header>\n<main>");
    for tag in list(&document["tags"]) {
        let name = word(&tag["name"]);
        add(&mut page, &format!("<h2 id=\"{name}\">{}</h2>", escape(&capitalized(name))));
        prose(&mut page, word(&tag["description"]));
        for (method, path, operation) in operations(document, name) {
            describe(&mut page, document, &method, path, operation);
        }
    }
    add(&mut page, "<h2 id=\"schemas\">Schemas</h2><p>What bodies and answers are made of.</p>");
    for (name, schema) in fields(&document["components"]["schemas"]) {
        add(
            &mut page,
            &format!(
                "<section class=\"schema\" id=\"{0}\"><h3><a href=\"#{0}\">{0}</a></h3>",
                escape(name)
            ),
        );
        prose(&mut page, word(&schema["description"]));
        shape(&mut page, schema);
        add(&mut page, "</section>\n");
    }
    add(
        &mut page,
        "</main><footer>This page is made from the document by the server itself.</footer></body></html>\n",
    );
    page
}

/// The operations of a tag, in the order of the table: method, path, and what is said of them.
fn operations<'a>(
    document: &'a Value,
    tag: &'a str,
) -> impl Iterator<Item = (String, &'a str, &'a Value)> {
    OPERATIONS.iter().filter(move |operation| operation.tag.describe().0 == tag).map(|operation| {
        let (method, path) = operation.route;
        let method = method.to_ascii_lowercase();
        let described = &document["paths"][path][&method];
        (method, path, described)
    })
}

fn contents(page: &mut String, document: &Value) {
    add(page, "<nav>");
    for tag in list(&document["tags"]) {
        let name = word(&tag["name"]);
        add(page, &format!("<p><a href=\"#{name}\">{}</a></p><ol>", escape(&capitalized(name))));
        for (method, _, operation) in operations(document, name) {
            add(
                page,
                &format!(
                    "<li><span class=\"verb {method}\">{}</span><a href=\"#{}\">{}</a></li>",
                    method.to_ascii_uppercase(),
                    word(&operation["operationId"]),
                    escape(word(&operation["summary"])),
                ),
            );
        }
        add(page, "</ol>");
    }
    add(page, "<p><a href=\"#schemas\">Schemas</a></p></nav>");
}

fn describe(page: &mut String, document: &Value, method: &str, path: &str, operation: &Value) {
    let id = word(&operation["operationId"]);
    add(
        page,
        &format!(
            "<section class=\"op\" id=\"{id}\"><h3><a href=\"#{id}\">{}</a></h3>\
         <p class=\"path\"><span class=\"verb {method}\">{}</span> <code>{}</code></p>",
            escape(word(&operation["summary"])),
            method.to_ascii_uppercase(),
            escape(path),
        ),
    );
    prose(page, word(&operation["description"]));
    let parameters = list(&operation["parameters"]);
    if !parameters.is_empty() {
        add(page, "<h4>Parameters</h4><dl>");
        for parameter in parameters {
            let place = match word(&parameter["in"]) {
                "query" => ", in the query",
                "header" => ", a header",
                _ => "",
            };
            let kind = format!("{}{place}", kind(&parameter["schema"]));
            let required = parameter["required"] == true;
            entry(page, word(&parameter["name"]), &kind, required, word(&parameter["description"]));
        }
        add(page, "</dl>");
    }
    for (media_type, content) in fields(&operation["requestBody"]["content"]) {
        add(page, &format!("<h4>Body</h4><p><code>{}</code></p>", escape(media_type)));
        prose(page, word(&operation["requestBody"]["description"]));
        shape(page, &content["schema"]);
    }
    answers(page, document, &operation["responses"]);
    example(page, method, path, operation);
    add(page, "</section>\n");
}

/// What is answered; the refusals are folded away.
fn answers(page: &mut String, document: &Value, responses: &Value) {
    add(page, "<h4>Answers</h4><dl>");
    let mut refused = String::new();
    for (status, answer) in fields(responses) {
        let refusal = word(&answer["$ref"]).strip_prefix('#').and_then(|at| document.pointer(at));
        let answer = refusal.unwrap_or(answer);
        let mut text = word(&answer["description"]).to_owned();
        for (name, header) in fields(&answer["headers"]) {
            // Writing to a string cannot fail.
            write!(text, "\n- `{name}`: {}", word(&header["description"])).ok();
        }
        let content: Vec<_> = fields(&answer["content"])
            .map(|(media_type, content)| match content.get("schema") {
                Some(schema) if schema.get("$ref").is_some() => kind(schema),
                _ => format!("<code>{}</code>", escape(media_type)),
            })
            .collect();
        match refusal {
            None => entry(page, status, &content.join(", "), false, &text),
            Some(_) => entry(&mut refused, status, "", false, &text),
        }
    }
    add(page, "</dl>");
    if !refused.is_empty() {
        add(
            page,
            &format!(
                "<details><summary>Refusals, each a problem document</summary>\
             <p class=\"kind\"><code>application/problem+json</code>, \
             <a href=\"#ProblemDocument\">ProblemDocument</a></p><dl>{refused}</dl></details>"
            ),
        );
    }
}

/// A command line that does it.
fn example(page: &mut String, method: &str, path: &str, operation: &Value) {
    let path = path.replace("{namespace}", "default");
    let name = if path.contains("/jobs/") { "echo-0190b7a2" } else { "echo" };
    let path = path.replace("{name}", name).replace("{job_uid}", "$UID").replace("{attempt}", "1");
    let mut line = "curl".to_owned();
    if operation.get("security").is_none() {
        line += " -H \"Authorization: Bearer $TOKEN\"";
    }
    match word(&operation["operationId"]) {
        // What comes is shown as it comes.
        "followJob" => line += " -N",
        "getResult" => line += " -O -J",
        _ => {}
    }
    let body = &operation["requestBody"];
    match method {
        "get" => {}
        "post" if body.is_object() => {}
        _ => line += &format!(" -X {}", method.to_ascii_uppercase()),
    }
    line += &format!(" \\\n  \"$WINDLASS{path}\"");
    for (media_type, content) in fields(&body["content"]) {
        line += &format!(" \\\n  -H 'Content-Type: {media_type}'");
        line += &match content.get("example") {
            Some(example) => format!(" \\\n  -d '{example}'"),
            None => " \\\n  --data-binary @FILE".to_owned(),
        };
    }
    add(page, &format!("<h4>Example</h4><pre><code>{}</code></pre>", escape(&line)));
}

/// The fields of an object, or what else a schema says.
fn shape(page: &mut String, schema: &Value) {
    let required = list(&schema["required"]);
    if schema["properties"].is_object() {
        add(page, "<dl>");
        let is_required = |name: &str| required.contains(&Value::from(name));
        let mut fields: Vec<_> = fields(&schema["properties"]).collect();
        // What must be there comes first.
        fields.sort_by_key(|(name, _)| !is_required(name));
        for (name, field) in fields {
            entry(page, name, &kind(field), is_required(name), word(&field["description"]));
        }
        add(page, "</dl>");
        return;
    }
    for (at, choice) in list(&schema["oneOf"]).iter().enumerate() {
        let lead = if at == 0 { "Either" } else { "Or" };
        add(page, &format!("<p class=\"kind\">{lead}</p>"));
        prose(page, word(&choice["description"]));
        shape(page, choice);
    }
    if schema.get("oneOf").is_none() {
        add(page, &format!("<p class=\"kind\">{}</p>", kind(schema)));
    }
}

/// A schema in some words, as HTML.
fn kind(schema: &Value) -> String {
    if let Some(name) = word(&schema["$ref"]).rsplit('/').next().filter(|name| !name.is_empty()) {
        return format!("<a href=\"#{0}\">{0}</a>", escape(name));
    }
    if let Some(words) = schema.get("enum") {
        let words: Vec<_> = list(words).iter().map(|one| escape(&plain(one))).collect();
        return words.join(" | ");
    }
    if let Some(value) = schema.get("const") {
        return escape(&plain(value));
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().map(word).collect::<Vec<_>>().join(" or "),
        one => word(one).to_owned(),
    };
    let types = if types.is_empty() { "anything".to_owned() } else { escape(&types) };
    let mut text = match schema.get("items") {
        Some(items) => format!("list of {}", kind(items)),
        None => match schema.get("additionalProperties").filter(|values| values.is_object()) {
            Some(values) => format!("map to {}", kind(values)),
            None => types,
        },
    };
    if let Some(format) = schema.get("format").map(word).filter(|format| format.contains('-')) {
        // `date-time` and the like; how wide a number is, its bounds say.
        text += &format!(" ({})", escape(format));
    }
    text += &bounds(schema, "minimum", "maximum", "");
    text += &bounds(schema, "minLength", "maxLength", " characters");
    text += &bounds(schema, "minItems", "maxItems", " items");
    text += &bounds(schema, "minProperties", "maxProperties", " entries");
    if let Some(value) =
        schema.get("default").filter(|value| !value.is_null() && !value.is_object())
    {
        text += &format!(", default {}", escape(&plain(value)));
    }
    text
}

/// `, 1 to 63 characters`, or what of that there is.
fn bounds(schema: &Value, least: &str, most: &str, of: &str) -> String {
    let bound = |keyword| schema.get(keyword).map(plain);
    match (bound(least).filter(|least| least != "0"), bound(most)) {
        (Some(least), Some(most)) if least == most => format!(", {least}{of}"),
        (Some(least), Some(most)) => format!(", {least} to {most}{of}"),
        (Some(least), None) => format!(", at least {least}{of}"),
        (None, Some(most)) => format!(", at most {most}{of}"),
        (None, None) => String::new(),
    }
}

/// A string without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NOTHING).iter()
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
