//go:build race

package e2e

// raceEnabled: the commands are built with the race detector as the tests are.
const raceEnabled = true
