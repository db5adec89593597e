//! Types, validation, plan and admit: what Windlass decides, without any I/O
