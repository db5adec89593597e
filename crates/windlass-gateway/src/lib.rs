//! REST over the Jobs trait, and the worker reports
