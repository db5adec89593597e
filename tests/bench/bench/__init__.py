"""Windlass beside its alternatives, with the same kernel in all of them. README.md is in the directory above."""
