//! Tests of the document and its page against the table of routes.

use serde_json::{Value, json};

use super::operations::{OPERATIONS, operation_of};
use crate::openapi_document;
use crate::protocol::route::Guard;
use crate::routes::{API_DOCUMENT, ROUTES};

#[test]
fn every_route_is_described_and_nothing_else() {
    for route in ROUTES {
        let found = operation_of(route);
        assert!(found.is_some(), "{} {}: no entry in OPERATIONS", route.method, route.path);
    }
    for operation in OPERATIONS {
        let (method, path) = operation.route;
        let is_route = ROUTES.iter().any(|r| r.method.as_str() == method && r.path == path);
        assert!(is_route, "{method} {path}: no such route");
    }
    assert_eq!(OPERATIONS.len(), ROUTES.len(), "an entry is there twice");
}

#[test]
fn no_two_operations_have_the_same_id() {
    let mut ids: Vec<_> = OPERATIONS.iter().map(|operation| operation.id).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn follow(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = target.strip_prefix('#').expect(target);
                    assert!(document.pointer(pointer).is_some(), "{target} is not there");
                }
                fields.values().for_each(|value| follow(value, document));
            }
            Value::Array(items) => items.iter().for_each(|value| follow(value, document)),
            _ => {}
        }
    }
    follow(openapi_document(), openapi_document());
}

#[test]
fn every_operation_but_the_open_ones_wants_a_token() {
    for route in ROUTES {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = &openapi_document()["paths"][route.path][method];
        let open = operation.get("security") == Some(&json!([{}, { "bearer": [] }]));
        assert_eq!(open, route.guard == Guard::Open, "{}", route.path);
        assert!(operation["responses"].get("401").is_some(), "{}", route.path);
    }
}

#[test]
fn the_document_names_no_address_outside() {
    let text = openapi_document().to_string();
    assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
}

#[test]
fn every_operation_and_schema_is_on_the_page_and_every_link_leads_to_it() {
    let page = API_DOCUMENT.page.as_str();
    for operation in OPERATIONS {
        assert!(page.contains(&format!("id=\"{}\"", operation.id)), "{}", operation.id);
    }
    for link in page.split("href=\"#").skip(1) {
        let target = link.split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let page = API_DOCUMENT.page.as_str();
    for forbidden in ["<script", "src=", "url(", "@import", "http://", "https://", " style=", " on"]
    {
        let inside = page.split('<').skip(1).filter_map(|tag| tag.split('>').next());
        let found = match forbidden {
            " on" => inside.clone().any(|tag| tag.contains(" onc") || tag.contains(" onl")),
            _ => page.contains(forbidden),
        };
        assert!(!found, "{forbidden}");
    }
}
