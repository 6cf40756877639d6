// The first part of the one file that is the plugin for Velero: a static program, which starts the Python that lies behind it in the same file.
//
// Nothing is unpacked to a place that anybody could see. The dynamic loader, the interpreter and the libraries are copied into files without a
// name: in memory, or where that is forbidden into files that are unlinked before they are used. The loader is then started in place of this
// process, and takes everything else by the numbers of the open files. So no library of the system is used, whatever it is: there need not be one.
// The file itself is among them: a plugin that runs goes on with the file that it was started from, whatever takes its place meanwhile.
//
// The last bytes of the file are a checksum of all before them, which is looked at first: of a file that is damaged or cut off nothing is run.
//
// Given `install DIRECTORY` by anybody but a Velero server it copies the file it is in into that directory: an init container needs nothing else.
package main

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	name        = "datamover-velero-plugin"
	interpreter = "runtime/interpreter"
	libraries   = "runtime/libraries/"
	loader      = "runtime/loader"

	running       = "/proc/self/exe" // this file, also when another one has its name by now
	memory        = "memory"
	placeVariable = "DATAMOVER_PLUGIN_FILES"

	abandoned       = time.Minute                      // a copy that is being made grows all the time
	memfdExecutable = 0x10                             // MFD_EXEC, which Linux before 6.3 does not know
	temporaryFile   = 0o20000000 | syscall.O_DIRECTORY // O_TMPFILE
)

func main() {
	self, err := os.Executable()
	if err != nil {
		end(err)
	}
	if os.Getenv("VELERO_PLUGIN") == "" && len(os.Args) == 3 && os.Args[1] == "install" {
		if err := install(self, os.Args[2]); err != nil {
			fmt.Fprintf(os.Stderr, "%s cannot be put into %s: %v\n", name, os.Args[2], err)
			os.Exit(1)
		}
		fmt.Printf("%s is in %s\n", name, os.Args[2])
		return
	}
	end(start(self))
}

// end tells why there is no plugin, as a line that Velero's log takes.
func end(err error) {
	line, _ := json.Marshal(map[string]string{"@level": "error", "@message": "the plugin cannot start: " + err.Error()})
	fmt.Fprintf(os.Stderr, "%s\n", line)
	os.Exit(1)
}

// open returns the file that this program is in, and the parts behind the program. Raises an error unless it is as it was made.
func open(self string) (*os.File, *zip.Reader, error) {
	file, err := os.Open(running)
	if err != nil {
		return nil, nil, err
	}
	archive, err := whole(file)
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("%s is not whole: %w", self, err)
	}
	return file, archive, nil
}

func whole(file *os.File) (*zip.Reader, error) {
	information, err := file.Stat()
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(file, information.Size())
	if err != nil {
		return nil, err
	}
	sum := crc32.NewIEEE()
	content := io.NewSectionReader(file, 0, information.Size()-int64(len(archive.Comment)))
	if _, err := io.CopyBuffer(sum, content, make([]byte, 1<<18)); err != nil {
		return nil, err
	}
	if found := fmt.Sprintf("%08x", sum.Sum32()); found != archive.Comment {
		return nil, fmt.Errorf("its checksum is %s, and should be %q", found, archive.Comment)
	}
	return archive, nil
}

// install copies the file, whole or not at all. Until it is whole nobody may run it: Velero runs every program in its folder.
func install(self, directory string) (err error) {
	from, _, err := open(self)
	if err != nil {
		return err
	}
	defer from.Close()
	tidy(directory)
	to, err := os.CreateTemp(directory, "."+name+"-") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(to.Name())
		}
	}()
	if _, err = io.Copy(to, from); err == nil {
		err = to.Sync()
	}
	if closed := to.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	there := filepath.Join(directory, name)
	if err = os.Rename(to.Name(), there); err != nil {
		return err
	}
	return os.Chmod(there, 0o755)
}

// tidy removes what is left of copies that were killed.
func tidy(directory string) {
	left, _ := filepath.Glob(filepath.Join(directory, "."+name+"-*"))
	for _, each := range left {
		if information, err := os.Lstat(each); err == nil && time.Since(information.ModTime()) > abandoned {
			os.Remove(each)
		}
	}
}

// start becomes the plugin. It returns only with an error: what was wrong at each place that was tried.
func start(self string) error {
	file, archive, err := open(self)
	if err != nil {
		return err
	}
	parts := partsOf(archive)
	if parts[loader] == nil || parts[interpreter] == nil {
		return fmt.Errorf("%s is not whole: it has no Python in it", self)
	}
	modules, err := keep(file)
	if err != nil {
		return err
	}
	var reasons []string
	for _, place := range places(self) {
		reasons = append(reasons, fmt.Sprintf("%s: %v", place, become(modules, place, parts)))
	}
	return errors.New(strings.Join(reasons, "; "))
}

// keep opens a file anew for reading only, and returns its path by a number that outlives the start of another program: Go would close it.
func keep(file *os.File) (string, error) {
	descriptor, err := syscall.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), syscall.O_RDONLY, 0)
	return fmt.Sprintf("/proc/self/fd/%d", descriptor), err
}

func partsOf(archive *zip.Reader) map[string]*zip.File {
	parts := map[string]*zip.File{}
	for _, each := range archive.File {
		if strings.HasPrefix(each.Name, "runtime/") {
			parts[each.Name] = each
		}
	}
	return parts
}

// places returns where files without a name may be had, the best first. Beside the file itself programs can be run: it is one.
func places(self string) []string {
	if told := os.Getenv(placeVariable); told != "" {
		return []string{told}
	}
	return []string{memory, os.TempDir(), filepath.Dir(self)}
}

// become starts the loader in place of this process. `modules` is the path of the file in which Python finds its library and us.
func become(modules, place string, parts map[string]*zip.File) error {
	var opened []int
	defer func() {
		for _, each := range opened {
			syscall.Close(each)
		}
	}()
	names := []string{}
	for each := range parts {
		names = append(names, each)
	}
	sort.Strings(names)
	paths := map[string]string{}
	var preloaded []string
	for _, each := range names {
		descriptor, err := hide(parts[each], place)
		if err != nil {
			return err
		}
		opened = append(opened, descriptor)
		paths[each] = fmt.Sprintf("/proc/self/fd/%d", descriptor)
		if strings.HasPrefix(each, libraries) {
			preloaded = append(preloaded, paths[each])
		}
	}
	words := []string{os.Args[0], "--argv0", os.Args[0], "--preload", strings.Join(preloaded, ":"), paths[interpreter], "-s", "-S", "-B", modules}
	return syscall.Exec(paths[loader], append(words, os.Args[1:]...), environment(modules, place))
}

// meantForOthers are the beginnings of variables by which another Python, C library or OpenSSL is told what to do.
var meantForOthers = []string{"PYTHON", "LD_", "GLIBC_", "GCONV_", "LOCPATH", "MALLOC_", "OPENSSL_", placeVariable}

// environment leaves out what is meant for others, and says where this Python finds its library: in the file.
func environment(modules, place string) []string {
	kept := []string{}
	for _, each := range os.Environ() {
		if !slices.ContainsFunc(meantForOthers, func(start string) bool { return strings.HasPrefix(each, start) }) {
			kept = append(kept, each)
		}
	}
	return append(kept, "PYTHONHOME=/nonexistent", "PYTHONPATH="+modules, "PYTHONUTF8=1", "PYTHONCOERCECLOCALE=0", placeVariable+"="+place)
}

// hide copies a part into a file without a name, and returns its descriptor, which outlives the start of another program.
func hide(part *zip.File, place string) (int, error) {
	content, err := part.Open()
	if err != nil {
		return 0, err
	}
	defer content.Close()
	var file *os.File
	if place == memory {
		file, err = inMemory(filepath.Base(part.Name))
	} else {
		file, err = withoutName(place)
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if _, err := io.Copy(file, content); err != nil {
		return 0, err
	}
	// opened anew for reading only: what is open for writing cannot be executed. Without O_CLOEXEC, which Go would set.
	return syscall.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), syscall.O_RDONLY, 0)
}

func inMemory(called string) (*os.File, error) {
	pointer, err := syscall.BytePtrFromString(called)
	if err != nil {
		return nil, err
	}
	for _, flags := range []uintptr{memfdExecutable, 0} {
		descriptor, _, number := syscall.Syscall(memfdCreate, uintptr(unsafe.Pointer(pointer)), flags, 0)
		if number == 0 {
			syscall.CloseOnExec(int(descriptor))
			return os.NewFile(descriptor, called), nil
		}
		err = number
		if number != syscall.EINVAL {
			break
		}
	}
	return nil, fmt.Errorf("memfd_create: %w", err)
}

func withoutName(directory string) (*os.File, error) {
	if file, err := os.OpenFile(directory, os.O_RDWR|temporaryFile, 0o700); err == nil {
		return file, nil
	}
	file, err := os.CreateTemp(directory, "."+name+"-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(file.Name()), file.Chmod(0o700)); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
