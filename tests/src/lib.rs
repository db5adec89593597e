//! Tests of the whole: golden, contract, cluster.
