package main

import "testing"

func TestParseMount(t *testing.T) {
	got, err := parseMount(`43 27 0:39 /volumes/a/data /var/a\040b ro,relatime shared:1 - btrfs /dev/loop0 rw,subvol=/`)
	want := mount{place: place{device: "0:39", root: "/volumes/a/data"}, point: "/var/a b", readOnly: true}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPlaceOfIsWhatTheTopmostMountShows(t *testing.T) {
	table := []mount{
		{place: place{"8:1", "/"}, point: "/"},
		{place: place{"8:2", "/"}, point: "/srv/rig"},
		{place: place{"8:3", "/sub"}, point: "/srv/rig"},
		{place: place{"8:4", "/"}, point: "/srv/rig/deeper"},
	}
	for path, want := range map[string]place{
		"/srv/rig":        {"8:3", "/sub"},
		"/srv/rig/a/data": {"8:3", "/sub/a/data"},
		"/srv/rigged":     {"8:1", "/srv/rigged"},
	} {
		if got := placeOf(table, path); got != want {
			t.Errorf("%s is at %+v, not %+v", path, got, want)
		}
	}
}
