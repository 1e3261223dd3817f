//go:build race

package log

// raceEnabled tells that this test binary runs several times slower.
const raceEnabled = true
