//go:build unix && !race

package stores

const raceDetector = false
