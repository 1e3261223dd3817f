package broker

import (
	"path/filepath"
	"testing"

	"github.com/chronik-stream/chronik/internal/vfs"
)

// TestDataDirSurvives: after the first start a loss of power takes no directory of the data directory's
// path, be they new or not. A node that lost its identity would be another one, and a stranger to its voters.
func TestDataDirSurvives(t *testing.T) {
	for _, existing := range []string{"/", "/srv", "/srv/chronik", "/srv/chronik/data"} {
		m := vfs.NewMem()
		if err := m.MkdirAll(existing); err != nil {
			t.Fatal(err)
		}
		for dir := existing; ; dir = filepath.Dir(dir) { // as if it had been there for long
			if err := m.SyncDir(dir); err != nil {
				t.Fatal(err)
			}
			if dir == "/" {
				break
			}
		}
		if err := makeDurable(m, "/srv/chronik/data", "/srv/chronik/data/log"); err != nil {
			t.Fatal(err)
		}
		if _, err := m.CrashLoseAll().Stat("/srv/chronik/data/log"); err != nil {
			t.Errorf("with %s there before: %v", existing, err)
		}
	}
}
