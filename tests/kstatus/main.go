// Says of each Kubernetes object on its standard input, in JSON one after the other, what those who wait for it see:
// the name, the verdict of kstatus (Helm, Flux) and that of the script for Argo CD, between tabs.
//
//	kstatus ../../manifests/argocd-health.yaml < objects.json
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	scripts, err := healthScripts(os.Args[1])
	if err != nil {
		return err
	}
	objects := json.NewDecoder(os.Stdin)
	for {
		var object map[string]any
		if err := objects.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		// As a client reads it: whole numbers are int64.
		shown := &unstructured.Unstructured{}
		text, err := json.Marshal(object)
		if err != nil {
			return err
		}
		if err := shown.UnmarshalJSON(text); err != nil {
			return err
		}
		verdict, err := status.Compute(shown)
		if err != nil {
			return err
		}
		argo := "none"
		if script, ok := scripts["resource.customizations.health.windlass.dev_"+shown.GetKind()]; ok {
			if argo, err = health(script, shown.Object); err != nil {
				return err
			}
		}
		fmt.Printf("%s\t%s\t%s\n", shown.GetName(), verdict.Status, argo)
	}
}

// healthScripts reads the keys that the file adds to Argo CD's ConfigMap.
func healthScripts(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var patch struct {
		Data map[string]string `json:"data"`
	}
	return patch.Data, yaml.Unmarshal(text, &patch)
}

// health runs a script as Argo CD does: the object is the global `obj`, and the script returns a table.
func health(script string, object map[string]any) (string, error) {
	state := lua.NewState()
	defer state.Close()
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", err
	}
	said, ok := state.Get(-1).(*lua.LTable)
	if !ok || said.RawGetString("message").Type() != lua.LTString {
		return "", fmt.Errorf("the script returns no table with a status and a message")
	}
	return said.RawGetString("status").String(), nil
}

// value is a JSON value in Lua.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, each := range from {
			table.RawSetString(key, value(state, each))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, each := range from {
			table.Append(value(state, each))
		}
		return table
	case string:
		return lua.LString(from)
	case bool:
		return lua.LBool(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	default:
		return lua.LNil
	}
}
