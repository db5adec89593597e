"""A server that does what a real one does too rarely: it is slow, cuts its answers anywhere, and repeats itself."""

import base64
import contextlib
import hashlib
import http.server
import json
import threading
import time
import urllib.parse


def job(name, phase, version, spec_input, **status):
    """A job as a server answers it."""
    return {
        "apiVersion": "windlass.dev/v1alpha1",
        "kind": "ComputeJob",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": str(version)},
        "spec": {"function": "f", "input": spec_input, "priority": 0, "ttlSecondsAfterFinished": 1, "cancel": False},
        "status": {"phase": phase, "timeline": {}, **status},
    }


class Handler(http.server.BaseHTTPRequestHandler):
    """The routes that a client needs to hand in jobs and to wait for them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        state = self.server.state
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        state.preferred.append(self.headers["prefer"])
        if state.refusals:
            state.refusals -= 1
            self.answer({"detail": "too many requests"}, 429, {"retry-after": "6"})
            return
        if "inputBlob" in asked or "files" in asked:
            self.answer(*self.of_data(asked))
            return
        with state.lock:
            unfinished = [began for began, _ in state.jobs.values() if time.monotonic() - began < state.job_seconds]
            if len(unfinished) >= state.most_unfinished:
                self.answer({"detail": "the queue is full"}, 429)
                return
            name = state.names.setdefault(self.headers["idempotency-key"], f"j{len(state.jobs)}")
            is_new = name not in state.jobs
            if is_new:
                state.jobs[name] = (time.monotonic(), asked["input"])
        if is_new and name == state.lost:
            self.close_connection = True
            return
        self.answer(job(name, "Queued", 1, asked["input"]), 201)

    def do_HEAD(self):
        state = self.server.state
        state.asked.append(self.path)
        self.send_response(200 if self.path.rpartition(":")[2] in state.blobs else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_PUT(self):
        state = self.server.state
        data = b""
        while left := int(self.headers["content-length"]) - len(data):
            data += self.rfile.read(min(left, 1 << 20))
            time.sleep(state.megabyte_seconds)
        state.puts.append(len(data))
        if state.lost_puts:
            state.lost_puts -= 1
            self.close_connection = True
            return
        digest = hashlib.sha256(data).hexdigest()
        assert self.path.endswith(f"/blobs/sha256:{digest}")
        state.blobs[digest] = data
        self.answer({"sha256": digest, "bytes": len(data)}, 201)

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path)
        name, _, rest = path.path.rpartition("/jobs/")[2].partition("/")
        if rest == "events":
            self.events(name, path.query)
            return
        if rest == "logs":
            self.log()
            return
        with self.server.state.lock:
            self.server.state.questions.append(path.query)
        status = self.server.state.status_of_get()
        if status is None:
            self.close_connection = True
        elif status != 200:
            self.answer({"detail": "not now"}, status)
        else:
            self.answer(self.now(name, path.query))

    def of_data(self, asked):
        """A job whose result is its input as it is, and the status of the answer."""
        state = self.server.state
        state.submitted.append((asked, self.headers["idempotency-key"]))
        blob = asked.get("inputBlob") or next(iter(asked["files"].values()))
        if state.forgets:
            state.forgets = False
            state.blobs.clear()
        if blob["sha256"] not in state.blobs:
            return {"problems": [{"pointer": "/inputBlob/sha256", "message": "is not there"}]}, 422
        data = state.blobs[blob["sha256"]]
        assert len(data) == blob["bytes"]
        result = {"bytes": len(data), "contentType": blob["mediaType"], "sha256": blob["sha256"]}
        result["base64"] = base64.b64encode(data).decode()
        return job("d", "Succeeded", 3, {}, result=result), 201

    def now(self, name, query):
        told = self.whole(name)
        if self.server.state.knows_fields and query.startswith("fields="):
            del told["spec"]["input"]
        return told

    def whole(self, name):
        state = self.server.state
        began, spec_input = state.jobs[name]
        if time.monotonic() - began < state.job_seconds:
            return job(name, "Running", 2, spec_input)
        text = json.dumps({"results": spec_input["items"]})
        result = {"bytes": len(text), "contentType": "application/json", "sha256": "", "text": text}
        return job(name, "Succeeded", 3, spec_input, result=result)

    def events(self, name, query):
        state = self.server.state
        with state.lock:
            state.streams.append(self.headers["last-event-id"])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        opened, seen = time.monotonic(), self.headers["last-event-id"]
        with contextlib.suppress(OSError):
            while True:
                told = self.now(name, query)
                version = told["metadata"]["resourceVersion"]
                news = f"event: job\nid: {version}\ndata: {json.dumps(told)}\n\n"
                self.pieces(news.encode() if version != seen else b":\n\n")
                seen = version
                if state.hangs:
                    # Until the client has gone.
                    self.connection.recv(1)
                    break
                if time.monotonic() - opened >= state.stream_seconds or told["status"]["phase"] == "Succeeded":
                    break
                time.sleep(0.05)
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log(self):
        self.send_response(200)
        for name, text in {"content-type": "text/plain", "transfer-encoding": "chunked", "connection": "close"}.items():
            self.send_header(name, text)
        self.end_headers()
        with contextlib.suppress(OSError):
            for piece in self.server.state.says():
                self.pieces(piece.encode())
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def pieces(self, text):
        state = self.server.state
        chunks = (text[i : i + state.piece] for i in range(0, len(text), state.piece))
        framed = (b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        if state.pause == 0:
            self.wfile.write(b"".join(framed))
            return
        for chunk in framed:
            self.wfile.write(chunk)
            time.sleep(state.pause)

    def answer(self, value, status=200, headers=None):
        time.sleep(self.server.state.answer_seconds)
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {**(headers or {}), "content-length": str(len(body))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class State:
    """How the server behaves, and what it was asked."""

    def __init__(self):
        self.lock = threading.Lock()
        self.piece, self.pause = 1 << 20, 0.0
        self.job_seconds = 0.2
        # So long a stream lasts at most.
        self.stream_seconds = 1e9
        # A stream says no more after its first event. Other answers take so long.
        self.hangs, self.answer_seconds = False, 0.0
        # It takes so long to read a megabyte of data, and refuses so many submissions for 6 s.
        self.megabyte_seconds, self.refusals = 0.0, 0
        # The status of the answer to who asks for a job; none for no answer. It may take its time.
        self.status_of_get = lambda: 200
        # The pieces of a log, as they come.
        self.says = lambda: ()
        # What submissions have preferred.
        self.preferred = []
        # A server of before tells whole jobs, whatever it is asked for.
        self.knows_fields = True
        # Further jobs are refused.
        self.most_unfinished = 1e9
        # Data that was sent, what was asked and sent for it, and the jobs of it with their keys.
        self.blobs, self.asked, self.puts, self.submitted = {}, [], [], []
        # So many times data that was sent gets no answer; and what was sent is gone when the next job comes.
        self.lost_puts, self.forgets = 0, False
        # The job of which the first answer is lost.
        self.lost = None
        self.jobs, self.streams, self.questions = {}, [], []
        # The names of jobs, by their Idempotency-Keys.
        self.names = {}


class Server(http.server.ThreadingHTTPServer):
    """It takes as many connections at once as a real one."""

    request_queue_size = 128


@contextlib.contextmanager
def running():
    """The server, with `state` and `url`."""
    with Server(("127.0.0.1", 0), Handler) as server:
        server.state = State()
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
