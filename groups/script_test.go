package groups

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/uuid"
	"github.com/chronik-stream/chronik/raftmeta"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestScripts plays testdata/*.txt against the core and compares what comes out. A stanza is
// commands, "----", and their output; lines with # are comments. See (*script).run for the commands.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
	}
}

func playFile(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	s := newScript()
	for i, stanza := range strings.Split(strings.TrimSpace(string(raw)), "\n\n") {
		if i > 0 {
			got.WriteString("\n")
		}
		input, _, _ := strings.Cut(stanza, "\n----")
		commands := 0
		for line := range strings.Lines(input) {
			line = strings.TrimSpace(line)
			got.WriteString(line + "\n")
			if line != "" && !strings.HasPrefix(line, "#") {
				commands++
				s.run(line)
			}
		}
		if commands > 0 {
			got.WriteString("----\n" + s.take())
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(raw), got.String()); diff != "" {
		t.Errorf("transcript differs (-want +got):\n%s", diff)
	}
}

// script is a group, its clock, and a transcript. Members are called by the names that the script
// gives them: @name is the id that name was given last.
type script struct {
	g       *group
	now     time.Time
	ids     map[string]string
	lastID  int
	saved   *raftmeta.Group
	out     strings.Builder
	maxSize int
	delay   time.Duration
	session int // ms, of those who join
}

var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func newScript() *script {
	return &script{g: newGroup("", "g"), now: epoch, ids: map[string]string{}, maxSize: 100, delay: 3 * time.Second, session: 30_000}
}

func (s *script) take() string {
	defer s.out.Reset()
	return s.out.String()
}

func (s *script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *script) id(arg string) string {
	if name, ok := strings.CutPrefix(arg, "@"); ok {
		return s.ids[name]
	}
	return arg
}

// run plays one command: verb, then key=value arguments.
func (s *script) run(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	who, args := "", map[string]string{}
	for field := range strings.FieldsSeq(rest) {
		if k, v, ok := strings.Cut(field, "="); ok {
			args[k] = v
		} else {
			who = field
		}
	}
	var fx effects
	switch verb {
	case "new": // forget everything
		*s = *newScript()
	case "config":
		s.maxSize, s.delay = intArg(args, "max", s.maxSize), time.Duration(intArg(args, "delay", 3000))*time.Millisecond
		s.session = intArg(args, "session", s.session)
	case "join":
		s.join(who, args, &fx)
	case "sync":
		s.sync(who, args, &fx)
	case "heartbeat":
		s.printf("%s: %s", who, codeName(s.g.heartbeat(s.now, s.ids[who], args["instance"], s.generation(args))))
	case "leave":
		s.leave(args, &fx)
	case "commit":
		ev := &commitEvent{memberID: s.ids[who], instanceID: args["instance"], generation: s.generation(args)}
		ev.reply = func(code Code) { s.printf("%s: commit %s", who, codeName(code)) }
		if s.g.commitWaits() {
			s.g.handle(s.now, ev, &fx)
		} else {
			ev.reply(s.g.beginCommit(s.now, ev))
		}
	case "endcommit":
		s.g.endCommit(args["stored"] != "no")
	case "delete":
		s.g.handle(s.now, &deleteEvent{reply: func(code Code) { s.printf("delete %s", codeName(code)) }}, &fx)
	case "deleteoffsets":
		s.deleteOffsets(args, &fx)
	case "after":
		s.after(who)
	case "store": // ok, fail or unknown
		s.settle(who, &fx)
	case "restart":
		s.g = restoreGroup(s.saved, s.now)
	case "move": // to another coordinator
		s.g.close(s.now, raftmeta.ErrStaleCoordinator, &fx)
		s.finish(&fx)
		fx = effects{}
		s.g = restoreGroup(s.saved, s.now)
	case "close":
		s.g.close(s.now, errClosed, &fx)
	case "state":
		s.state()
	case "describe":
		s.describe()
	default:
		s.printf("unknown command %q", verb)
	}
	s.finish(&fx)
}

func (s *script) finish(fx *effects) {
	fx.deliver()
	if fx.op != nil {
		switch op := fx.op; op.kind {
		case opSave:
			s.printf("save %s", s.durable(op.group))
		case opDeleteGroup:
			s.printf("delete the group")
		case opDeleteOffsets:
			s.printf("delete %d offsets", len(op.keys))
		}
	}
}

func (s *script) durable(g *raftmeta.Group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation=%d protocol=%s leader=%s", g.Generation, g.Protocol, show(g.Leader))
	if g.EmptySince != 0 {
		fmt.Fprintf(&b, " emptySince=+%v", time.UnixMilli(g.EmptySince).Sub(epoch))
	}
	for _, m := range g.Members {
		fmt.Fprintf(&b, " %s:%q", show(m.ID), m.Assignment)
	}
	return b.String()
}

func (s *script) settle(outcome string, fx *effects) {
	err := map[string]error{"fail": errors.New("disk on fire"), "unknown": raftmeta.ErrOutcomeUnknown}[outcome]
	op := s.g.op
	switch {
	case op == nil:
		s.printf("nothing is in flight")
		return
	case op.unsettled(err): // the shell reads the group again
		floor := s.g.inDoubt()
		s.g.close(s.now, err, fx)
		s.g = restoreGroup(s.saved, s.now)
		s.g.floor = floor
		return
	case err == nil && op.kind == opSave:
		s.saved = op.group
	}
	s.g.settled(s.now, err, fx)
}

// after lets time pass, from one deadline to the next.
func (s *script) after(span string) {
	d, err := time.ParseDuration(span)
	if err != nil {
		s.printf("%v", err)
		return
	}
	end := s.now.Add(d)
	for range 1000 {
		next := s.g.deadline()
		if next.IsZero() || next.After(end) {
			s.now = end
			return
		}
		if next.After(s.now) {
			s.now = next
		}
		var fx effects
		before := s.out.Len()
		s.g.tick(s.now, &fx)
		s.finish(&fx)
		if s.out.Len() > before {
			s.printf("  (at +%v)", s.now.Sub(epoch))
		}
	}
	s.printf("time stands still at +%v", s.now.Sub(epoch))
}

func (s *script) join(who string, args map[string]string, fx *effects) {
	s.lastID++
	e := &joinEvent{
		JoinRequest: JoinRequest{
			Group: "g", Version: int16(intArg(args, "v", 9)), MemberID: s.id(args["id"]), InstanceID: args["instance"], ClientID: who,
			SessionTimeout:   int32(intArg(args, "session", s.session)),
			RebalanceTimeout: int32(intArg(args, "rebalance", 60_000)),
			ProtocolType:     strArg(args, "type", "consumer"),
		},
		newID: fmt.Sprintf("%s-%d", who, s.lastID), maxSize: s.maxSize, initialDelay: s.delay,
	}
	if _, ok := args["again"]; ok { // with the id it has
		e.MemberID = s.ids[who]
	}
	for p := range strings.SplitSeq(strArg(args, "protocols", "range"), ",") {
		name, topics, _ := strings.Cut(p, ":")
		if name != "" {
			e.Protocols = append(e.Protocols, raftmeta.GroupProtocol{Name: name, Metadata: subscriptionOf(topics)})
		}
	}
	if s.ids[who] == "" { // known to the script before the member is told
		s.ids[who] = e.newID
	}
	e.reply = func(r JoinReply) {
		if r.MemberID != "" && r.Err != kerr.FencedInstanceID.Code {
			s.ids[who] = r.MemberID
		}
		if r.Err != 0 {
			s.printf("%s: join %s id=%s", who, codeName(r.Err), show(r.MemberID))
			return
		}
		line := fmt.Sprintf("%s: joined generation=%d %s/%s leader=%s", who, r.Generation, r.ProtocolType, r.Protocol, show(r.Leader))
		if r.SkipAssignment {
			line += " skip-assignment"
		}
		if r.Members != nil {
			line += " members="
			for _, m := range r.Members {
				line += m.MemberID + ","
			}
		}
		s.printf("%s", line)
	}
	s.g.handle(s.now, e, fx)
}

func subscriptionOf(topics string) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	if topics != "" {
		meta.Topics = strings.Split(topics, "+")
	}
	return meta.AppendTo(nil)
}

func (s *script) generation(args map[string]string) int32 {
	return int32(intArg(args, "generation", int(s.g.generation)))
}

func (s *script) sync(who string, args map[string]string, fx *effects) {
	e := &syncEvent{SyncRequest: SyncRequest{
		Version: int16(intArg(args, "v", 5)), MemberID: s.ids[who], InstanceID: args["instance"], Generation: s.generation(args),
		ProtocolType: strArg(args, "type", "consumer"), Protocol: strArg(args, "protocol", s.g.protocol),
	}}
	for a := range strings.SplitSeq(args["assign"], ",") {
		if id, text, ok := strings.Cut(a, ":"); ok {
			e.Assignments = append(e.Assignments, MemberAssignment{s.id(id), []byte(text)})
		}
	}
	e.reply = func(r SyncReply) {
		if r.Err != 0 {
			s.printf("%s: sync %s", who, codeName(r.Err))
			return
		}
		s.printf("%s: synced %s/%s %q", who, r.ProtocolType, r.Protocol, r.Assignment)
	}
	s.g.handle(s.now, e, fx)
}

func (s *script) leave(args map[string]string, fx *effects) {
	e := &leaveEvent{LeaveRequest: LeaveRequest{Version: int16(intArg(args, "v", 3))}}
	for m := range strings.SplitSeq(args["members"], ",") {
		id, instance, _ := strings.Cut(m, "/")
		e.Members = append(e.Members, LeaveMember{s.id(id), instance})
	}
	e.reply = func(r LeaveReply) {
		line := "leave " + codeName(r.Err)
		for _, m := range r.Members {
			line += fmt.Sprintf(" [%s/%s %s]", show(m.MemberID), m.InstanceID, codeName(m.Err))
		}
		s.printf("%s", line)
	}
	s.g.handle(s.now, e, fx)
}

func (s *script) deleteOffsets(args map[string]string, fx *effects) {
	e := &deleteOffsetsEvent{reply: func(code Code, codes []Code) {
		line := "delete offsets " + codeName(code)
		for _, c := range codes {
			line += " " + codeName(c)
		}
		s.printf("%s", line)
	}}
	for name := range strings.SplitSeq(args["topics"], ",") {
		e.offsets = append(e.offsets, DeleteOffset{Topic: name, TopicID: uuid.ID{name[0]}})
	}
	s.g.handle(s.now, e, fx)
}

func (s *script) state() {
	g := s.g
	line := fmt.Sprintf("%v generation=%d", g.state, g.generation)
	for _, m := range g.order {
		line += " " + show(m.id)
	}
	if len(g.pending) > 0 {
		line += fmt.Sprintf(" pending=%d", len(g.pending))
	}
	if len(g.queued) > 0 {
		line += fmt.Sprintf(" queued=%d", len(g.queued))
	}
	s.printf("%s", line)
}

func (s *script) describe() {
	d := s.g.describe()
	s.printf("%v %s/%s", d.State, d.ProtocolType, d.Protocol)
	for _, m := range d.Members {
		s.printf("  %s instance=%q client=%q metadata=%d bytes assignment=%q", show(m.MemberID), m.InstanceID, m.ClientID, len(m.Metadata), m.Assignment)
	}
}

func codeName(code Code) string {
	if code == 0 {
		return "ok"
	}
	return kerr.ErrorForCode(code).(*kerr.Error).Message
}

func show(id string) string {
	if id == "" {
		return "-"
	}
	return id
}

func strArg(args map[string]string, key, otherwise string) string {
	if v, ok := args[key]; ok {
		return v
	}
	return otherwise
}

func intArg(args map[string]string, key string, otherwise int) int {
	n, err := strconv.Atoi(args[key])
	if err != nil {
		return otherwise
	}
	return n
}
