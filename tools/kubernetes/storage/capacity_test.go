package main

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestChooseBytes(t *testing.T) {
	const mib = 1 << 20
	for name, test := range map[string]struct {
		required, limit, atLeast int64
		block                    bool
		want                     int64
		code                     codes.Code
	}{
		"nothing said":                   {want: defaultBytes},
		"nothing said of a copy":         {atLeast: 5 * mib, want: 5 * mib},
		"required":                       {required: 3 * mib, want: 3 * mib},
		"a limit below the default":      {limit: 3 * mib, want: 3 * mib},
		"a limit above the default":      {limit: 2 * defaultBytes, want: defaultBytes},
		"a copy grows to its source":     {required: 3 * mib, atLeast: 5 * mib, want: 5 * mib},
		"a copy larger than its source":  {required: 9 * mib, atLeast: 5 * mib, want: 9 * mib},
		"a source above the limit":       {required: 3 * mib, limit: 4 * mib, atLeast: 5 * mib, code: codes.OutOfRange},
		"a limit below what is required": {required: 2, limit: 1, code: codes.InvalidArgument},
		"a negative size":                {required: -1, code: codes.InvalidArgument},
		"odd bytes":                      {required: mib + 1, want: mib + 1},
		"odd bytes of a Block volume":    {required: mib + 1, block: true, want: mib + blockBytes},
		"a limit between two blocks":     {required: mib + 1, limit: mib + 2, block: true, code: codes.OutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			wanted := &csi.CapacityRange{RequiredBytes: test.required, LimitBytes: test.limit}
			got, err := chooseBytes(wanted, test.atLeast, test.block)
			if got != test.want || status.Code(err) != test.code {
				t.Errorf("got %d, %v; want %d, %s", got, err, test.want, test.code)
			}
			if err == nil && !fits(got, wanted) {
				t.Errorf("%d was chosen and does not fit", got)
			}
		})
	}
}
