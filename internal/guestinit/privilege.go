package guestinit

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keepPrivilege makes init's own what it inherited: CAP_SYS_ADMIN, by which PID 1 of a sandbox sets the host name and mounts. What it starts
// gets no capability but those of the bounding set, once none is inheritable. Every thread has sets of its own, so all of them give it up.
func keepPrivilege() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&sets)
	if errno != 0 {
		return fmt.Errorf("give up inheritable capabilities: %w", errno)
	}
	return nil
}
