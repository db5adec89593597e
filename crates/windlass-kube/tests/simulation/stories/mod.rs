//! The stories, by subject. Many are told with a number each, which varies them.

mod by_hand;
mod cancel;
mod cluster_functions;
mod cluster_queues;
mod defects;
mod late_needs;
mod preemption;
mod queues;
mod read_faults;
mod standbys;
mod unschedulable;
mod write_faults;
