package wire

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// fillOnes sets every array to one element and every string to "x", so that the request names
// something everywhere.
func fillOnes(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Name != "Version" && f.Type != reflect.TypeFor[kmsg.Tags]() {
				fillOnes(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fillOnes(v.Index(0), depth+1)
		}
	case reflect.String:
		v.SetString("x")
	}
}

// errorCodes collects every ErrorCode in a response.
func errorCodes(v reflect.Value) (codes []int16) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" {
				codes = append(codes, int16(v.Field(i).Int()))
				continue
			}
			codes = append(codes, errorCodes(v.Field(i))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			codes = append(codes, errorCodes(v.Index(i))...)
		}
	}
	return codes
}

// reencoded is the response as a client of its version reads it.
func reencoded(t interface{ Fatalf(string, ...any) }, resp kmsg.Response) kmsg.Response {
	read := resp.RequestKind().ResponseKind()
	read.SetVersion(resp.GetVersion())
	if err := read.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatalf("key %d version %d: response does not decode: %v", resp.Key(), resp.GetVersion(), err)
	}
	return read
}

// TestErrorResponseSpeaks: for every key and version a client can read the error, unless the schema
// has no place for it.
func TestErrorResponseSpeaks(t *testing.T) {
	silent := map[int16]int16{ // key: last version without a place that a request names
		35: 2,
	}
	forEachRequest(func(key, version int16) {
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		fillOnes(reflect.ValueOf(req).Elem(), 0)
		read := reencoded(t, ErrorResponse(req, 42))
		found := false
		for _, code := range errorCodes(reflect.ValueOf(read).Elem()) {
			found = found || code == 42
		}
		if last, ok := silent[key]; !found && (!ok || version > last) {
			t.Errorf("%s v%d: no error code in %+v", kmsg.NameForKey(key), version, read)
		}
	})
}

func TestErrorResponseOfRandomRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		forEachRequest(func(key, version int16) {
			reencoded(t, ErrorResponse(randomRequest(t, key, version), 42))
		})
	})
}

func TestErrorResponsePlaces(t *testing.T) {
	x := "x"
	for _, tc := range []struct {
		name    string
		version int16
		req     kmsg.Request
		want    kmsg.Response
	}{
		{"Produce", 9, &kmsg.ProduceRequest{Topics: []kmsg.ProduceRequestTopic{{Topic: "x", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 3}, {Partition: 4}}}}},
			&kmsg.ProduceResponse{Topics: []kmsg.ProduceResponseTopic{{Topic: "x", Partitions: []kmsg.ProduceResponseTopicPartition{
				{Partition: 3, ErrorCode: 42, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1, CurrentLeader: noLeader},
				{Partition: 4, ErrorCode: 42, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1, CurrentLeader: noLeader}}}}}},
		{"Metadata", 5, &kmsg.MetadataRequest{Topics: []kmsg.MetadataRequestTopic{{Topic: &x}}},
			&kmsg.MetadataResponse{ControllerID: -1, Topics: []kmsg.MetadataResponseTopic{{Topic: &x, ErrorCode: 42, AuthorizedOperations: -1 << 31}}, AuthorizedOperations: -1 << 31}},
		{"DeleteTopics by name", 4, &kmsg.DeleteTopicsRequest{TopicNames: []string{"x"}},
			&kmsg.DeleteTopicsResponse{Topics: []kmsg.DeleteTopicsResponseTopic{{Topic: &x, ErrorCode: 42}}}},
		{"FindCoordinator", 4, &kmsg.FindCoordinatorRequest{CoordinatorKeys: []string{"x"}},
			&kmsg.FindCoordinatorResponse{Coordinators: []kmsg.FindCoordinatorResponseCoordinator{{Key: "x", NodeID: -1, Port: -1, ErrorCode: 42}}}},
		{"OffsetFetch", 1, &kmsg.OffsetFetchRequest{Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "x", Partitions: []int32{7}}}},
			&kmsg.OffsetFetchResponse{Topics: []kmsg.OffsetFetchResponseTopic{{Topic: "x", Partitions: []kmsg.OffsetFetchResponseTopicPartition{{Partition: 7, Offset: -1, LeaderEpoch: -1, ErrorCode: 42}}}}}},
		{"OffsetFetch by group", 8, &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{{Group: "x", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "x", Partitions: []int32{7}}}}}},
			&kmsg.OffsetFetchResponse{Groups: []kmsg.OffsetFetchResponseGroup{{Group: "x", ErrorCode: 42}}}},
		{"AlterReplicaLogDirs", 2, &kmsg.AlterReplicaLogDirsRequest{Dirs: []kmsg.AlterReplicaLogDirsRequestDir{{Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "x", Partitions: []int32{7}}}}}},
			&kmsg.AlterReplicaLogDirsResponse{Topics: []kmsg.AlterReplicaLogDirsResponseTopic{{Topic: "x", Partitions: []kmsg.AlterReplicaLogDirsResponseTopicPartition{{Partition: 7, ErrorCode: 42}}}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.req.SetVersion(tc.version)
			tc.want.SetVersion(tc.version)
			if diff := cmp.Diff(reencoded(t, tc.want), reencoded(t, ErrorResponse(tc.req, 42)), cmp.AllowUnexported(kmsg.Tags{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

var noLeader = kmsg.ProduceResponseTopicPartitionCurrentLeader{LeaderID: -1, LeaderEpoch: -1}
