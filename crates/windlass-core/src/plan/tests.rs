//! The decisions of a plan one by one, and the four properties of a plan over a small world.

mod decisions;
mod ends;
mod fixtures;
mod preempted;
mod properties;
mod small_world;
mod unschedulable;
