package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// nodeServer brings volumes to Pods by bind mounts.
type nodeServer struct {
	csi.UnimplementedNodeServer

	node   string
	store  *store
	faults faults
	locks  *locks

	// mounting is held while mounts and loop devices change, which is quick.
	mounting sync.Mutex
}

// NodeGetInfo names the node and says where its volumes are.
func (s *nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId:             s.node,
		AccessibleTopology: &csi.Topology{Segments: map[string]string{topologyKey: s.node}},
	}, nil
}

// NodeGetCapabilities lists what the node service does; it stages nothing.
func (s *nodeServer) NodeGetCapabilities(
	context.Context, *csi.NodeGetCapabilitiesRequest,
) (*csi.NodeGetCapabilitiesResponse, error) {
	response := &csi.NodeGetCapabilitiesResponse{}
	for _, kind := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		response.Capabilities = append(response.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: kind}},
		})
	}
	return response, nil
}

// NodePublishVolume mounts a volume at a path.
func (s *nodeServer) NodePublishVolume(
	ctx context.Context, request *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	if request.GetVolumeId() == "" || request.GetTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id or target path is missing")
	}
	capability := request.GetVolumeCapability()
	block, err := isBlock(capability)
	if err != nil {
		return nil, err
	}
	flags, err := flagsOf(capability.GetMount().GetMountFlags())
	if err != nil {
		return nil, err
	}
	if request.GetReadonly() || readsOnly(capability.GetAccessMode().GetMode()) {
		flags |= unix.MS_RDONLY
	}
	release, err := s.locks.share(volumeKey(request.GetVolumeId()))
	if err != nil {
		return nil, err
	}
	defer release()
	found, err := s.store.volumes.get(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if block != found.Block {
		return nil, status.Error(codes.InvalidArgument, "the volume has the other access type")
	}
	if err := s.faults.check(opPublish, found.Parameters["fail"]); err != nil {
		return nil, err
	}
	s.mounting.Lock()
	defer s.mounting.Unlock()
	target, err := realPath(request.GetTargetPath())
	if err != nil {
		return nil, err
	}
	if err := s.checkAlone(found, target, capability.GetAccessMode().GetMode()); err != nil {
		return nil, err
	}
	if err := s.publish(ctx, found, target, flags); err != nil {
		return nil, err
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// publish mounts a volume at a real path, unless it is mounted there.
func (s *nodeServer) publish(ctx context.Context, found record, target string, flags uintptr) error {
	from := s.store.volumes.data(found.ID)
	if found.Block {
		device, err := attachLoop(ctx, diskOf(from), flags&unix.MS_RDONLY != 0)
		if err != nil {
			return err
		}
		// Read-only is in the device; its node must stay writable to be opened.
		from, flags = device, 0
	}
	present, mounted, err := mountAt(target)
	if err != nil {
		return err
	}
	if mounted {
		table, err := mounts()
		if err != nil {
			return err
		}
		if present.place != placeOf(table, from) || present.readOnly && flags&unix.MS_RDONLY == 0 {
			return status.Errorf(codes.AlreadyExists, "%s has another mount", target)
		}
		return remount(target, flags)
	}
	if err := makeTarget(target, found.Block); err != nil {
		return err
	}
	return bind(from, target, flags)
}

// checkAlone keeps a volume for a single writer from a second one.
func (s *nodeServer) checkAlone(found record, target string, mode csi.VolumeCapability_AccessMode_Mode) error {
	if mode != csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER {
		return nil
	}
	bound, err := publications(found, s.store.volumes.data(found.ID))
	if err != nil {
		return err
	}
	for _, other := range bound {
		if other.point != target {
			return status.Errorf(codes.FailedPrecondition, "volume %q is in use at %s", found.ID, other.point)
		}
	}
	return nil
}

// NodeUnpublishVolume takes a volume away from a path. Nothing there is no
// error.
func (s *nodeServer) NodeUnpublishVolume(
	ctx context.Context, request *csi.NodeUnpublishVolumeRequest,
) (*csi.NodeUnpublishVolumeResponse, error) {
	if request.GetVolumeId() == "" || request.GetTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id or target path is missing")
	}
	s.mounting.Lock()
	defer s.mounting.Unlock()
	target, err := realPath(request.GetTargetPath())
	if err == nil {
		err = removeTarget(target)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	found, err := s.store.volumes.get(request.GetVolumeId())
	if err == nil && found.Block {
		err = detachLoops(ctx, diskOf(s.store.volumes.data(found.ID)))
	}
	if err != nil && !errors.Is(err, errAbsent) {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// NodeGetVolumeStats says how full a volume is. Its limit is that of its quota
// group; statfs, and so df in a Pod, tells of the file system below all volumes.
func (s *nodeServer) NodeGetVolumeStats(
	ctx context.Context, request *csi.NodeGetVolumeStatsRequest,
) (*csi.NodeGetVolumeStatsResponse, error) {
	found, err := s.published(request.GetVolumeId(), request.GetVolumePath())
	if err != nil {
		return nil, err
	}
	usage := &csi.VolumeUsage{Unit: csi.VolumeUsage_BYTES, Total: found.Bytes}
	if !found.Block {
		usage.Used, err = s.store.files.used(ctx, s.store.volumes.data(found.ID))
		if err != nil {
			return nil, err
		}
		_, available, err := space(s.store.directory)
		if err != nil {
			return nil, err
		}
		usage.Available = min(max(usage.Total-usage.Used, 0), available)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{usage}}, nil
}

// NodeExpandVolume lets the node see the new size of a Block volume; a
// Filesystem volume has it already.
func (s *nodeServer) NodeExpandVolume(
	ctx context.Context, request *csi.NodeExpandVolumeRequest,
) (*csi.NodeExpandVolumeResponse, error) {
	found, err := s.published(request.GetVolumeId(), request.GetVolumePath())
	if err != nil {
		return nil, err
	}
	if found.Block {
		if err := growLoops(ctx, diskOf(s.store.volumes.data(found.ID))); err != nil {
			return nil, err
		}
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: found.Bytes}, nil
}

// published finds a volume that must be mounted at a path.
func (s *nodeServer) published(id, path string) (record, error) {
	if id == "" || path == "" {
		return record{}, status.Error(codes.InvalidArgument, "volume id or volume path is missing")
	}
	found, err := s.store.volumes.get(id)
	if err != nil {
		return record{}, err
	}
	bound, err := publications(found, s.store.volumes.data(id))
	if err != nil {
		return record{}, err
	}
	point, err := filepath.EvalSymlinks(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return record{}, err
	}
	for _, mount := range bound {
		if mount.point == point {
			return found, nil
		}
	}
	return record{}, status.Errorf(codes.NotFound, "volume %q is not at %s", id, path)
}

// publications finds the mounts of a volume.
func publications(found record, data string) ([]mount, error) {
	if !found.Block {
		return mountsOf(data)
	}
	devices, err := loopDevices(diskOf(data))
	if err != nil {
		return nil, err
	}
	var all []mount
	for _, device := range devices {
		bound, err := mountsOf(device.path)
		if err != nil {
			return nil, err
		}
		all = append(all, bound...)
	}
	return all, nil
}

// realPath resolves the directory of a target, which exists; the target may not.
func realPath(target string) (string, error) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(target))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(target)), nil
}

// makeTarget makes what a volume is mounted on.
func makeTarget(target string, block bool) error {
	if !block {
		return os.MkdirAll(target, 0o750)
	}
	file, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o640)
	if err != nil {
		return err
	}
	return file.Close()
}

// removeTarget undoes all mounts at a path, and the path.
func removeTarget(target string) error {
	for {
		_, mounted, err := mountAt(target)
		if err != nil {
			return err
		}
		if !mounted {
			return os.Remove(target)
		}
		if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("cannot unmount %s: %w", target, err)
		}
	}
}
