//! The built-in functions, written with the SDK as any user would
