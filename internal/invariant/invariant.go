// Package invariant states what must be true of Chronik itself, not of its input. The cheap checks
// stay on in production: a broker that knows its state to be wrong must not go on writing.
package invariant

import "fmt"

// Check panics if cond is false. It is for our own mistakes, never for bad input or a failing world.
func Check(cond bool, format string, args ...any) {
	if !cond {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}
