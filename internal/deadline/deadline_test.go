package deadline

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestCallsComeInOrderAndOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()

		start := time.Now()
		var fired []time.Duration
		delays := []time.Duration{70, 10, 40, 40, 5, 90}
		for _, d := range delays {
			d *= time.Millisecond
			q.At(start.Add(d), func() {
				if late := time.Since(start) - d; late != 0 {
					t.Errorf("the call due after %v came %v late", d, late)
				}
				fired = append(fired, d)
			})
			synctest.Wait() // let Run see each new earliest deadline
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if !slices.IsSorted(fired) || len(fired) != len(delays) {
			t.Errorf("fired %v", fired)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestStoppedCallsNeverHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()

		rng := rand.New(rand.NewPCG(1, 2))
		calls := make([]int, 500)
		entries := make([]*Entry, len(calls))
		for i := range entries {
			entries[i] = q.At(time.Now().Add(time.Duration(rng.IntN(1000))*time.Millisecond), func() { calls[i]++ })
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		for i, e := range entries {
			before := calls[i]
			stopped := q.Stop(e)
			if stopped == (before == 1) {
				t.Errorf("entry %d: Stop says %v after %d calls", i, stopped, before)
			}
			if stopped {
				calls[i] = 1 // so that a late call shows as 2
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i, n := range calls {
			if n != 1 {
				t.Errorf("entry %d was called after it was stopped, or twice: %d", i, n)
			}
		}
		if q.Len() != 0 {
			t.Errorf("%d entries left", q.Len())
		}
		cancel()
		<-done
	})
}

func TestExpireEndsAllWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()
		start, calls := time.Now(), 0
		for i := range 3 {
			q.At(start.Add(time.Duration(i)*time.Hour), func() { calls++ })
		}
		q.Expire()
		synctest.Wait()
		q.At(start.Add(time.Hour), func() { calls++ })
		synctest.Wait()
		if calls != 4 || time.Since(start) != 0 {
			t.Errorf("%d calls after %v", calls, time.Since(start))
		}
		cancel()
		<-done
	})
}
