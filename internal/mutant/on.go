//go:build mutant

package mutant

import "os"

// active is the bug that CHRONIK_MUTANT names, until Select names another.
var active = Bug(os.Getenv("CHRONIK_MUTANT"))

// On reports whether bug is in force.
func On(bug Bug) bool { return active == bug }

// Select puts a bug in force in the place of the one before; "" ends that. Nothing may run meanwhile that
// asks.
func Select(bug Bug) { active = bug }
