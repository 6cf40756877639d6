package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// isBlock checks what a caller wants to do with a volume and says whether it
// is to be a Block volume.
func isBlock(wanted ...*csi.VolumeCapability) (bool, error) {
	if len(wanted) == 0 {
		return false, status.Error(codes.InvalidArgument, "volume capabilities are missing")
	}
	block := wanted[0].GetBlock() != nil
	for _, capability := range wanted {
		if capability.GetBlock() == nil && capability.GetMount() == nil {
			return false, status.Error(codes.InvalidArgument, "a volume capability has no access type")
		}
		if block != (capability.GetBlock() != nil) {
			return false, status.Error(codes.InvalidArgument, "a volume is either Block or Filesystem")
		}
		if err := checkAccess(capability.GetAccessMode().GetMode(), block); err != nil {
			return false, err
		}
		if _, err := flagsOf(capability.GetMount().GetMountFlags()); err != nil {
			return false, err
		}
	}
	return block, nil
}

// checkAccess refuses access modes that cannot be had.
func checkAccess(mode csi.VolumeCapability_AccessMode_Mode, block bool) error {
	switch mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
		return nil
	case csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY,
		csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:
		if block {
			return status.Errorf(codes.InvalidArgument, "a Block volume cannot be had with %s", mode)
		}
		return nil
	default:
		return status.Errorf(codes.InvalidArgument, "access mode %s is not known", mode)
	}
}

// readsOnly says whether an access mode excludes writing.
func readsOnly(mode csi.VolumeCapability_AccessMode_Mode) bool {
	return mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY ||
		mode == csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
}

// flagsOf translates mount options.
func flagsOf(options []string) (uintptr, error) {
	var flags uintptr
	for _, option := range options {
		flag, known := mountFlags[option]
		if !known {
			return 0, status.Errorf(codes.InvalidArgument, "mount option %q is not known", option)
		}
		flags |= flag
	}
	return flags, nil
}

// sidecarPrefix begins the parameters that the CSI sidecars add.
const sidecarPrefix = "csi.storage.k8s.io/"

// class is what the parameters of a StorageClass say, see the command's
// documentation.
type class struct {
	noClones bool
	delay    time.Duration
	fail     string
}

// parseClass reads parameters and refuses what it does not know.
func parseClass(parameters map[string]string) (class, error) {
	var parsed class
	for name, value := range parameters {
		known := true
		switch {
		case name == "cloning":
			allowed, err := strconv.ParseBool(value)
			known, parsed.noClones = err == nil, !allowed
		case name == "delaySeconds":
			seconds, err := strconv.ParseFloat(value, 64)
			known, parsed.delay = err == nil && seconds >= 0, time.Duration(seconds*float64(time.Second))
		case name == "fail":
			_, known = failing[value]
			parsed.fail = value
		default:
			known = strings.HasPrefix(name, sidecarPrefix)
		}
		if !known {
			return class{}, status.Errorf(codes.InvalidArgument, "parameter %s: %q is not known", name, value)
		}
	}
	return parsed, nil
}

// own leaves the sidecars' parameters out: they differ between two requests
// for the same volume.
func own(parameters map[string]string) map[string]string {
	kept := make(map[string]string)
	for name, value := range parameters {
		if !strings.HasPrefix(name, sidecarPrefix) {
			kept[name] = value
		}
	}
	return kept
}
