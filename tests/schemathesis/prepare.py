"""Submits the two jobs that schemathesis.toml names, and waits for their ends: URL TOKEN NAMESPACE."""

import sys
from pathlib import Path

import requests

url, token, namespace = sys.argv[1:]
jobs = f"{url}/v1/namespaces/{namespace}/jobs"
headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=120"}
option = {
    "spot": 36, "strike": 40, "rate": 0.06, "volatility": 0.2, "maturityYears": 2, "exercisesPerYear": 50,
}
# Far more than a second of work.
work = {"options": [option] * 100, "paths": 1_000_000, "seed": 1}
bodies = [
    {"name": "schemathesis-succeeded", "function": "echo", "input": {"hello": "world"}},
    {"name": "schemathesis-failed", "function": "price", "input": work, "timeoutSeconds": 1, "retries": 0},
]
for body in bodies:
    requests.delete(f"{jobs}/{body['name']}", headers=headers, timeout=30)
    answer = requests.post(jobs, json=body, headers=headers, timeout=150)
    answer.raise_for_status()
    phase = answer.json()["status"].get("phase", "new")
    if phase.lower() not in body["name"]:
        sys.exit(f"{Path(__file__).name}: {body['name']} is {phase}: {answer.text[:2000]}")
