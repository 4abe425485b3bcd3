package settings

import (
	"math"
	"runtime/debug"
)

// ballast is what Ballast weighs, in bytes.
const ballast = 16 << 20

// Ballast is memory that is never touched, and so takes none, but counts as the
// heap does when the garbage collector decides how far it may grow: to twice its
// size. A replica's own heap is a few megabytes, and under load it would be
// collected thirty times a second; with ballast a scrape takes a tenth less of
// the processor, and a busy process about 20 MB more. Keep it alive for as long
// as the process is to run so. It is nil where GOMEMLIMIT bounds the memory,
// which would count it.
func Ballast() []byte {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return nil
	}
	return make([]byte, ballast)
}
