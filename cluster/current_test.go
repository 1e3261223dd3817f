package cluster

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAnAnswerWithoutAnIndexProvesNothing (I18): a node is up to date once it has applied what the controller had, and cannot
// be where the controller did not say.
func TestAnAnswerWithoutAnIndexProvesNothing(t *testing.T) {
	n := &Node{o: Options{SessionTimeout: time.Second, Now: time.Now}}
	if err := n.heartbeatAnswer(kmsg.NewPtrBrokerHeartbeatResponse(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n.OutOfTouch() || !n.MayBeFenced() {
		t.Errorf("out of touch %v, may be fenced %v", n.OutOfTouch(), n.MayBeFenced())
	}
}
