package wire

import (
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrorResponse makes the response to a request that failed as a whole: every place for an error that
// the schema has and the request names (each partition of a Produce, each topic of a Metadata, each
// group of a DescribeGroups) holds code, as Kafka's getErrorResponse does. What a successful answer
// would have filled has the value that means nothing: -1 for offsets and nodes, null for records.
//
// It walks both structs by reflection and is not for the hot path. A request that names nothing (a
// Metadata for all topics, a DescribeLogDirs before v3) yields a response without a place for the code.
func ErrorResponse(req kmsg.Request, code int16) kmsg.Response {
	resp := req.ResponseKind()
	m := mirror{key: req.Key(), version: req.GetVersion(), code: code}
	m.structure(reflect.ValueOf(resp).Elem(), reflect.ValueOf(req).Elem())
	blank(req, resp)
	return resp
}

// mirror fills a response from the request it answers.
type mirror struct {
	key, version int16
	code         int16
}

// identities are the fields by which an element of a response says which element of the request it is
// about. Others that happen to have the same name (Timestamp, LeaderEpoch) are results.
var identities = []string{
	"Topic", "TopicID", "Partition", "Group", "GroupID", "Key", "ResourceType", "ResourceName", "ProducerID",
	"TransactionalID", "Type", "Name", "Feature", "ID",
}

// mirrored names the field of the request behind a field of the response, where the names differ.
var mirrored = map[int16]map[string][]string{
	4:  {"Partitions": {"PartitionStates"}, "Topics": {"TopicStates"}},
	10: {"Coordinators": {"CoordinatorKeys"}},
	20: {"Topics": {"Topics", "TopicNames"}},
	30: {"Results": {"Creations"}},
	31: {"Results": {"Filters"}},
	50: {"Results": {"Users"}, "User": {"Name"}},
	51: {"Results": {"Deletions", "Upsertions"}, "User": {"Name"}},
	65: {"TransactionStates": {"TransactionalIDs"}},
	77: {"Groups": {"GroupIDs"}},
}

// topOnly tells for which arrays Kafka leaves the error to the level above.
func (m *mirror) topOnly(field string) bool {
	switch m.key {
	case 1: // Fetch: without names there is nothing to say per partition
		return m.version >= 13
	case 9: // OffsetFetch
		return field == "Topics" && m.version >= 2
	case 13, 47, 57: // LeaveGroup, OffsetDelete, UpdateFeatures
		return true
	case 24: // AddPartitionsToTxn
		return m.version >= 4
	default:
		return false
	}
}

func (m *mirror) structure(dst, src reflect.Value) {
	for i := range dst.NumField() {
		name, field := dst.Type().Field(i).Name, dst.Field(i)
		switch {
		case name == "ErrorCode":
			field.SetInt(int64(m.code))
		case field.Kind() == reflect.Slice && (name == "Entity" || holdsErrors(field.Type().Elem())):
			if !m.topOnly(name) {
				m.slice(field, src, name)
			}
		}
	}
}

// slice gives field an element for each of the request's.
func (m *mirror) slice(field, src reflect.Value, name string) {
	if src.Kind() != reflect.Struct {
		return
	}
	if m.key == keyAlterReplicaLogDirs && name == "Topics" && src.FieldByName("Dirs").IsValid() {
		dirs := src.FieldByName("Dirs") // the request's topics lie one level deeper
		for i := range dirs.Len() {
			m.slice(field, dirs.Index(i), name)
		}
		return
	}
	for _, from := range m.sources(name) {
		elems := src.FieldByName(from)
		if !elems.IsValid() || elems.Kind() != reflect.Slice {
			continue
		}
		for i := range elems.Len() {
			dst := reflect.New(field.Type().Elem())
			if d, ok := dst.Interface().(interface{ Default() }); ok {
				d.Default()
			}
			m.identify(dst.Elem(), elems.Index(i))
			m.structure(dst.Elem(), elems.Index(i))
			field.Set(reflect.Append(field, dst.Elem()))
		}
	}
}

func (m *mirror) sources(name string) []string {
	if from := mirrored[m.key][name]; from != nil {
		return from
	}
	return []string{name}
}

// identify copies what names the element. A request that is a list of plain names or numbers gives
// them to the first identity that can take them.
func (m *mirror) identify(dst, src reflect.Value) {
	for i := range dst.NumField() {
		name, field := dst.Type().Field(i).Name, dst.Field(i)
		from := m.sources(name)[0]
		if !slices.Contains(identities, from) {
			continue
		}
		value := src
		if src.Kind() == reflect.Struct {
			value = src.FieldByName(from)
		}
		switch {
		case !value.IsValid():
		case value.Type() == field.Type():
			field.Set(value)
		case field.Kind() == reflect.Pointer && field.Type().Elem() == value.Type():
			p := reflect.New(value.Type())
			p.Elem().Set(value)
			field.Set(p)
		default:
			continue
		}
		if src.Kind() != reflect.Struct {
			return
		}
	}
}

// holdsErrors tells whether an array of t has places for errors, at this level or below.
func holdsErrors(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "ErrorCode" || f.Type.Kind() == reflect.Slice && holdsErrors(f.Type.Elem()) {
			return true
		}
	}
	return false
}

const keyAlterReplicaLogDirs = 34

// blank sets what an error leaves unknown, where kmsg's default for a response is another value.
func blank(req kmsg.Request, resp kmsg.Response) {
	switch resp := resp.(type) {
	case *kmsg.ProduceResponse:
		for _, t := range resp.Topics {
			for i := range t.Partitions {
				p := &t.Partitions[i]
				p.BaseOffset, p.LogAppendTime, p.LogStartOffset = -1, -1, -1
			}
		}
	case *kmsg.FetchResponse:
		resp.SessionID = req.(*kmsg.FetchRequest).SessionID
		for _, t := range resp.Topics {
			for i := range t.Partitions {
				p := &t.Partitions[i]
				p.HighWatermark, p.LastStableOffset, p.LogStartOffset = -1, -1, -1
			}
		}
	case *kmsg.FindCoordinatorResponse:
		resp.NodeID, resp.Port = -1, -1
		for i := range resp.Coordinators {
			c := &resp.Coordinators[i]
			c.NodeID, c.Port = -1, -1
		}
	case *kmsg.OffsetFetchResponse:
		for _, t := range resp.Topics {
			for i := range t.Partitions {
				t.Partitions[i].Offset = -1
			}
		}
	case *kmsg.DeleteRecordsResponse:
		for _, t := range resp.Topics {
			for i := range t.Partitions {
				t.Partitions[i].LowWatermark = -1
			}
		}
	}
}
