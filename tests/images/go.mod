module windlass.dev/tests/images

go 1.25.0
