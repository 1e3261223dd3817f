package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// configFile is the --config flag: reading it gives a value to every flag that neither the command line
// nor the environment has set.
type configFile string

// BeforeResolve is kong's hook between reading the command line and filling in what it left open.
func (c configFile) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	path, _ := ctx.FlagValue(trace.Flag).(configFile)
	data, err := os.ReadFile(string(path))
	if err != nil {
		return err
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	known := map[string]bool{}
	for _, flag := range ctx.Selected().Flags {
		known[flag.Name] = true
	}
	for key := range values {
		if !known[key] {
			return fmt.Errorf("%s: no flag is called %q", path, key)
		}
	}
	ctx.AddResolver(resolver(values))
	return nil
}

func resolver(values map[string]any) kong.ResolverFunc {
	return func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if slices.ContainsFunc(flag.Envs, func(name string) bool { _, set := os.LookupEnv(name); return set }) {
			return nil, nil // the environment wins
		}
		switch v := values[flag.Name].(type) {
		case map[string]any: // --set
			var pairs []string
			for key, value := range v {
				pairs = append(pairs, fmt.Sprintf("%s=%v", key, value))
			}
			slices.Sort(pairs)
			return strings.Join(pairs, string(flag.Tag.MapSep)), nil
		default:
			return v, nil
		}
	}
}
