"""A function for AWS Lambda, with its public client for Python."""

import os
import time
from datetime import datetime, timezone

calls = 0


def handler(event, context):
    global calls
    calls += 1
    what = event.get("do")
    if what == "fail":
        raise ValueError("no such thing")
    if what == "exit":
        os._exit(9)
    if what == "sleep":
        time.sleep(3600)
    left = context.get_remaining_time_in_millis() / 1000
    deadline = datetime.fromtimestamp(round(time.time() + left), timezone.utc)
    return {"event": event, "calls": calls, "pid": os.getpid(), "id": context.aws_request_id,
            "deadline": deadline.strftime("%Y-%m-%dT%H:%M:%SZ"), "function": context.function_name}
