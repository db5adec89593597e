"""Flask in Gunicorn behind nginx, with a process pool for each request: what is often written first."""

import getpass
import os
import shutil

from bench import processes
from bench.systems import WebSystem, chunks

NGINX = """
daemon off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log;
worker_processes auto;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{gunicorn}; proxy_read_timeout 300s; }}
  }}
}}
"""


class GunicornSpawn(WebSystem):
    key = "gunicorn-spawn"
    name = "Gunicorn, Pool(4) by spawn"
    method = "spawn"
    about = "nginx, Flask in Gunicorn (2 x cores + 1 sync workers, preloaded), `multiprocessing` Pool(4) per request"
    small = chunks(4, 2)
    mix = [(chunks(4)[0], chunks(4)[0])]
    victims = ("the web worker",)

    def start(self):
        gunicorn, self.port = processes.free_port(), processes.free_port()
        self.gunicorn("bench.apps.pool:app", gunicorn, {"BENCH_START_METHOD": self.method})
        configuration = self.directory / "nginx.conf"
        user = f"user {getpass.getuser()};" if os.getuid() == 0 else ""
        configuration.write_text(NGINX.format(user=user, directory=self.directory, port=self.port, gunicorn=gunicorn))
        command = [shutil.which("nginx"), "-p", self.directory, "-e", self.log("nginx"), "-c", configuration]
        self.processes = [processes.start(command, self.log("nginx")), self.web]

    def victim(self, label):
        workers = [p.pid for p in processes.descendants(self.web.pid).values() if p.parent == self.web.pid]
        return processes.busiest(workers)


class GunicornForkserver(GunicornSpawn):
    key = "gunicorn-forkserver"
    name = "Gunicorn, Pool(4) by forkserver"
    method = "forkserver"
    about = "the same; the fork server has the libraries loaded and stays between requests"
