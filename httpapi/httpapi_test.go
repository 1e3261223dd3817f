package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// state is a node whose health the test decides.
type state struct{ alive, ready error }

func (s *state) Alive() error     { return s.alive }
func (s *state) Ready() error     { return errors.Join(s.alive, s.ready) }
func (s *state) Raft() Raft       { return Raft{State: "leader", Servers: []RaftServer{}} }
func (s *state) Cluster() Cluster { return Cluster{Controller: 3, Brokers: []Broker{}} }
func (s *state) Topics() []Topic  { return nil }
func (s *state) Topic(name string) (TopicDetail, bool) {
	return TopicDetail{Topic: Topic{Name: name}}, name == "a.b"
}
func (s *state) Groups() []Group                       { return []Group{{Name: "g"}} }
func (s *state) Group(name string) (GroupDetail, bool) { return GroupDetail{}, false }

func TestEndpoints(t *testing.T) {
	node := &state{}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_test_total", Help: "A counter."}))
	handler := New(node, registry)
	starting, dead := errors.New("the node is starting"), errors.New("the disk is gone")
	for _, c := range []struct {
		method, path string
		alive, ready error
		status       int
		contains     string
	}{
		{"GET", "/healthz", nil, starting, 200, `"ok"`},
		{"GET", "/healthz", dead, nil, 503, "the disk is gone"},
		{"GET", "/readyz", nil, nil, 200, `"ok"`},
		{"GET", "/readyz", nil, starting, 503, "the node is starting"},
		{"GET", "/metrics", nil, starting, 200, "chronik_test_total"},
		{"GET", "/v1/raft", nil, nil, 200, `"state": "leader"`},
		{"GET", "/v1/raft", nil, starting, 503, "the node is starting"},
		{"GET", "/v1/cluster", nil, nil, 200, `"controller": 3`},
		{"GET", "/v1/cluster", nil, starting, 503, "the node is starting"},
		{"POST", "/v1/cluster", nil, nil, 404, "no such endpoint: POST"},
		{"GET", "/v1/topics", nil, nil, 200, `"topics": []`},
		{"GET", "/v1/topics/a.b", nil, nil, 200, `"name": "a.b"`},
		{"GET", "/v1/topics/none", nil, nil, 404, "no such topic: none"},
		{"GET", "/v1/groups", nil, nil, 200, `"name": "g"`},
		{"GET", "/v1/groups/none", nil, nil, 404, "no such group: none"},
		{"GET", "/nowhere", nil, nil, 404, "no such endpoint"},
		{"POST", "/v1/topics", nil, nil, 404, "no such endpoint: POST"},
	} {
		node.alive, node.ready = c.alive, c.ready
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.contains) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.method, c.path, w.Code, w.Body, c.status, c.contains)
		}
		if c.path != "/metrics" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: not JSON: %s", c.method, c.path, w.Body)
		}
	}
	node.alive = nil
	if got := head(handler); got != http.StatusOK {
		t.Errorf("a head request: %d", got)
	}
}

// head asks as load balancers do.
func head(h http.Handler) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/healthz", nil))
	return w.Code
}
