package fleet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are chosen below the range from which Linux takes those of outgoing connections (32768 and up): the port of a
// node that is down must not be given to a client in the meantime.
const (
	firstPort = 10000
	lastPort  = 32000
)

// taken are the ports that this process has given out, so that two nodes on one address do not get the same.
var taken struct {
	sync.Mutex
	addresses map[string]bool
}

// freeAddress is an address on ip that nobody listens on, neither by TCP nor by UDP.
func freeAddress(ip string) (string, error) {
	taken.Lock()
	defer taken.Unlock()
	if taken.addresses == nil {
		taken.addresses = map[string]bool{}
	}
	var last error
	for range 200 {
		address := net.JoinHostPort(ip, strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		if taken.addresses[address] {
			continue
		}
		if last = probe(address); last == nil {
			taken.addresses[address] = true
			return address, nil
		}
	}
	return "", fmt.Errorf("no free port on %s: %w", ip, last)
}

func probe(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return errors.Join(l.Close(), u.Close())
}
