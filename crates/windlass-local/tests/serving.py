"""A function that serves: what it does with a job, and what it leaves, is in the input."""

import json
import os
import socket
import subprocess
import sys
import time

kept = []
jobs = 0


def do(job):
    """One job; its answer."""
    with open(job["input"]) as file:
        asked = json.load(file)
    what = asked.get("do", "tell")
    found = sorted(os.listdir(job["directory"]))
    print("said for", job["job"], flush=True)
    answer = {"done": job["job"]}
    if what == "child":
        child = subprocess.Popen(["sleep", "1000"])
        if asked.get("kept"):
            answer["processes"] = [child.pid]
    elif what == "file":
        with open(os.path.join(job["directory"], "left"), "w") as file:
            file.write("secret")
        os.makedirs(os.path.join(job["directory"], "a/b"))
    elif what == "open":
        kept.append(open(os.path.join(job["directory"], "held"), "w"))
    elif what == "memory":
        kept.append(b"x" * (400 << 20))
    elif what == "replace":
        answer["replace"] = "a thread is left"
    elif what == "exit":
        os._exit(asked["code"])
    elif what == "kill":
        os.kill(os.getpid(), 9)
    elif what == "input":
        answer = {"failed": job["job"], "reason": "input", "message": "no such thing"}
    elif what == "error":
        print("the reason", file=sys.stderr, flush=True)
        answer = {"failed": job["job"], "reason": "error"}
    elif what == "nonsense":
        return b"nonsense\n"
    elif what == "other":
        answer = {"done": "another"}
    elif what == "answer":
        # The file does not count then.
        with open(job["output"], "w") as file:
            file.write("no JSON")
        return json.dumps({**answer, "result": asked["text"]}).encode() + b"\n"
    elif what == "nothing":
        return json.dumps(answer).encode() + b"\n"
    elif what == "sleep":
        with open(asked["mark"], "w") as file:
            file.write("began")
        if asked.get("obeys"):
            # The line that comes while it has a job is the cancel.
            assert json.loads(next(lines)) == {"cancel": job["job"]}
            return json.dumps({"cancelled": job["job"]}).encode() + b"\n"
        time.sleep(1000)
    elif what == "burn":
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
    elif what == "progress":
        with open(job["progress"], "a") as file:
            file.write("3 9 third\n")
    told = {"pid": os.getpid(), "jobs": jobs, "found": found, "parallelism": job["parallelism"],
            "cpus": sorted(os.sched_getaffinity(0)), "attempt": job["attempt"],
            "environment": sorted(name for name in os.environ if name.startswith("WINDLASS_"))}
    with open(job["output"], "w") as file:
        json.dump(told, file)
    return json.dumps(answer).encode() + b"\n"


if sys.argv[1:] == ["slow"]:
    time.sleep(1000)

if sys.argv[1:] == ["leave"]:
    # One that says that it is ready, and goes.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["WINDLASS_SERVE"])
        connection.sendall(b'{"ready": 2}\n')
    os._exit(3)
if len(sys.argv) > 1:
    # One that does not follow the contract, or cannot start.
    print("cannot start", file=sys.stderr)
    sys.exit(int(sys.argv[1]))
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["WINDLASS_SERVE"])
lines = connection.makefile("rb")
connection.sendall(b'{"ready": 2}\n')
for line in lines:
    jobs += 1
    connection.sendall(do(json.loads(line)))
