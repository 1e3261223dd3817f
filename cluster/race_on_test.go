//go:build race

package cluster

// raceEnabled tells that the race detector looks on.
const raceEnabled = true
