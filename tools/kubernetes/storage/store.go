package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

// errAbsent says that there is no volume, or no snapshot, of an id.
var errAbsent = errors.New("does not exist")

// Names of directories that are being filled or emptied start so; ids do not.
const (
	makingPrefix   = ".making-"
	deletingPrefix = ".deleting-"
)

// discardTimeout bounds a clean-up that no caller waits for.
const discardTimeout = 30 * time.Second

// record is what the driver remembers of a volume or a snapshot.
type record struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Bytes      int64             `json:"bytes"`
	Block      bool              `json:"block"`
	Parameters map[string]string `json:"parameters,omitempty"`
	// Source is what the content was first copied from; a snapshot always has
	// a volume here.
	Source  source    `json:"source"`
	Created time.Time `json:"created"`
}

// source names a volume, a snapshot or nothing.
type source struct {
	Volume   string `json:"volume,omitempty"`
	Snapshot string `json:"snapshot,omitempty"`
}

// plainName matches names that can be ids, and so names of directories.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// idOf is the id of the volume or snapshot of a name: the name itself where it
// can be a file's name. That the same name has the same id is what makes
// creating idempotent.
func idOf(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// store is all that the driver keeps.
type store struct {
	directory string
	files     filesystem
	volumes   *shelf
	snapshots *shelf
}

// openStore opens the store of a directory and sweeps what a killed driver
// left half made or half deleted.
func openStore(ctx context.Context, directory string) (*store, error) {
	files, err := openFilesystem(ctx, directory)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(directory, "faults", failOnDemand), 0o755); err != nil {
		return nil, err
	}
	volumes, err := openShelf(ctx, filepath.Join(directory, "volumes"), files)
	if err != nil {
		return nil, err
	}
	snapshots, err := openShelf(ctx, filepath.Join(directory, "snapshots"), files)
	if err != nil {
		return nil, err
	}
	return &store{directory: directory, files: files, volumes: volumes, snapshots: snapshots}, nil
}

// shelf is a directory with one directory for each volume (or snapshot) in it.
// Callers hold the lock of the id that they change.
type shelf struct {
	root  string
	files filesystem
}

func openShelf(ctx context.Context, root string, files filesystem) (*shelf, error) {
	s := &shelf{root: root, files: files}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	return s, s.sweep(ctx)
}

// sweep removes what was half made or half deleted. What cannot go now, since
// a process still has it open, say, is left to the next delete or start: it is
// in nobody's way.
func (s *shelf) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, discardTimeout)
	defer cancel()
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, makingPrefix) && !strings.HasPrefix(name, deletingPrefix) {
			continue
		}
		if err := s.discard(ctx, filepath.Join(s.root, name)); err != nil {
			klog.ErrorS(err, "Cannot sweep", "directory", name)
		}
	}
	return nil
}

// data is the path of the content of an id.
func (s *shelf) data(id string) string {
	return filepath.Join(s.root, id, "data")
}

// get fails with errAbsent when there is nothing of that id, however odd.
func (s *shelf) get(id string) (record, error) {
	if !plainName.MatchString(id) {
		return record{}, fmt.Errorf("%q %w", id, errAbsent)
	}
	content, err := os.ReadFile(filepath.Join(s.root, id, "record.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, fmt.Errorf("%q %w", id, errAbsent)
	}
	if err != nil {
		return record{}, err
	}
	var found record
	if err := json.Unmarshal(content, &found); err != nil {
		return record{}, fmt.Errorf("record of %q: %w", id, err)
	}
	return found, nil
}

// list returns all records in the order of their ids.
func (s *shelf) list() ([]record, error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return nil, err
	}
	records := make([]record, 0, len(entries))
	for _, entry := range entries {
		found, err := s.get(entry.Name())
		if errors.Is(err, errAbsent) {
			continue // being made or deleted, perhaps since the directory was read
		}
		if err != nil {
			return nil, err
		}
		records = append(records, found)
	}
	return records, nil
}

// add makes what the record says; fill makes the content at a path. After an
// error nothing is left.
func (s *shelf) add(ctx context.Context, added record, fill func(data string) error) error {
	making := filepath.Join(s.root, makingPrefix+added.ID)
	if err := s.discard(ctx, making); err != nil {
		return err
	}
	err := func() error {
		if err := os.Mkdir(making, 0o700); err != nil {
			return err
		}
		if err := fill(filepath.Join(making, "data")); err != nil {
			return err
		}
		if err := writeRecord(making, added); err != nil {
			return err
		}
		return os.Rename(making, filepath.Join(s.root, added.ID))
	}()
	if err != nil {
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
		defer cancel()
		return errors.Join(err, s.discard(cleaning, making))
	}
	return nil
}

// update replaces the record of something that exists.
func (s *shelf) update(changed record) error {
	return writeRecord(filepath.Join(s.root, changed.ID), changed)
}

// remove deletes an id and frees its space; it is no error that there is
// nothing. After an error the id is gone or not, and remove may be called
// again for the rest.
func (s *shelf) remove(ctx context.Context, id string) error {
	if !plainName.MatchString(id) {
		return nil
	}
	deleting := filepath.Join(s.root, deletingPrefix+id)
	if err := s.discard(ctx, deleting); err != nil {
		return err
	}
	err := os.Rename(filepath.Join(s.root, id), deleting)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.discard(ctx, deleting)
}

// discard empties and removes a directory that add or remove left.
func (s *shelf) discard(ctx context.Context, directory string) error {
	if _, err := os.Lstat(directory); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.files.remove(ctx, filepath.Join(directory, "data")); err != nil {
		return err
	}
	return os.RemoveAll(directory)
}

// writeRecord replaces a record file as a whole.
func writeRecord(directory string, written record) error {
	content, err := json.MarshalIndent(written, "", "  ")
	if err != nil {
		return err
	}
	temporary := filepath.Join(directory, "record.json.new")
	if err := os.WriteFile(temporary, append(content, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(directory, "record.json"))
}
