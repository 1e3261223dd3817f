package wire

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// roundTrip sends n pipelined requests and reads their replies, without decoding them.
func roundTrip(nc net.Conn, requests, replies []byte) error {
	if _, err := nc.Write(requests); err != nil {
		return err
	}
	_, err := io.ReadFull(nc, replies)
	return err
}

const heartbeatReplySize = 16

// TestAllocationsPerRequest: a small request costs its Request, what kmsg decodes into, and what the
// handler makes.
func TestAllocationsPerRequest(t *testing.T) {
	s := startServer(t, Options{}, heartbeatAPI(echo))
	c := s.dial()
	request, reply := heartbeats(0, 1), make([]byte, heartbeatReplySize)
	got := testing.AllocsPerRun(2000, func() {
		if err := roundTrip(c.nc, request, reply); err != nil {
			t.Fatal(err)
		}
	})
	// Request, kmsg's request and its two strings, the handler's response; and one to spare for pools
	// that lose things, as they do on purpose under the race detector.
	if got > 6 {
		t.Errorf("%v allocations per request, want 5", got)
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	for _, depth := range []int{1, 5, 50} {
		b.Run(fmt.Sprintf("pipelined=%d", depth), func(b *testing.B) {
			s := startServer(b, Options{}, heartbeatAPI(echo))
			c := s.dial()
			requests, replies := heartbeats(0, int32(depth)), make([]byte, depth*heartbeatReplySize)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if err := roundTrip(c.nc, requests, replies); err != nil {
					b.Fatal(err)
				}
				n += depth
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// BenchmarkLateReply has every reply made by another goroutine.
func BenchmarkLateReply(b *testing.B) {
	requests := make(chan *Request, 100)
	s := startServer(b, Options{}, heartbeatAPI(func(r *Request) { requests <- r }))
	defer close(requests)
	go func() {
		for r := range requests {
			echo(r)
		}
	}()
	c := s.dial()
	request, reply := heartbeats(0, 1), make([]byte, heartbeatReplySize)
	for b.Loop() {
		if err := roundTrip(c.nc, request, reply); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProduceFrame(b *testing.B) {
	for _, kib := range []int{1, 16, 1024} {
		b.Run(fmt.Sprintf("batch=%dKiB", kib), func(b *testing.B) {
			s := startServer(b, Options{}, API{Key: 0, Min: 9, Max: 9, Handle: func(r *Request) {
				_ = r.Body.(*kmsg.ProduceRequest)
				r.ReplyParts([]Part{{Bytes: []byte("0123456")}}, nil)
			}})
			c := s.dial()
			request, reply := frame(produce(9, make([]byte, kib<<10)), 0), make([]byte, 16)
			if err := roundTrip(c.nc, frame(produce(9, nil), 0), reply); err != nil { // the first one must be small
				b.Fatal(err)
			}
			b.SetBytes(int64(len(request)))
			b.ReportAllocs()
			for b.Loop() {
				if err := roundTrip(c.nc, request, reply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFileReply(b *testing.B) {
	for _, kib := range []int{16, 64, 1024} {
		for _, how := range []string{"sendfile", "pread"} {
			b.Run(fmt.Sprintf("range=%dKiB/%s", kib, how), func(b *testing.B) {
				file, _ := openTestFile(b, 1<<20)
				part := Part{File: file, Len: int64(kib << 10)}
				if how == "pread" {
					part.File = plainFile{file}
				}
				parts := []Part{{Bytes: make([]byte, 60)}, part}
				s := startServer(b, Options{}, partsAPI(func() ([]Part, func()) { return parts, nil }))
				c := s.dial()
				request, reply := handshake(0), make([]byte, 8+60+kib<<10)
				b.SetBytes(int64(len(reply)))
				for b.Loop() {
					if err := roundTrip(c.nc, request, reply); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
