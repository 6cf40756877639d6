package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// operation is a thing that can be made to fail, by the name of its switch.
type operation string

const (
	opCreate         operation = "create"
	opClone          operation = "clone"
	opRestore        operation = "restore"
	opSnapshot       operation = "snapshot"
	opDelete         operation = "delete"
	opDeleteSnapshot operation = "delete-snapshot"
	opPublish        operation = "publish"
)

// failOnDemand is the value of the parameter "fail" that has a volume obey the
// switches in the directory of the same name.
const failOnDemand = "on-demand"

// failing says which operations each value of the parameter "fail" breaks.
var failing = map[string][]operation{
	"":           nil,
	"always":     {opCreate, opClone, opRestore},
	"clones":     {opClone},
	"deletes":    {opDelete},
	failOnDemand: nil,
}

// faults are failures that tests ask for.
type faults struct {
	directory string
}

// check fails when the operation shall fail on a volume of a class with that
// value of the parameter "fail".
func (f faults) check(what operation, fail string) error {
	for _, broken := range failing[fail] {
		if broken == what {
			return status.Errorf(codes.Internal, "%s fails: the class says fail: %q", what, fail)
		}
	}
	if err := thrown(filepath.Join(f.directory, string(what))); err != nil {
		return err
	}
	if fail == failOnDemand {
		return thrown(filepath.Join(f.directory, failOnDemand, string(what)))
	}
	return nil
}

// thrown fails with what the switch says, if there is such a file.
func thrown(file string) error {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read a switch: %w", err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	code, message := parseFault(strings.TrimSpace(line))
	if message == "" {
		message = filepath.Base(file) + " fails: there is a switch"
	}
	return status.Error(code, message)
}

// parseFault splits "Code: message"; without a code it is Internal.
func parseFault(line string) (codes.Code, string) {
	name, message, _ := strings.Cut(line, ":")
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code.String() == name {
			return code, strings.TrimSpace(message)
		}
	}
	return codes.Internal, line
}
