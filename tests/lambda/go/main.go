// A function for AWS Lambda, with its public client for Go.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

var calls int

func handle(ctx context.Context, event map[string]any) (map[string]any, error) {
	calls++
	switch event["do"] {
	case "fail":
		return nil, errors.New("no such thing")
	case "panic":
		panic("a bug")
	case "exit":
		os.Exit(9)
	case "sleep":
		time.Sleep(time.Hour)
	}
	told, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return map[string]any{
		"event": event, "calls": calls, "pid": os.Getpid(), "id": told.AwsRequestID,
		"deadline": deadline.UTC().Format(time.RFC3339), "function": lambdacontext.FunctionName,
	}, nil
}

func main() { lambda.Start(handle) }
