package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// attaching is held while devices are found and then attached or detached: a
// number that is free now may soon be the device of another file.
var attaching sync.Mutex

// loopDevice is a block device over a file.
type loopDevice struct {
	path     string
	readOnly bool
}

// diskOf is the file behind the devices of a Block volume.
func diskOf(data string) string {
	return filepath.Join(data, "disk")
}

// resizeDisk makes the file of a Block volume, or changes its size; it is
// sparse.
func resizeDisk(data string, bytes int64) error {
	file, err := os.OpenFile(diskOf(data), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := file.Truncate(bytes); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// loopDevices finds the devices over a file. The kernel knows: after a restart
// of the driver they are still there.
func loopDevices(file string) ([]loopDevice, error) {
	backings, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var found []loopDevice
	for _, backing := range backings {
		content, err := os.ReadFile(backing)
		if err != nil || strings.TrimSuffix(string(content), "\n") != file {
			continue // detached since, or another's
		}
		block := filepath.Dir(filepath.Dir(backing))
		readOnly, err := os.ReadFile(filepath.Join(block, "ro"))
		if err != nil {
			continue
		}
		found = append(found, loopDevice{
			path:     filepath.Join("/dev", filepath.Base(block)),
			readOnly: strings.TrimSpace(string(readOnly)) == "1",
		})
	}
	return found, nil
}

// attachLoop returns the device over a file, attached now if there is none.
// Read-only is a device of its own: a read-only mount of a device node does
// not keep anybody from writing to the device.
func attachLoop(ctx context.Context, file string, readOnly bool) (string, error) {
	attaching.Lock()
	defer attaching.Unlock()
	devices, err := loopDevices(file)
	if err != nil {
		return "", err
	}
	for _, device := range devices {
		if device.readOnly == readOnly {
			return device.path, nil
		}
	}
	arguments := []string{"--find", "--show"}
	if readOnly {
		arguments = append(arguments, "--read-only")
	}
	output, err := command(ctx, "losetup", append(arguments, file)...)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(output)), nil
}

// detachLoops detaches the devices over a file that are bound nowhere.
func detachLoops(ctx context.Context, file string) error {
	attaching.Lock()
	defer attaching.Unlock()
	devices, err := loopDevices(file)
	if err != nil {
		return err
	}
	for _, device := range devices {
		bound, err := mountsOf(device.path)
		if err != nil {
			return err
		}
		if len(bound) > 0 {
			continue
		}
		if _, err := command(ctx, "losetup", "--detach", device.path); err != nil {
			return err
		}
	}
	return nil
}

// growLoops tells the devices over a file its new size.
func growLoops(ctx context.Context, file string) error {
	devices, err := loopDevices(file)
	if err != nil {
		return err
	}
	for _, device := range devices {
		if _, err := command(ctx, "losetup", "--set-capacity", device.path); err != nil {
			return err
		}
	}
	return nil
}

// flushLoops brings what was written to the devices over a file into it, so
// that a copy of the file has all that was written before the copy.
func flushLoops(file string) error {
	devices, err := loopDevices(file)
	if err != nil {
		return err
	}
	for _, device := range devices {
		opened, err := os.Open(device.path)
		if err != nil {
			return err
		}
		err = unix.Fsync(int(opened.Fd()))
		_ = opened.Close()
		if err != nil {
			return fmt.Errorf("cannot flush %s: %w", device.path, err)
		}
	}
	return nil
}
