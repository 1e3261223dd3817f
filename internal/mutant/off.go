//go:build !mutant

package mutant

// On reports whether bug is in force. In a normal build it is the constant false and costs nothing.
func On(Bug) bool { return false }
