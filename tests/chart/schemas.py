"""JSON schemas for kubeconform: of each version's API server, and of custom resources by their definitions."""

import json
import os
import re
import subprocess
from pathlib import Path

import yaml

# Of which versions of Kubernetes the chart's objects are looked at. docs/cluster.md names them.
KUBERNETES = ("1.33.13", "1.34.4", "1.35.4", "1.36.3", "1.37.2")

# Whose custom resources the chart makes, and where their definitions are.
OTHERS = {
    "sigs.k8s.io/gateway-api@v1.6.3": "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    "github.com/cert-manager/cert-manager@v1.21.2": "deploy/crds/cert-manager.io_certificates.yaml",
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": "example/prometheus-operator-crd/*_p*s.yaml",
}

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def module(name: str) -> Path:
    """The directory of a Go module, which Go fetches once."""
    command = ["go", "mod", "download", "-json", name]
    environment = {**os.environ, "GOWORK": "off"}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(json.loads(done.stdout)["Dir"])


def closed(schema):
    """The schema for JSON Schema: no object with fields has others, and nothing is in Kubernetes' own words."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    # What else Kubernetes says of itself, such as defaults, says nothing about a document.
    made = {name: inner for name, inner in schema.items() if not name.startswith("x-") and name != "default"}
    for name in {"items", "additionalProperties"} & made.keys():
        made[name] = closed(made[name])
    for name in {"allOf", "anyOf", "oneOf"} & made.keys():
        made[name] = [closed(each) for each in made[name]]
    if "properties" in made:
        made["properties"] = {name: closed(inner) for name, inner in made["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


def write_kubernetes(version: str, directory: Path) -> None:
    """The kinds of an API server, by the OpenAPI document that it answers with."""
    document = json.loads((module(f"k8s.io/kubernetes@v{version}") / "api/openapi-spec/swagger.json").read_text())
    definitions = {name: closed(schema) for name, schema in document["definitions"].items()}
    definitions[QUANTITY] = {"type": ["string", "number"]}
    for name, schema in document["definitions"].items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            whole = {"$ref": f"#/definitions/{name}", "definitions": needed(name, definitions)}
            write(directory, kind["group"], kind["version"], kind["kind"], whole)


def needed(name: str, definitions: dict) -> dict:
    """This definition, and all that it refers to."""
    found, waiting = {}, [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = definitions[each]
            waiting += re.findall(r'"#/definitions/([^"]+)"', json.dumps(definitions[each]))
    return found


def write_custom(definitions: str, directory: Path) -> None:
    """The kinds of CustomResourceDefinitions, whose API version and metadata the API server adds."""
    for definition in yaml.safe_load_all(definitions):
        if not definition or definition["kind"] != "CustomResourceDefinition":
            continue
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            schema["properties"] |= {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
            }
            write(directory, spec["group"], version["name"], spec["names"]["kind"], schema)


def write(directory: Path, group: str, version: str, kind: str, schema: dict) -> None:
    """By the name that kubeconform asks for."""
    name = "-".join(part for part in (kind, group.split(".")[0], version) if part).lower()
    (directory / f"{name}.json").write_text(json.dumps(schema), encoding="utf-8")


def write_others(directory: Path) -> None:
    """The custom resources of others."""
    for name, pattern in OTHERS.items():
        files = sorted(module(name).glob(pattern))
        assert files, f"{name} has no {pattern}"
        for file in files:
            write_custom(file.read_text(encoding="utf-8"), directory)
