package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestBadInput sends what no client should: whatever comes, the process lives, others are served meanwhile, its memory
// stays bounded, and nothing bad is stored. The cases share one broker, so that what one leaves behind the next one meets.
func TestBadInput(t *testing.T) {
	b := startBroker(t)
	rng := rand.New(rand.NewPCG(uint64(seed(t)), 0))
	served := startNeighbour(t, b)
	files := b.openFiles(t)
	t.Run("Frames", func(t *testing.T) { testBadFrames(t, b, rng) })
	t.Run("HalfSent", func(t *testing.T) { testHalfSent(t, b) })
	t.Run("Truncated", func(t *testing.T) { testTruncated(t, b) })
	t.Run("Batches", func(t *testing.T) { testBadBatches(t, b) })
	t.Run("TooLarge", func(t *testing.T) { testTooLarge(t, b) })
	t.Run("Bombs", func(t *testing.T) { testBombs(t, b) })
	b.alive(t)
	count, slowest, err := served()
	t.Logf("meanwhile a neighbour was served %d times, the slowest took %v", count, slowest.Round(time.Millisecond))
	if err != nil {
		t.Errorf("a neighbour was not served: %v", err)
	}
	if limit := 10 * time.Second; slowest > limit {
		t.Errorf("a neighbour waited %v, more than %v", slowest, limit)
	}
	// What the cases opened is closed again on the other side too.
	if !eventually(t.Context(), 15*time.Second, func() bool { return b.openFiles(t) <= files+20 }) {
		t.Errorf("%d open files before, %d after", files, b.openFiles(t))
	}
}

// startNeighbour produces one record after the other until it is asked how that went.
func startNeighbour(t *testing.T, b *broker) (served func() (count int, slowest time.Duration, err error)) {
	t.Helper()
	groupTopic(t.Context(), t, b.kafka, "neighbour", 1)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.DefaultProduceTopic("neighbour"), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var count int
	var slowest time.Duration
	var failure error
	wg.Go(func() {
		defer cl.Close()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for failure == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			began := time.Now()
			one, done := context.WithTimeout(context.Background(), 20*time.Second)
			failure = cl.ProduceSync(one, &kgo.Record{Value: []byte("hello")}).FirstErr()
			done()
			slowest = max(slowest, time.Since(began))
			count++
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return func() (int, time.Duration, error) {
		cancel()
		wg.Wait()
		return count, slowest, failure
	}
}

// reaction is what the broker did with the bytes it was sent.
type reaction string

const (
	closed   reaction = "closed"   // the connection
	answered reaction = "answered" // with anything
	silent   reaction = "silent"   // for reactionDeadline
)

const reactionDeadline = 5 * time.Second

// react sends bytes over a new connection.
func react(t *testing.T, addr string, payload []byte) reaction {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, reactionDeadline)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(reactionDeadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(payload); err != nil {
		return closed
	}
	var one [1]byte
	_, err = io.ReadFull(conn, one[:])
	var timeout net.Error
	switch {
	case err == nil:
		return answered
	case errors.As(err, &timeout) && timeout.Timeout():
		return silent
	}
	return closed
}

// sized puts a length in front of bytes, which need not be theirs.
func sized(size int32, body []byte) []byte {
	var b wireBuf
	b.i32(size)
	return append(b, body...)
}

func testBadFrames(t *testing.T, b *broker, rng *rand.Rand) {
	garbage := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte(rng.Uint32())
		}
		return out
	}
	header := func(key, version int16, clientID int16) []byte {
		var h wireBuf
		h.i16(key)
		h.i16(version)
		h.i32(7)
		h.i16(clientID)
		return h
	}
	cases := map[string][]byte{
		"a negative size":            sized(-1, nil),
		"the most negative size":     sized(-1<<31, garbage(64)),
		"the largest size":           sized(1<<31-1, garbage(64)),
		"one byte over the limit":    sized(100<<20+1, garbage(64)),
		"an unknown API":             frame(9999, 0, 1, nil),
		"a negative API":             frame(-1, 0, 1, nil),
		"an unknown version":         frame(keyMetadata, 32767, 1, garbage(32)),
		"a negative version":         frame(keyFetch, -1, 1, garbage(32)),
		"a client id of length -2":   sized(10, header(keyMetadata, 0, -2)),
		"a client id past the frame": sized(10, header(keyMetadata, 0, 300)),
		"a name of a negative size":  frame(keyMetadata, 1, 1, []byte{0, 0, 0, 1, 0xff, 0xf0}),
		"two thousand million names": frame(keyMetadata, 1, 1, []byte{0x77, 0x35, 0x94, 0}),
		"HTTP":                       []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"TLS":                        append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, garbage(512)...),
	}
	for n := range 8 {
		cases[fmt.Sprintf("a frame of %d bytes", n)] = sized(int32(n), garbage(n))
	}
	for name, payload := range cases {
		if got := react(t, b.kafka, payload); got != closed {
			t.Errorf("%s: the broker %s, want closed", name, got)
		}
	}
	// The one request that is answered whatever its version; the first byte is the header's empty tag section.
	if got := react(t, b.kafka, frame(int16(kmsg.ApiVersions), 99, 1, append([]byte{0}, garbage(16)...))); got != answered {
		t.Errorf("ApiVersions v99: the broker %s, want answered", got)
	}
	for range 200 { // the size is right, so that all of it is looked at
		n := 8 + rng.IntN(300)
		body := garbage(n)
		body[0], body[2], body[3] = 0, 0, byte(rng.IntN(12)) // mostly keys and versions that exist
		body[1] = byte(rng.IntN(80))
		if got := react(t, b.kafka, sized(int32(n), body)); got == silent {
			t.Errorf("garbage %x: the broker is silent", body)
		}
	}
}

// testHalfSent leaves requests unfinished: many connections at once, some that announce far more than they send.
func testHalfSent(t *testing.T, b *broker) {
	before := b.procStatus(t, "VmRSS")
	announced := int32(64 << 20)
	if isReference() {
		announced = 1 << 20 // Kafka allocates what is announced, and would run out of its heap
	}
	whole := frame(keyMetadata, 1, 1, []byte{0, 0, 0, 0})
	for i := range 200 {
		conn, err := net.DialTimeout("tcp", b.kafka, reactionDeadline)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		payload := whole[:1+i%(len(whole)-1)]
		if i%4 == 0 {
			payload = sized(announced, make([]byte, 100))
		}
		if _, err := conn.Write(payload); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	// All of them wait, and a newcomer is served.
	if got := react(t, b.kafka, whole); got != answered {
		t.Errorf("beside 200 half-sent requests the broker %s", got)
	}
	if grown := b.procStatus(t, "VmRSS") - before; grown > 256<<10 {
		t.Errorf("200 half-sent requests cost %d MB", grown>>10)
	}
}
