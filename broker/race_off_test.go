//go:build !race

package broker

// raceEnabled tells that this test binary runs several times slower.
const raceEnabled = false
