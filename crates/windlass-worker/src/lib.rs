//! Supervises one attempt: starts the function, relays progress, result and cancel
