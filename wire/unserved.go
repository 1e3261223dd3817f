package wire

import (
	"bytes"
	"reflect"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// unservedResponse answers a request whose key or version is not served: nil if there is no answer that
// its client could read, and the connection must be closed.
//
// A version of ApiVersions that is too new gets the layout of v0, which every client reads, with our
// range, so that the client comes again with the right one (KIP-511). Any other key gets its own
// schema with UNSUPPORTED_VERSION on top, if kmsg knows the version and the schema has that place: Java's
// admin client has fallbacks for that code, and none for a closed connection.
func unservedResponse(key, version int16, api *servedAPI) kmsg.Response {
	if key == keyAPIVersions && api != nil {
		if version < api.Min {
			return nil
		}
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: key, MinVersion: api.Min, MaxVersion: api.Max}}
		return resp
	}
	req := kmsg.RequestForKey(key)
	if req == nil || version < 0 || version > req.MaxVersion() {
		return nil
	}
	req.SetVersion(version)
	resp := req.ResponseKind()
	if !setTopLevelError(resp, kerr.UnsupportedVersion.Code) {
		return nil
	}
	return resp
}

// setTopLevelError sets the error code of the whole response. It is false if the response has no such
// field in its version: kmsg's structs have the fields of all versions, so the bytes decide.
func setTopLevelError(resp kmsg.Response, code int16) bool {
	field := reflect.ValueOf(resp).Elem().FieldByName("ErrorCode")
	if !field.IsValid() {
		return false
	}
	without := resp.AppendTo(nil)
	field.SetInt(int64(code))
	return !bytes.Equal(without, resp.AppendTo(nil))
}
