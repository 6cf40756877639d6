package main

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestSwitches(t *testing.T) {
	switches := faults{directory: t.TempDir()}
	throw := func(file, content string) {
		t.Helper()
		path := filepath.Join(switches.directory, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	throw("clone", "ResourceExhausted: the pool is full\nnobody reads this\n")
	throw("delete", "trouble: at the back end")
	throw("publish", "")
	throw("on-demand/create", "Unavailable: gone")

	for _, test := range []struct {
		what    operation
		fail    string
		code    codes.Code
		message string
	}{
		{opClone, "", codes.ResourceExhausted, "the pool is full"},
		{opDelete, "", codes.Internal, "trouble: at the back end"},
		{opPublish, "", codes.Internal, "publish fails: there is a switch"},
		{opCreate, "", codes.OK, ""},
		{opCreate, failOnDemand, codes.Unavailable, "gone"},
		{opCreate, "always", codes.Internal, `create fails: the class says fail: "always"`},
		{opRestore, "clones", codes.OK, ""},
		{opSnapshot, failOnDemand, codes.OK, ""},
	} {
		got := status.Convert(switches.check(test.what, test.fail))
		if got.Code() != test.code || got.Message() != test.message {
			t.Errorf("%s with fail %q: %s %q", test.what, test.fail, got.Code(), got.Message())
		}
	}
}
