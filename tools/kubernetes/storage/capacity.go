package main

import (
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// defaultBytes is the size of a volume when nothing says more.
	defaultBytes = 1 << 30
	// blockBytes divides the size of every Block volume.
	blockBytes = 4096
)

// chooseBytes picks a size within a capacity range that is no less than
// atLeast (a copy holds its source). Ranges that no size fits are OUT_OF_RANGE.
func chooseBytes(wanted *csi.CapacityRange, atLeast int64, block bool) (int64, error) {
	required, limit := wanted.GetRequiredBytes(), wanted.GetLimitBytes()
	if required < 0 || limit < 0 {
		return 0, status.Error(codes.InvalidArgument, "a size cannot be negative")
	}
	if limit > 0 && limit < required {
		return 0, status.Errorf(codes.InvalidArgument, "%d bytes required are above the limit of %d", required, limit)
	}
	bytes := max(required, atLeast)
	if bytes == 0 {
		bytes = defaultBytes
		if limit > 0 {
			bytes = min(bytes, limit)
		}
	}
	if block {
		bytes = (bytes + blockBytes - 1) / blockBytes * blockBytes
	}
	if limit > 0 && bytes > limit {
		return 0, status.Errorf(codes.OutOfRange, "%d bytes needed are above the limit of %d", bytes, limit)
	}
	return bytes, nil
}

// fits says whether a size is within a capacity range.
func fits(bytes int64, wanted *csi.CapacityRange) bool {
	limit := wanted.GetLimitBytes()
	return bytes >= wanted.GetRequiredBytes() && (limit == 0 || bytes <= limit)
}
