module windlass.dev/tests/probe

go 1.25.0
