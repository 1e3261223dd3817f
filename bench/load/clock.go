package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// epoch is the zero of Now: some moment of this process. Monotonic, so that no step of the wall clock
// becomes a latency.
var epoch = time.Now()

// Now is the time in ns since some moment of this process, which is what stamps hold.
func Now() int64 { return int64(time.Since(epoch)) }

// pacer wakes its goroutine at chosen times, some 10 µs late; the runtime's timers may be a whole
// millisecond late, which would be most of what an open-loop run measures. It sleeps in the kernel, on
// a thread of its own.
type pacer struct{}

// newPacer ties the calling goroutine to its thread until release. The thread must not end with the
// goroutine: a broker that was started from it would get its parent-death signal.
func newPacer() pacer {
	runtime.LockOSThread()
	// A failure leaves the default slack of 50 µs: less exact, not wrong.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return pacer{}
}

func (pacer) release() { runtime.UnlockOSThread() }

// maxNap bounds a single sleep, so that a stop is noticed in time.
const maxNap = 20 * time.Millisecond

// until sleeps until Now is at least t, or stop says true.
func (pacer) until(t int64, stop func() bool) {
	for !stop() {
		left := time.Duration(t - Now())
		if left <= 0 {
			return
		}
		nap := unix.NsecToTimespec(int64(min(left, maxNap)))
		_ = unix.Nanosleep(&nap, nil) // interrupted or not, the loop looks at the clock
	}
}
