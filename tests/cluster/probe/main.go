// Command probe is what the cluster's own test runs, on the host and in pods.
//
//	probe lookup NAME [SERVER]   resolves NAME, by the DNS server SERVER if given
//	probe get URL                prints what an HTTP server answers
//	probe serve ADDRESS TEXT     answers HTTP requests with TEXT until told to stop
//	probe cat FILE...            prints files
//	probe worker                 checks what a pod like those of Windlass was given
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 2 && args[0] == "lookup":
		return lookup(args[1:])
	case len(args) == 2 && args[0] == "get":
		return get(args[1])
	case len(args) == 3 && args[0] == "serve":
		return http.ListenAndServe(args[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, args[2])
		}))
	case len(args) >= 2 && args[0] == "cat":
		return cat(args[1:])
	case len(args) == 1 && args[0] == "worker":
		return worker()
	}
	return fmt.Errorf("unknown command %q", args)
}

func lookup(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resolver := &net.Resolver{PreferGo: true}
	if len(args) > 1 {
		resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(args[1], "53"))
		}
	}
	addresses, err := resolver.LookupHost(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, "\n"))
	return nil
}

func get(url string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func cat(paths []string) error {
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", content)
	}
	return nil
}

// worker checks, in a pod: not root, a root file system that cannot be written, a token, an annotation.
// It prints the annotation and ends by writing the termination message.
func worker() error {
	if os.Getuid() == 0 {
		return fmt.Errorf("runs as root")
	}
	if err := os.WriteFile("/tmp/x", nil, 0o600); err == nil {
		return fmt.Errorf("the root file system can be written")
	}
	token, err := os.ReadFile("/var/run/windlass/token")
	if err != nil {
		return err
	}
	if strings.Count(string(token), ".") != 2 {
		return fmt.Errorf("the token is no JWT")
	}
	input, err := os.ReadFile("/var/run/windlass/input")
	if err != nil {
		return err
	}
	fmt.Printf("input: %s\n", input)
	return os.WriteFile("/dev/termination-log", []byte("done"), 0o600)
}
