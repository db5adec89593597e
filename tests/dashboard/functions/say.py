"""Says what its input tells it to: the hostile function of the dashboard's tests."""

import base64
import json
import os
import sys
import time

with open(os.environ["WINDLASS_INPUT"], encoding="utf-8") as file:
    job = json.load(file)
print(job.get("log", ""), file=sys.stderr, flush=True)
steps = job.get("steps", 0)
for step in range(steps):
    with open(os.environ["WINDLASS_PROGRESS"], "a", encoding="utf-8") as progress:
        print(step, steps, job.get("log", "").splitlines()[0] if job.get("log") else "", file=progress)
    print(f"step {step} of {steps}", flush=True)
    time.sleep(0.1)
if job.get("exit", 0):
    sys.exit(job["exit"])
text = job["text"]
said = base64.b64decode(text) if job.get("base64") else text.encode()
with open(os.environ["WINDLASS_OUTPUT_TYPE"], "w", encoding="utf-8") as file:
    file.write(job.get("type", "text/plain"))
with open(os.environ["WINDLASS_OUTPUT"], "wb") as file:
    if job.get("list"):
        file.write(b"[")
    for _ in range(job.get("repeat", 1)):
        file.write(said)
    if job.get("list"):
        file.write(b"0]")
