"""Gunicorn's own advice: twice the cores and one more."""

import multiprocessing
import os

bind = f"127.0.0.1:{os.environ.get('WEB_PORT', '8000')}"
workers = 2 * multiprocessing.cpu_count() + 1
worker_class = "sync"
preload_app = True
timeout = 300
