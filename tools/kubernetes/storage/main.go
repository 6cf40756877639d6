// Command storage is the CSI driver of the test rig: volumes of one node, with
// clones and snapshots, for tests that need a cluster with real storage. It is
// not meant for data that anybody wants to keep.
//
// # Storage
//
// With --directory on a btrfs file system a volume is a subvolume, and a clone
// or a snapshot is a btrfs snapshot: atomic, whatever the size and whoever
// writes. Quota groups hold a volume to its size: a write to a full volume
// fails with EDQUOT ("Disk quota exceeded"), not ENOSPC; ENOSPC is what a full
// file system below all the volumes says. On any other file system a volume is
// a plain directory without a limit and a clone is a copy file by file
// (reflinks where they work), which is not of one moment; the log says so at
// the start. A Block volume is a sparse file behind a loop device.
//
// The directory holds:
//
//	volumes/ID/record.json    what the volume is
//	volumes/ID/data/          its content (data/disk for a Block volume)
//	snapshots/ID/...          the same for snapshots
//	faults/                   switches for tests, see below
//
// A volume comes and goes by one rename of its directory, so that the driver
// may be killed at any moment: what was half made or half deleted is swept at
// the next start.
//
// # Parameters of a StorageClass
//
//	cloning: "false"      a volume made from another volume is refused with
//	                      InvalidArgument (from a snapshot it is made)
//	delaySeconds: "N"     making a volume takes N seconds, counted from the
//	                      first request for its name: a request that ends
//	                      before leaves the rest of the wait to the next one
//	fail: "always"        making a volume fails with Internal
//	fail: "clones"        only making one from another volume does
//	fail: "deletes"       only deleting one does
//	fail: "on-demand"     operations fail while a switch in faults/on-demand/
//	                      says so
//
// Any other parameter is refused, apart from those of the CSI sidecars
// (csi.storage.k8s.io/...).
//
// # Switches
//
// While a file DIRECTORY/faults/OPERATION exists, that operation fails on
// every volume; while DIRECTORY/faults/on-demand/OPERATION exists, on volumes
// with fail: "on-demand" (for a snapshot: of such a volume). OPERATION is one
// of create (an empty volume), clone (from a volume), restore (from a
// snapshot), snapshot, delete, delete-snapshot and publish. The first line of
// the file is the message; a gRPC code in front of it
// ("ResourceExhausted: no space left in the pool") replaces Internal.
// What exists already is answered as usual: switches never break idempotency.
//
// # Access modes
//
// All of them for Filesystem volumes (the modes of many nodes too, as every
// Pod of the rig runs on the one node); Block volumes refuse those of many
// nodes. The volume's fsType is not looked at.
package main

import (
	"context"
	"flag"
	"fmt"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
)

// topologyKey is the label of nodes, and the segment of volumes, that says
// which node a volume is on.
const topologyKey = "topology.rig.datamover.invalid/node"

const (
	// lockTimeout is how long a driver waits for one that was just killed.
	lockTimeout = 5 * time.Second
	lockPoll    = 50 * time.Millisecond
)

// options are the command's flags.
type options struct {
	endpoint     string
	directory    string
	node         string
	driver       string
	registration string
}

func main() {
	var given options
	flag.StringVar(&given.endpoint, "endpoint", "", "socket to serve CSI on (a path, unix:// in front allowed)")
	flag.StringVar(&given.directory, "directory", "", "directory of the volumes, best on a btrfs file system")
	flag.StringVar(&given.node, "node", "", "name of this node")
	flag.StringVar(&given.driver, "driver-name", "rig.csi.datamover.invalid", "name of the driver")
	flag.StringVar(&given.registration, "registration-directory", "",
		"kubelet's plugins_registry directory; the driver does not register when empty")
	klog.InitFlags(nil)
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, given); err != nil {
		klog.ErrorS(err, "The driver ends")
		klog.FlushAndExit(klog.ExitFlushTimeout, 1)
	}
	klog.Flush()
}

// run serves until the context ends.
func run(ctx context.Context, given options) error {
	for name, value := range map[string]string{
		"--endpoint": given.endpoint, "--directory": given.directory, "--node": given.node, "--driver-name": given.driver,
	} {
		if value == "" {
			return fmt.Errorf("%s is needed", name)
		}
	}
	socket, err := socketPath(given.endpoint)
	if err != nil {
		return err
	}
	directory, err := filepath.Abs(given.directory)
	if err != nil {
		return err
	}
	// Mount tables hold real paths.
	directory, err = filepath.EvalSymlinks(directory)
	if err != nil {
		return err
	}
	unlock, err := lockDirectory(ctx, directory)
	if err != nil {
		return err
	}
	defer unlock()

	store, err := openStore(ctx, directory)
	if err != nil {
		return err
	}
	switches := faults{directory: filepath.Join(directory, "faults")}
	pending := newLocks()
	services := services{
		identity:   &identityServer{driver: given.driver},
		controller: &controllerServer{node: given.node, store: store, faults: switches, locks: pending, delays: newDelays()},
		node:       &nodeServer{node: given.node, store: store, faults: switches, locks: pending},
	}
	if given.registration != "" {
		services.registration = &registrationServer{driver: given.driver, endpoint: socket}
	}
	return services.serve(ctx, socket, filepath.Join(given.registration, given.driver+"-reg.sock"))
}

// lockDirectory keeps a second driver off the directory: its sweep would take
// away what the first one is making. Programs that the driver runs inherit the
// lock, so that the successor of a killed driver waits for those to end too.
func lockDirectory(ctx context.Context, directory string) (unlock func(), err error) {
	// Not os.Open: that has files closed in the programs.
	lock, err := unix.Open(filepath.Join(directory, ".lock"), unix.O_CREAT|unix.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock of %s: %w", directory, err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		err := unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = unix.Close(lock) }, nil
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			_ = unix.Close(lock)
			return nil, fmt.Errorf("another driver uses %s: %w", directory, err)
		}
	}
}
