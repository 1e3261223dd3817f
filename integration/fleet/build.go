package fleet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds the broker of the module at root into dir and returns the binary's path. CHRONIK_BIN names one to take instead.
func Build(ctx context.Context, root, dir string) (string, error) {
	if given := os.Getenv("CHRONIK_BIN"); given != "" {
		return filepath.Abs(given)
	}
	path := filepath.Join(dir, "chronik")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/chronik")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/chronik: %w\n%s", err, out)
	}
	return path, nil
}
