//! Windlass on one machine: store, CPU slots, processes, Jobs
