//go:build race

package sim

// raceEnabled tells that this test binary runs several times slower.
const raceEnabled = true
