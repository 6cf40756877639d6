package main

import (
	"context"

	"k8s.io/klog/v2"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrationServer tells kubelet, which watches its plugins_registry
// directory, of the driver; a node-driver-registrar is then not needed.
type registrationServer struct {
	registerapi.UnimplementedRegistrationServer

	driver   string
	endpoint string // path of the CSI socket
}

// GetInfo says which plugin this is and where it answers.
func (s *registrationServer) GetInfo(context.Context, *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	return &registerapi.PluginInfo{
		Type:              registerapi.CSIPlugin,
		Name:              s.driver,
		Endpoint:          s.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus hears how kubelet took it. A refusal is logged
// only: kubelet asks again by itself.
func (s *registrationServer) NotifyRegistrationStatus(
	_ context.Context, result *registerapi.RegistrationStatus,
) (*registerapi.RegistrationStatusResponse, error) {
	if result.GetPluginRegistered() {
		klog.InfoS("Kubelet registered the driver", "driver", s.driver)
	} else {
		klog.InfoS("Kubelet refused the driver", "driver", s.driver, "reason", result.GetError())
	}
	return &registerapi.RegistrationStatusResponse{}, nil
}
