"""Server and worker of HyperQueue, until SIGTERM: DIRECTORY CPUS."""

import signal
import sys

from hyperqueue import LocalCluster
from hyperqueue.cluster import WorkerConfig

cluster = LocalCluster(sys.argv[1], WorkerConfig(cores=int(sys.argv[2])))
signal.sigwait({signal.SIGTERM, signal.SIGINT})
cluster.stop()
