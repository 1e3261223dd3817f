package groups

import (
	"flag"
	"os"
	"testing"
)

// TestMain gives the properties more room than rapid's defaults, unless the command line says how much.
func TestMain(m *testing.M) {
	flag.Parse()
	room := map[string]string{"rapid.checks": "3000", "rapid.steps": "80"}
	if testing.Short() {
		room["rapid.checks"] = "300"
	}
	flag.Visit(func(f *flag.Flag) { delete(room, f.Name) })
	for name, value := range room {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
