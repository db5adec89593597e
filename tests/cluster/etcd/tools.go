//go:build tools

// Package tools names the program, so that `go mod tidy` keeps what it needs. Its own module has
// replace directives, so that it cannot be installed by name.
package tools

import _ "go.etcd.io/etcd/server/v3"
