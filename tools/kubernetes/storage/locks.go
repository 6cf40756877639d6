package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// locks say which volumes and snapshots have operations pending. Nobody waits
// for one: CSI has callers of a busy volume told so (ABORTED), and they retry.
type locks struct {
	mutex sync.Mutex
	held  map[string]int // holders that share the key, or alone
}

// alone in locks.held marks a key held by one that does not share it.
const alone = -1

func newLocks() *locks {
	return &locks{held: make(map[string]int)}
}

// volumeKey and snapshotKey keep the two kinds of id apart.
func volumeKey(id string) string   { return "volume " + id }
func snapshotKey(id string) string { return "snapshot " + id }

// take holds a key alone: to make, change or delete what it names.
func (l *locks) take(key string) (release func(), err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.held[key] != 0 {
		return nil, busy(key)
	}
	l.held[key] = alone
	return func() { l.release(key) }, nil
}

// share holds a key together with others: to read what it names.
func (l *locks) share(key string) (release func(), err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.held[key] == alone {
		return nil, busy(key)
	}
	l.held[key]++
	return func() { l.release(key) }, nil
}

func (l *locks) release(key string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.held[key] > 1 {
		l.held[key]--
		return
	}
	delete(l.held, key)
}

func busy(key string) error {
	return status.Errorf(codes.Aborted, "an operation on %s is pending", key)
}

// delays make operations slow. Time counts from the first request, as it does
// on a slow back end: a caller that gives up and asks again waits for the rest
// only, and so gets there however short its own patience is.
type delays struct {
	mutex sync.Mutex
	began map[string]time.Time
}

func newDelays() *delays {
	return &delays{began: make(map[string]time.Time)}
}

// wait returns when the time since the first wait for the key is over, or
// fails with the context's error.
func (d *delays) wait(ctx context.Context, key string, delay time.Duration) error {
	d.mutex.Lock()
	began, known := d.began[key]
	if !known {
		began = time.Now()
		d.began[key] = began
	}
	d.mutex.Unlock()

	timer := time.NewTimer(time.Until(began.Add(delay)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s is still being made: %w", key, ctx.Err())
	}
}

// forget lets the next wait for the key begin anew.
func (d *delays) forget(key string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	delete(d.began, key)
}
