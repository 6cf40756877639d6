package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

const (
	// subvolumeInode is the inode number of the root of every subvolume.
	subvolumeInode = 256
	// neverSkip is more levels than a btrfs tree can have.
	neverSkip = "8"
	// cleanerPoll is how often we look whether the space of a subvolume is free.
	cleanerPoll = 50 * time.Millisecond
)

// btrfs is a filesystem of subvolumes. Each has a quota group of its own,
// whose limit counts what the subvolume refers to, shared with others or not.
// A write over the limit fails with EDQUOT.
type btrfs struct {
	directory string
}

// openBtrfs turns quota groups on and drops those of subvolumes that are gone.
func openBtrfs(ctx context.Context, directory string) (btrfs, error) {
	b := btrfs{directory: directory}
	if _, err := command(ctx, "btrfs", "quota", "enable", directory); err != nil {
		return b, err
	}
	if err := b.keepQuotasExact(ctx); err != nil {
		return b, err
	}
	return b, b.sweepQuotaGroups(ctx)
}

// keepQuotasExact recounts the quota groups if they are off, and keeps the
// kernel from giving up on them when large subvolumes are deleted, which it
// does to save time (drop_subtree_threshold).
func (b btrfs) keepQuotasExact(ctx context.Context) error {
	output, err := command(ctx, "findmnt", "--noheadings", "--output=UUID", "--target="+b.directory)
	if err != nil {
		return err
	}
	groups := filepath.Join("/sys/fs/btrfs", strings.TrimSpace(string(output)), "qgroups")
	threshold := filepath.Join(groups, "drop_subtree_threshold")
	if err := os.WriteFile(threshold, []byte(neverSkip), 0); err != nil {
		klog.InfoS("Quotas may become inexact", "reason", err)
	}
	inconsistent, err := os.ReadFile(filepath.Join(groups, "inconsistent"))
	if err != nil || strings.TrimSpace(string(inconsistent)) == "0" {
		return nil // an old kernel does not say
	}
	_, err = command(ctx, "btrfs", "quota", "rescan", "-w", b.directory)
	return err
}

// sweepQuotaGroups removes the quota groups that have no subvolume. Kernels
// before 6.11 leave them to us, and we may have been killed.
func (b btrfs) sweepQuotaGroups(ctx context.Context) error {
	if err := b.commit(ctx); err != nil {
		return err
	}
	known := []string{"5"} // the top level, which no list has
	for _, options := range [][]string{nil, {"-d"}} {
		ids, err := b.subvolumes(ctx, options...)
		if err != nil {
			return err
		}
		known = append(known, ids...)
	}
	output, err := command(ctx, "btrfs", "qgroup", "show", "--raw", b.directory)
	if err != nil {
		return err
	}
	for _, fields := range table(output) {
		id, isSubvolume := strings.CutPrefix(fields[0], "0/")
		if !isSubvolume || slices.Contains(known, id) {
			continue
		}
		if err := b.dropQuotaGroup(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (b btrfs) create(ctx context.Context, path string) error {
	if _, err := command(ctx, "btrfs", "subvolume", "create", path); err != nil {
		return err
	}
	return os.Chmod(path, 0o755) // whatever the umask
}

func (b btrfs) copy(ctx context.Context, from, to string, readOnly bool) error {
	arguments := []string{"subvolume", "snapshot"}
	if readOnly {
		arguments = append(arguments, "-r")
	}
	_, err := command(ctx, "btrfs", append(arguments, from, to)...)
	return err
}

func (b btrfs) limit(ctx context.Context, path string, bytes int64) error {
	_, err := command(ctx, "btrfs", "qgroup", "limit", strconv.FormatInt(bytes, 10), path)
	return err
}

func (b btrfs) used(ctx context.Context, path string) (int64, error) {
	output, err := command(ctx, "btrfs", "qgroup", "show", "-f", "--raw", path)
	if err != nil {
		return 0, err
	}
	for _, fields := range table(output) {
		if strings.HasPrefix(fields[0], "0/") && len(fields) > 1 {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no quota group", path)
}

// remove deletes a subvolume. That takes its name away at once, and its space
// is freed by a thread of the kernel: we wait for it.
func (b btrfs) remove(ctx context.Context, path string) error {
	id := ""
	var facts unix.Stat_t
	err := unix.Lstat(path, &facts)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A call before us deleted it and may not have waited to the end.
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case facts.Ino != subvolumeInode:
		return os.RemoveAll(path)
	default:
		output, err := command(ctx, "btrfs", "inspect-internal", "rootid", path)
		if err != nil {
			return err
		}
		id = strings.TrimSpace(string(output))
		// --commit-after wakes the thread; else it may sleep for half a minute.
		if _, err := command(ctx, "btrfs", "subvolume", "delete", "--commit-after", path); err != nil {
			return err
		}
	}
	if err := b.awaitCleaner(ctx, id); err != nil {
		return err
	}
	if err := b.commit(ctx); err != nil {
		return err
	}
	if id == "" {
		return nil // openBtrfs sweeps its quota group, if the kernel did not
	}
	return b.dropQuotaGroup(ctx, id)
}

// awaitCleaner waits until the kernel has freed a deleted subvolume, or
// without an id all those that are deleted by now.
func (b btrfs) awaitCleaner(ctx context.Context, id string) error {
	var awaited []string
	if id != "" {
		awaited = []string{id}
	}
	for {
		left, err := b.subvolumes(ctx, "-d")
		if err != nil {
			return err
		}
		if awaited == nil {
			awaited = left
		}
		if !slices.ContainsFunc(left, func(id string) bool { return slices.Contains(awaited, id) }) {
			return nil
		}
		select {
		case <-time.After(cleanerPoll):
		case <-ctx.Done():
			return fmt.Errorf("space of deleted subvolumes is not free yet: %w", ctx.Err())
		}
	}
}

// subvolumes lists the ids of the file system's subvolumes; with -d of those
// that are deleted and not yet freed.
func (b btrfs) subvolumes(ctx context.Context, options ...string) ([]string, error) {
	arguments := append([]string{"subvolume", "list"}, options...)
	output, err := command(ctx, "btrfs", append(arguments, b.directory)...)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, fields := range table(output) {
		if len(fields) > 1 && fields[0] == "ID" {
			ids = append(ids, fields[1])
		}
	}
	return ids, nil
}

// commit ends the file system's transaction: space that was freed can be used,
// and quota groups are counted.
func (b btrfs) commit(ctx context.Context) error {
	_, err := command(ctx, "btrfs", "filesystem", "sync", b.directory)
	return err
}

// dropQuotaGroup removes the quota group of a subvolume that is gone, unless
// the kernel did. It must come after a commit: a group that does not count
// zero yet, when dropped, has the kernel take all groups for wrong and no
// longer enforce any.
func (b btrfs) dropQuotaGroup(ctx context.Context, id string) error {
	_, err := command(ctx, "btrfs", "qgroup", "destroy", "0/"+id, b.directory)
	if err != nil && strings.Contains(err.Error(), "No such file or directory") {
		return nil
	}
	return err
}

// table splits what a btrfs command prints into the fields of its lines.
func table(output []byte) [][]string {
	var lines [][]string
	scanner := bufio.NewScanner(bytes.NewReader(output))
	for scanner.Scan() {
		if fields := strings.Fields(scanner.Text()); len(fields) > 0 {
			lines = append(lines, fields)
		}
	}
	return lines
}
