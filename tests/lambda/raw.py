"""Speaks the runtime API by hand, also where it must not, and answers with the status codes that it got."""

import base64
import http.client
import json
import os
import sys

BASE = "/2018-06-01/runtime"
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, body=None, **headers):
    api.request(method, BASE + path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = api.getresponse()
    return response.status, response.headers, response.read()


def stream(path, chunks, trailers):
    """A streamed response with trailers, which http.client cannot send."""
    api.putrequest("POST", BASE + path)
    api.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    api.putheader("Transfer-Encoding", "chunked")
    api.putheader("Trailer", ", ".join(trailers))
    api.endheaders()
    for chunk in chunks:
        api.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    api.send(b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers.items()).encode() + b"\r\n")
    response = api.getresponse()
    response.read()
    return response.status


if sys.argv[1:] == ["init"]:
    error = {"errorType": "Runtime.ImportModuleError", "errorMessage": "no such module"}
    assert call("POST", "/init/error", json.dumps(error))[0] == 202
    sys.exit(1)
if sys.argv[1:] == ["other"]:
    # Whoever is not below the adapter gets no answer.
    print(os.environ["AWS_LAMBDA_RUNTIME_API"], file=sys.stderr, flush=True)
while True:
    status, headers, event = call("GET", "/invocation/next")
    assert status == 200, status
    invocation = "/invocation/" + headers["Lambda-Runtime-Aws-Request-Id"]
    what = json.loads(event)["do"]
    if what == "codes":
        codes = {
            "next again": call("GET", "/invocation/next")[0],
            "another's": call("POST", "/invocation/another/response", b"{}")[0],
            "another's error": call("POST", "/invocation/another/error", b"{}")[0],
            "no such path": call("GET", "/nothing")[0],
        }
        told = {name: value for name, value in headers.items() if name.lower().startswith("lambda-")}
        told = {name.lower(): value for name, value in told.items()}
        answer = json.dumps({"codes": codes, "headers": told, "type": headers["content-type"]})
        assert call("POST", invocation + "/response", answer)[0] == 202
        assert call("POST", invocation + "/response", answer)[0] == 403
        assert call("POST", invocation + "/error", answer)[0] == 403
    elif what == "large":
        assert call("POST", invocation + "/response", b"x" * (7 << 20))[0] == 413
        api.close()
    elif what == "stream":
        assert stream(invocation + "/response", [b'{"a":', b" 1}"], {}) == 202
    elif what == "broken stream":
        body = base64.b64encode(json.dumps({"errorType": "Late", "errorMessage": "in the middle"}).encode()).decode()
        trailers = {
            "Lambda-Runtime-Function-Error-Type": "Late",
            "Lambda-Runtime-Function-Error-Body": body,
        }
        assert stream(invocation + "/response", [b'{"a":'], trailers) == 202
    elif what == "memory":
        error = {"errorType": "Runtime.OutOfMemory", "errorMessage": "killed"}
        assert call("POST", invocation + "/error", json.dumps(error))[0] == 202
