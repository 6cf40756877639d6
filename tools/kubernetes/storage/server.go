package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// stopGrace is how long calls may take to end after the driver was told to.
const stopGrace = 5 * time.Second

// services are what the driver serves; registration may be nil.
type services struct {
	identity     csi.IdentityServer
	controller   csi.ControllerServer
	node         csi.NodeServer
	registration registerapi.RegistrationServer
}

// serve answers CSI on one socket and kubelet's registration on another until
// the context ends or a listener fails.
func (s services) serve(ctx context.Context, socket, registrationSocket string) error {
	server := grpc.NewServer(grpc.UnaryInterceptor(answer))
	csi.RegisterIdentityServer(server, s.identity)
	csi.RegisterControllerServer(server, s.controller)
	csi.RegisterNodeServer(server, s.node)
	servers := map[string]*grpc.Server{socket: server}
	if s.registration != nil {
		registrar := grpc.NewServer(grpc.UnaryInterceptor(answer))
		registerapi.RegisterRegistrationServer(registrar, s.registration)
		servers[registrationSocket] = registrar
	}

	// All sockets first, the driver's own among them: kubelet calls it as soon
	// as it sees the one for registration.
	listeners := make(map[string]net.Listener, len(servers))
	for path := range servers {
		listener, err := listen(path)
		if err != nil {
			return err
		}
		defer func() { _ = listener.Close() }()
		listeners[path] = listener
	}
	failed := make(chan error, len(servers))
	for path, server := range servers {
		go func() { failed <- server.Serve(listeners[path]) }()
	}
	klog.InfoS("Serving", "socket", socket)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, server := range servers {
		force := time.AfterFunc(stopGrace, server.Stop)
		server.GracefulStop()
		force.Stop()
	}
	return err
}

// socketPath takes a socket's path out of an endpoint.
func socketPath(endpoint string) (string, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(endpoint, "unix:"), "//")
	if strings.Contains(path, "://") {
		return "", fmt.Errorf("endpoint %q is not a Unix socket", endpoint)
	}
	return filepath.Abs(path)
}

// listen opens a Unix socket, in place of one that a killed driver left.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

// answer runs a call, gives its error a gRPC code and logs it. Requests are
// not logged whole: they may carry secrets.
func answer(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	began := time.Now()
	response, err := handler(ctx, request)
	err = withCode(err)
	details := []any{
		"method", filepath.Base(info.FullMethod),
		"subject", subject(request),
		"seconds", time.Since(began).Seconds(),
	}
	if err != nil {
		klog.ErrorS(err, "Failed", details...)
		return nil, err
	}
	level := klog.Level(0)
	if subject(request) == "" {
		level = 4 // probes and questions for capabilities come all the time
	}
	klog.V(level).InfoS("Done", details...)
	return response, nil
}

// withCode gives errors that have no gRPC code of their own the one that fits.
func withCode(err error) error {
	if err == nil {
		return nil
	}
	if _, has := status.FromError(err); has {
		return err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, errAbsent):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return status.Error(codes.ResourceExhausted, err.Error())
	default:
		return status.Error(codes.Internal, err.Error())
	}
}

// subject names what a request is about, for the log.
func subject(request any) string {
	switch request := request.(type) {
	case interface{ GetName() string }:
		return request.GetName()
	case interface{ GetVolumeId() string }:
		return request.GetVolumeId()
	case interface{ GetSnapshotId() string }:
		return request.GetSnapshotId()
	default:
		return ""
	}
}
