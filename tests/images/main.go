// A function in an image that has nothing else: it says who it is and writes wherever a function may.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	input, err := os.ReadFile(os.Getenv("WINDLASS_INPUT"))
	if err != nil {
		panic(err)
	}
	for _, directory := range []string{"/tmp", os.Getenv("HOME")} {
		if err := os.WriteFile(filepath.Join(directory, "file"), input, 0o600); err != nil {
			panic(err)
		}
	}
	text := fmt.Sprintf(`{"user": %d, "input": %s}`, os.Getuid(), input)
	if err := os.WriteFile(os.Getenv("WINDLASS_OUTPUT"), []byte(text), 0o600); err != nil {
		panic(err)
	}
}
