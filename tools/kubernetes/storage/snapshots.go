package main

import (
	"context"
	"errors"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// CreateSnapshot makes a read-only copy of a volume.
func (s *controllerServer) CreateSnapshot(
	ctx context.Context, request *csi.CreateSnapshotRequest,
) (*csi.CreateSnapshotResponse, error) {
	if request.GetName() == "" || request.GetSourceVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "name or source volume id is missing")
	}
	id, from := idOf(request.GetName()), source{Volume: request.GetSourceVolumeId()}
	release, err := s.locks.take(snapshotKey(id))
	if err != nil {
		return nil, err
	}
	defer release()

	existing, err := s.store.snapshots.get(id)
	if err == nil {
		if existing.Name != request.GetName() || existing.Source != from {
			return nil, status.Errorf(codes.AlreadyExists, "snapshot %q exists and is of another volume", existing.Name)
		}
		return &csi.CreateSnapshotResponse{Snapshot: describeSnapshot(existing)}, nil
	}
	if !errors.Is(err, errAbsent) {
		return nil, err
	}
	origin, releaseOrigin, err := s.open(from)
	if err != nil {
		return nil, err
	}
	defer releaseOrigin()
	if err := s.faults.check(opSnapshot, origin.Parameters["fail"]); err != nil {
		return nil, err
	}
	made := record{
		ID:         id,
		Name:       request.GetName(),
		Bytes:      origin.Bytes,
		Block:      origin.Block,
		Parameters: origin.Parameters,
		Source:     from,
		Created:    time.Now().UTC(),
	}
	err = s.store.snapshots.add(ctx, made, func(data string) error {
		return s.copy(ctx, origin.record, origin.data, data, true)
	})
	if err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: describeSnapshot(made)}, nil
}

// DeleteSnapshot deletes a snapshot and returns when its space is free.
func (s *controllerServer) DeleteSnapshot(
	ctx context.Context, request *csi.DeleteSnapshotRequest,
) (*csi.DeleteSnapshotResponse, error) {
	id := request.GetSnapshotId()
	if id == "" {
		return nil, status.Error(codes.InvalidArgument, "snapshot id is missing")
	}
	release, err := s.locks.take(snapshotKey(id))
	if err != nil {
		return nil, err
	}
	defer release()
	found, err := s.store.snapshots.get(id)
	if err == nil {
		err = s.faults.check(opDeleteSnapshot, found.Parameters["fail"])
	}
	if err != nil && !errors.Is(err, errAbsent) {
		return nil, err
	}
	// What is not there may still have a rest to free.
	if err := s.store.snapshots.remove(ctx, id); err != nil {
		return nil, err
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// ListSnapshots lists all snapshots, one, or those of a volume.
func (s *controllerServer) ListSnapshots(
	_ context.Context, request *csi.ListSnapshotsRequest,
) (*csi.ListSnapshotsResponse, error) {
	all, err := s.store.snapshots.list()
	if err != nil {
		return nil, err
	}
	matching := all[:0]
	for _, snapshot := range all {
		id, volume := request.GetSnapshotId(), request.GetSourceVolumeId()
		if (id == "" || id == snapshot.ID) && (volume == "" || volume == snapshot.Source.Volume) {
			matching = append(matching, snapshot)
		}
	}
	found, next, err := page(matching, request.GetStartingToken(), request.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	response := &csi.ListSnapshotsResponse{NextToken: next}
	for _, snapshot := range found {
		response.Entries = append(response.Entries,
			&csi.ListSnapshotsResponse_Entry{Snapshot: describeSnapshot(snapshot)})
	}
	return response, nil
}

// describeSnapshot tells a caller of a snapshot.
func describeSnapshot(snapshot record) *csi.Snapshot {
	return &csi.Snapshot{
		SnapshotId:     snapshot.ID,
		SourceVolumeId: snapshot.Source.Volume,
		SizeBytes:      snapshot.Bytes,
		CreationTime:   timestamppb.New(snapshot.Created),
		ReadyToUse:     true,
	}
}
