// What Argo Workflows makes of a workflow with a `resource` template, by Argo's own types and conditions.
//
//	argo WORKFLOW.yaml NAME                 prints the manifest that a workflow of this name applies
//	argo WORKFLOW.yaml NAME < objects.json  also says of each object what becomes of the step: Succeeded, Failed or Running
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/argoproj/argo-workflows/v4/pkg/apis/workflow/v1alpha1"
	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path, name string) error {
	resource, err := resourceOf(path)
	if err != nil {
		return err
	}
	fmt.Println(strings.ReplaceAll(resource.Manifest, "{{workflow.name}}", name))
	success, err := labels.Parse(resource.SuccessCondition)
	if err != nil {
		return err
	}
	failure, err := labels.Parse(resource.FailureCondition)
	if err != nil {
		return err
	}
	objects := json.NewDecoder(os.Stdin)
	for {
		var object json.RawMessage
		if err := objects.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		fmt.Println(verdict(fields(object), success, failure))
	}
}

// resourceOf reads the workflow, which may have no field that Argo does not know, and gives what its step applies.
func resourceOf(path string) (*v1alpha1.ResourceTemplate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var workflow v1alpha1.Workflow
		if yaml.Unmarshal(document, &workflow) != nil || workflow.Kind != "Workflow" {
			continue
		}
		if err := yaml.UnmarshalStrict(document, &workflow); err != nil {
			return nil, err
		}
		for _, template := range workflow.Spec.Templates {
			if template.Resource != nil {
				return template.Resource, nil
			}
		}
	}
	return nil, fmt.Errorf("%s has no workflow with a resource template", path)
}

// verdict is what Argo's executor decides: each part of a failure condition alone fails the step, and all of a success
// condition must hold.
func verdict(object fields, success, failure labels.Selector) string {
	requirements, _ := failure.Requirements()
	for _, requirement := range requirements {
		if requirement.Matches(object) {
			return "Failed"
		}
	}
	if success.Matches(object) {
		return "Succeeded"
	}
	return "Running"
}

// fields of an object by their paths, as Argo gives them to Kubernetes' label selectors.
type fields []byte

func (object fields) Has(path string) bool { return gjson.GetBytes(object, path).Exists() }

func (object fields) Get(path string) string { return gjson.GetBytes(object, path).String() }

func (object fields) Lookup(path string) (string, bool) { return object.Get(path), object.Has(path) }
