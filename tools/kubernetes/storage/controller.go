package main

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// controllerServer makes, copies, grows and deletes volumes and snapshots.
type controllerServer struct {
	csi.UnimplementedControllerServer

	node   string
	store  *store
	faults faults
	locks  *locks
	delays *delays
}

// ControllerGetCapabilities lists what the controller does. It attaches
// nothing: volumes are where the one node is.
func (s *controllerServer) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return response, nil
}

// CreateVolume makes a volume: empty, from a snapshot or from another volume.
func (s *controllerServer) CreateVolume(
	ctx context.Context, request *csi.CreateVolumeRequest,
) (*csi.CreateVolumeResponse, error) {
	if request.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name is missing")
	}
	block, err := isBlock(request.GetVolumeCapabilities()...)
	if err != nil {
		return nil, err
	}
	class, err := parseClass(request.GetParameters())
	if err != nil {
		return nil, err
	}
	from, err := sourceOf(request.GetVolumeContentSource())
	if err != nil {
		return nil, err
	}
	if !s.reaches(request.GetAccessibilityRequirements()) {
		return nil, status.Errorf(codes.ResourceExhausted, "volumes can only be on node %q", s.node)
	}
	made := record{
		ID:         idOf(request.GetName()),
		Name:       request.GetName(),
		Block:      block,
		Parameters: own(request.GetParameters()),
		Source:     from,
	}
	release, err := s.locks.take(volumeKey(made.ID))
	if err != nil {
		return nil, err
	}
	defer release()

	existing, err := s.store.volumes.get(made.ID)
	if err == nil {
		if !sameVolume(existing, made) || !fits(existing.Bytes, request.GetCapacityRange()) {
			return nil, status.Errorf(codes.AlreadyExists, "volume %q exists and is another one", made.Name)
		}
		return &csi.CreateVolumeResponse{Volume: s.describe(existing)}, nil
	}
	if !errors.Is(err, errAbsent) {
		return nil, err
	}
	made, err = s.makeVolume(ctx, made, class, request.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	return &csi.CreateVolumeResponse{Volume: s.describe(made)}, nil
}

// makeVolume makes a volume that does not exist, and completes its record.
func (s *controllerServer) makeVolume(
	ctx context.Context, made record, class class, wanted *csi.CapacityRange,
) (record, error) {
	origin, release, err := s.open(made.Source)
	if err != nil {
		return made, err
	}
	defer release()
	if class.noClones && origin.kind == opClone {
		return made, status.Error(codes.InvalidArgument, "this class cannot clone volumes (cloning: \"false\")")
	}
	if origin.kind != opCreate && origin.Block != made.Block {
		return made, status.Error(codes.InvalidArgument, "source and volume are not both Block or both Filesystem")
	}
	made.Bytes, err = chooseBytes(wanted, origin.Bytes, made.Block)
	if err != nil {
		return made, err
	}
	total, _, err := space(s.store.directory)
	if err != nil {
		return made, err
	}
	if made.Bytes > total {
		return made, status.Errorf(codes.OutOfRange, "%d bytes are more than the disk has (%d)", made.Bytes, total)
	}
	if err := s.faults.check(origin.kind, class.fail); err != nil {
		return made, err
	}
	if err := s.delays.wait(ctx, made.Name, class.delay); err != nil {
		return made, err
	}
	made.Created = time.Now().UTC()
	err = s.store.volumes.add(ctx, made, func(data string) error {
		return s.fill(ctx, data, made, origin)
	})
	if err == nil {
		s.delays.forget(made.Name)
	}
	return made, err
}

// origin is what a volume is made from; the zero record when from nothing.
type origin struct {
	record

	kind operation
	data string
}

// open finds a source and keeps it from being deleted until released.
func (s *controllerServer) open(from source) (found origin, release func(), err error) {
	found = origin{kind: opCreate}
	shelf, id, key := s.store.volumes, "", ""
	switch {
	case from.Volume != "":
		id, key, found.kind = from.Volume, volumeKey(from.Volume), opClone
	case from.Snapshot != "":
		shelf, id, key, found.kind = s.store.snapshots, from.Snapshot, snapshotKey(from.Snapshot), opRestore
	default:
		return found, func() {}, nil
	}
	release, err = s.locks.share(key)
	if err != nil {
		return found, nil, err
	}
	found.record, err = shelf.get(id)
	if err != nil {
		release()
		return found, nil, err
	}
	found.data = shelf.data(id)
	return found, release, nil
}

// fill makes the content of a volume.
func (s *controllerServer) fill(ctx context.Context, data string, made record, from origin) error {
	var err error
	if from.kind == opCreate {
		err = s.store.files.create(ctx, data)
	} else {
		err = s.copy(ctx, from.record, from.data, data, false)
	}
	if err != nil {
		return err
	}
	return s.resize(ctx, data, made)
}

// copy copies the content of a volume or a snapshot.
func (s *controllerServer) copy(ctx context.Context, of record, from, to string, readOnly bool) error {
	if of.Block {
		if err := flushLoops(diskOf(from)); err != nil {
			return err
		}
	}
	return s.store.files.copy(ctx, from, to, readOnly)
}

// resize gives content the size of its record.
func (s *controllerServer) resize(ctx context.Context, data string, sized record) error {
	if sized.Block {
		return resizeDisk(data, sized.Bytes)
	}
	return s.store.files.limit(ctx, data, sized.Bytes)
}

// DeleteVolume deletes a volume and returns when its space is free.
func (s *controllerServer) DeleteVolume(
	ctx context.Context, request *csi.DeleteVolumeRequest,
) (*csi.DeleteVolumeResponse, error) {
	id := request.GetVolumeId()
	if id == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id is missing")
	}
	release, err := s.locks.take(volumeKey(id))
	if err != nil {
		return nil, err
	}
	defer release()
	found, err := s.store.volumes.get(id)
	if err == nil {
		err = s.checkUnused(ctx, found)
	}
	if err != nil && !errors.Is(err, errAbsent) {
		return nil, err
	}
	// What is not there may still have a rest to free.
	if err := s.store.volumes.remove(ctx, id); err != nil {
		return nil, err
	}
	return &csi.DeleteVolumeResponse{}, nil
}

// checkUnused fails when a volume must not be deleted now.
func (s *controllerServer) checkUnused(ctx context.Context, found record) error {
	if err := s.faults.check(opDelete, found.Parameters["fail"]); err != nil {
		return err
	}
	data := s.store.volumes.data(found.ID)
	if found.Block {
		if err := detachLoops(ctx, diskOf(data)); err != nil {
			return err
		}
	}
	bound, err := publications(found, data)
	if err != nil {
		return err
	}
	if len(bound) > 0 {
		return status.Errorf(codes.FailedPrecondition, "volume %q is in use at %s", found.ID, bound[0].point)
	}
	return nil
}

// ControllerExpandVolume makes a volume larger; it may be in use.
func (s *controllerServer) ControllerExpandVolume(
	ctx context.Context, request *csi.ControllerExpandVolumeRequest,
) (*csi.ControllerExpandVolumeResponse, error) {
	if request.GetVolumeId() == "" || request.GetCapacityRange() == nil {
		return nil, status.Error(codes.InvalidArgument, "volume id or capacity range is missing")
	}
	release, err := s.locks.take(volumeKey(request.GetVolumeId()))
	if err != nil {
		return nil, err
	}
	defer release()
	grown, err := s.store.volumes.get(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	bytes, err := chooseBytes(request.GetCapacityRange(), grown.Bytes, grown.Block)
	if err != nil {
		return nil, err
	}
	total, _, err := space(s.store.directory)
	if err != nil {
		return nil, err
	}
	if bytes > total {
		return nil, status.Errorf(codes.OutOfRange, "%d bytes are more than the disk has (%d)", bytes, total)
	}
	if bytes > grown.Bytes {
		grown.Bytes = bytes
		// The record last: a call that is cut short is done again as a whole.
		if err := s.resize(ctx, s.store.volumes.data(grown.ID), grown); err != nil {
			return nil, err
		}
		if err := s.store.volumes.update(grown); err != nil {
			return nil, err
		}
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: grown.Bytes, NodeExpansionRequired: grown.Block}, nil
}

// ValidateVolumeCapabilities says whether a volume can be used in some way.
func (s *controllerServer) ValidateVolumeCapabilities(
	_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest,
) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if request.GetVolumeId() == "" || len(request.GetVolumeCapabilities()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "volume id or capabilities are missing")
	}
	found, err := s.store.volumes.get(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	block, err := isBlock(request.GetVolumeCapabilities()...)
	if err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: status.Convert(err).Message()}, nil
	}
	if block != found.Block {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: "the volume has the other access type"}, nil
	}
	if !maps.Equal(own(request.GetParameters()), found.Parameters) && len(request.GetParameters()) > 0 {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: "the volume has other parameters"}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
			VolumeContext:      request.GetVolumeContext(),
			VolumeCapabilities: request.GetVolumeCapabilities(),
			Parameters:         request.GetParameters(),
		},
	}, nil
}

// ListVolumes lists all volumes.
func (s *controllerServer) ListVolumes(
	_ context.Context, request *csi.ListVolumesRequest,
) (*csi.ListVolumesResponse, error) {
	all, err := s.store.volumes.list()
	if err != nil {
		return nil, err
	}
	found, next, err := page(all, request.GetStartingToken(), request.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	response := &csi.ListVolumesResponse{NextToken: next}
	for _, volume := range found {
		response.Entries = append(response.Entries, &csi.ListVolumesResponse_Entry{Volume: s.describe(volume)})
	}
	return response, nil
}

// GetCapacity says how much can still be written. Sizes of volumes are
// promises: more may be promised than there is.
func (s *controllerServer) GetCapacity(
	_ context.Context, request *csi.GetCapacityRequest,
) (*csi.GetCapacityResponse, error) {
	segments := request.GetAccessibleTopology().GetSegments()
	if node, given := segments[topologyKey]; given && node != s.node {
		return &csi.GetCapacityResponse{}, nil
	}
	_, available, err := space(s.store.directory)
	if err != nil {
		return nil, err
	}
	return &csi.GetCapacityResponse{AvailableCapacity: available}, nil
}

// reaches says whether a volume on this node is where a request wants it.
func (s *controllerServer) reaches(wanted *csi.TopologyRequirement) bool {
	if len(wanted.GetRequisite()) == 0 {
		return true
	}
	for _, topology := range wanted.GetRequisite() {
		if topology.GetSegments()[topologyKey] == s.node {
			return true
		}
	}
	return false
}

// describe tells a caller of a volume.
func (s *controllerServer) describe(volume record) *csi.Volume {
	described := &csi.Volume{
		VolumeId:           volume.ID,
		CapacityBytes:      volume.Bytes,
		AccessibleTopology: []*csi.Topology{{Segments: map[string]string{topologyKey: s.node}}},
	}
	switch {
	case volume.Source.Volume != "":
		described.ContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: volume.Source.Volume},
		}}
	case volume.Source.Snapshot != "":
		described.ContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: volume.Source.Snapshot},
		}}
	}
	return described
}

// sourceOf reads what a volume shall be made from.
func sourceOf(content *csi.VolumeContentSource) (source, error) {
	found := source{
		Volume:   content.GetVolume().GetVolumeId(),
		Snapshot: content.GetSnapshot().GetSnapshotId(),
	}
	if content != nil && found == (source{}) {
		return source{}, status.Error(codes.InvalidArgument, "the content source names nothing")
	}
	return found, nil
}

// sameVolume says whether a volume is the one that a request of its name asks
// for, its size apart.
func sameVolume(existing, wanted record) bool {
	return existing.Name == wanted.Name && existing.Block == wanted.Block &&
		existing.Source == wanted.Source && maps.Equal(existing.Parameters, wanted.Parameters)
}
