//go:build mutant

package mutant

import "os"

// active is the bug that CHRONIK_MUTANT names, for the life of the process.
var active = Bug(os.Getenv("CHRONIK_MUTANT"))

// On reports whether bug is in force.
func On(bug Bug) bool { return active == bug }
