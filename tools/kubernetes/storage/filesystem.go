package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// filesystem makes, copies and removes the directory trees that hold content.
type filesystem interface {
	// create makes an empty tree.
	create(ctx context.Context, path string) error
	// copy makes a tree with the content of another one.
	copy(ctx context.Context, from, to string, readOnly bool) error
	// limit bounds what a tree may hold.
	limit(ctx context.Context, path string, bytes int64) error
	// used is how much a tree holds, in bytes.
	used(ctx context.Context, path string) (int64, error)
	// remove removes a tree, if it is there, and returns when its space is free.
	remove(ctx context.Context, path string) error
}

// openFilesystem picks the best way that the directory's file system has.
func openFilesystem(ctx context.Context, directory string) (filesystem, error) {
	var facts unix.Statfs_t
	if err := unix.Statfs(directory, &facts); err != nil {
		return nil, fmt.Errorf("%s: %w", directory, err)
	}
	if facts.Type == unix.BTRFS_SUPER_MAGIC {
		return openBtrfs(ctx, directory)
	}
	klog.InfoS("Not a btrfs file system: clones and snapshots are copied file by file and are NOT of one moment, "+
		"and the size of a volume is not enforced", "directory", directory)
	return plain{}, nil
}

// space is what the file system below the volumes has, in bytes.
func space(directory string) (total, available int64, err error) {
	var facts unix.Statfs_t
	if err := unix.Statfs(directory, &facts); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", directory, err)
	}
	return int64(facts.Blocks) * facts.Bsize, int64(facts.Bavail) * facts.Bsize, nil
}

// plain is a filesystem of ordinary directories: no limits, and copies are
// read while others may write.
type plain struct{}

func (plain) create(_ context.Context, path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755) // whatever the umask
}

func (plain) copy(ctx context.Context, from, to string, _ bool) error {
	_, err := command(ctx, "cp", "--archive", "--reflink=auto", "--sparse=always", "--no-target-directory", from, to)
	return err
}

func (plain) limit(context.Context, string, int64) error {
	return nil
}

func (plain) used(_ context.Context, path string) (int64, error) {
	var total int64
	err := filepath.WalkDir(path, func(file string, _ fs.DirEntry, err error) error {
		var facts unix.Stat_t
		if err == nil {
			err = unix.Lstat(file, &facts)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted while we look
		}
		const statBlock = 512 // unit of st_blocks on every file system
		total += facts.Blocks * statBlock
		return err
	})
	return total, err
}

func (plain) remove(_ context.Context, path string) error {
	return os.RemoveAll(path)
}

// command runs a program and returns its output; the error has what the
// program said, and the context's error when that ended it.
func command(ctx context.Context, name string, arguments ...string) ([]byte, error) {
	program := exec.CommandContext(ctx, name, arguments...)
	program.Env = append(os.Environ(), "LC_ALL=C")
	// A copy must not outlive a killed driver: the next one sweeps it away.
	program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	program.Stderr = &complaints
	output, err := program.Output()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(complaints.Bytes()))
	}
	return output, nil
}
