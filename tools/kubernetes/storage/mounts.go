package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// place is a file or directory by its file system (device number) and its path
// there: the same for a path and for all bind mounts of it.
type place struct {
	device string
	root   string
}

// mount is a line of the mount table.
type mount struct {
	place
	point    string
	readOnly bool
}

// mounts reads this process's mount table, in the order of mounting.
func mounts() ([]mount, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var found []mount
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		line, err := parseMount(scanner.Text())
		if err != nil {
			return nil, err
		}
		found = append(found, line)
	}
	return found, scanner.Err()
}

// parseMount reads a line of /proc/PID/mountinfo, see proc(5).
func parseMount(line string) (mount, error) {
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return mount{}, fmt.Errorf("mount table has a line %q", line)
	}
	return mount{
		place:    place{device: fields[2], root: unescape(fields[3])},
		point:    unescape(fields[4]),
		readOnly: slices.Contains(strings.Split(fields[5], ","), "ro"),
	}, nil
}

// unescape turns \040 and its like into the characters they stand for.
func unescape(path string) string {
	var plain strings.Builder
	for len(path) > 0 {
		if path[0] == '\\' && len(path) >= 4 {
			if code, err := strconv.ParseUint(path[1:4], 8, 8); err == nil {
				plain.WriteByte(byte(code))
				path = path[4:]
				continue
			}
		}
		plain.WriteByte(path[0])
		path = path[1:]
	}
	return plain.String()
}

// placeOf finds where a real path lies.
func placeOf(table []mount, path string) place {
	var nearest mount
	for _, candidate := range table {
		if within(path, candidate.point) && len(candidate.point) >= len(nearest.point) {
			nearest = candidate
		}
	}
	below := strings.TrimPrefix(path, nearest.point)
	return place{device: nearest.device, root: filepath.Join(nearest.root, below)}
}

// within says whether a path is a directory or lies below it.
func within(path, directory string) bool {
	return path == directory || strings.HasPrefix(path, strings.TrimSuffix(directory, "/")+"/")
}

// mountsOf finds the bind mounts of a real path.
func mountsOf(path string) ([]mount, error) {
	table, err := mounts()
	if err != nil {
		return nil, err
	}
	sought := placeOf(table, path)
	return slices.DeleteFunc(table, func(m mount) bool { return m.place != sought || m.point == path }), nil
}

// mountAt finds what is mounted at a real path: the topmost, if any.
func mountAt(point string) (found mount, mounted bool, err error) {
	table, err := mounts()
	if err != nil {
		return mount{}, false, err
	}
	for _, candidate := range table {
		if candidate.point == point {
			found, mounted = candidate, true
		}
	}
	return found, mounted, nil
}

// mountFlags are the mount options that a bind mount can have.
var mountFlags = map[string]uintptr{
	"rw":         0,
	"ro":         unix.MS_RDONLY,
	"noatime":    unix.MS_NOATIME,
	"nodiratime": unix.MS_NODIRATIME,
	"relatime":   unix.MS_RELATIME,
	"nosuid":     unix.MS_NOSUID,
	"nodev":      unix.MS_NODEV,
	"noexec":     unix.MS_NOEXEC,
}

// bind mounts a file or directory at another path.
func bind(from, to string, flags uintptr) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot bind %s to %s: %w", from, to, err)
	}
	// Binding ignores flags; they need a second step.
	if err := remount(to, flags); err != nil {
		_ = unix.Unmount(to, 0)
		return err
	}
	return nil
}

// remount sets the flags of a bind mount.
func remount(point string, flags uintptr) error {
	if flags == 0 {
		return nil
	}
	if err := unix.Mount("", point, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""); err != nil {
		return fmt.Errorf("cannot set the options of %s: %w", point, err)
	}
	return nil
}
