package wire

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Code is the Kafka code of an error: 0 for nil, the code of the first *kerr.Error it wraps, and
// UNKNOWN_SERVER_ERROR (-1) for any other, which callers should have mapped.
func Code(err error) int16 {
	if err == nil {
		return 0
	}
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Code
	}
	return kerr.UnknownServerError.Code
}
