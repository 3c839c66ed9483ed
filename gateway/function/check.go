package function

import (
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of what one container may ask for.
const (
	MaxCPUMilli         = 1_000_000
	MaxMemoryMiB        = 16 << 20
	MaxEphemeralDiskMiB = 64 << 20
	MaxScaledownWindow  = 20 * time.Minute
	MinScaledownWindow  = time.Second
	MaxContainers       = 100_000
	maxMounts           = 1000
	maxSecrets          = 100
)

var (
	pythonName   = regexp.MustCompile(`^[^\s\x00]{1,255}$`)
	pythonSeries = regexp.MustCompile(`^3\.[0-9]{1,2}$`)
)

// Checked returns the definition with defaults filled in, or a fault.Invalid that names the function and what is wrong with it.
func (d Definition) Checked() (Definition, error) {
	if err := ident.CheckName("function", d.Name); err != nil {
		return d, err
	}
	for _, check := range []func() error{d.checkCode, d.checkMounts, d.checkVolumes, d.checkBuckets, d.checkSecrets, d.Resources.Check, d.Autoscaler.check} {
		if err := check(); err != nil {
			return d, fault.New(fault.Invalid, "function %q: %w", d.Name, err)
		}
	}
	if d.Timeout == 0 {
		d.Timeout = DefaultTimeout
	}
	if d.StartupTimeout == 0 {
		d.StartupTimeout = d.Timeout
	}
	for _, t := range []struct {
		name  string
		value time.Duration
	}{{"timeout", d.Timeout}, {"startup_timeout", d.StartupTimeout}} {
		if t.value < MinTimeout || t.value > MaxTimeout {
			return d, fault.New(fault.Invalid, "function %q: %s %s: want %s to %s", d.Name, t.name, t.value, MinTimeout, MaxTimeout)
		}
	}
	d.fillDefaults()
	if err := d.checkPolicies(); err != nil {
		return d, fault.New(fault.Invalid, "function %q: %w", d.Name, err)
	}
	return d, nil
}

func (d *Definition) fillDefaults() {
	if d.Resources.CPUMilli == 0 {
		d.Resources.CPUMilli = min(DefaultCPUMilli, orMax(d.Resources.CPULimitMilli))
	}
	if d.Resources.MemoryMiB == 0 {
		d.Resources.MemoryMiB = min(DefaultMemoryMiB, orMax(d.Resources.MemoryLimitMiB))
	}
	if d.Resources.EphemeralDiskMiB == 0 {
		d.Resources.EphemeralDiskMiB = DefaultEphemeralDiskMiB
	}
	if d.Autoscaler.ScaledownWindow == 0 {
		d.Autoscaler.ScaledownWindow = DefaultScaledownWindow
	}
}

// orMax reads a limit: 0 is none.
func orMax(limit uint32) uint32 {
	if limit == 0 {
		return ^uint32(0)
	}
	return limit
}

func (d Definition) checkCode() error {
	if err := ident.Check(ident.Image, d.ImageID); err != nil {
		return err
	}
	if !pythonSeries.MatchString(d.PythonVersion) {
		return fault.New(fault.Invalid, "python version %.20q: want a series such as 3.11", d.PythonVersion)
	}
	if d.Serialized != nil {
		if d.Module != "" {
			return fault.New(fault.Invalid, "both a module and a serialised function; give one")
		}
		return nil
	}
	if !pythonName.MatchString(d.Module) || !pythonName.MatchString(d.Qualname) {
		return fault.New(fault.Invalid, "module %.80q, qualified name %.80q: want both, or a serialised function", d.Module, d.Qualname)
	}
	return nil
}

// reserved are paths of a container that Skerry or the kernel provides.
var reserved = []string{"/proc", "/sys", "/dev", "/__skerry"}

func (d Definition) checkMounts() error { return CheckMounts(d.Mounts) }

func (d Definition) checkVolumes() error { return CheckVolumes(d.Volumes) }

func (d Definition) checkBuckets() error { return CheckBuckets(d.Buckets, d.Volumes) }

// CheckMounts returns a fault.Invalid for mounts that no container can have.
func CheckMounts(mounts []Mount) error {
	if len(mounts) > maxMounts {
		return fault.New(fault.Invalid, "%d mounts, at most %d", len(mounts), maxMounts)
	}
	for _, m := range mounts {
		if err := ident.CheckDigest(m.TreeDigest); err != nil {
			return err
		}
		if err := CheckTarget(m.RemotePath); err != nil {
			return err
		}
	}
	return nil
}

// CheckTarget returns a fault.Invalid for a path of a container at which nothing can be mounted.
func CheckTarget(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || len(p) > 4096 || strings.ContainsRune(p, 0) {
		return fault.New(fault.Invalid, `mount at %.200q: want a clean absolute path other than "/"`, p)
	}
	for _, r := range reserved {
		if p == r || strings.HasPrefix(p, r+"/") {
			return fault.New(fault.Invalid, "mount at %.200q: %s is reserved", p, r)
		}
	}
	return nil
}

func (d Definition) checkSecrets() error { return CheckSecrets(d.SecretIDs) }

// CheckSecrets returns a fault.Invalid for ids that are no secrets', or too many.
func CheckSecrets(ids []string) error {
	if len(ids) > maxSecrets {
		return fault.New(fault.Invalid, "%d secrets, at most %d", len(ids), maxSecrets)
	}
	for _, id := range ids {
		if err := ident.Check(ident.Secret, id); err != nil {
			return err
		}
	}
	return nil
}

// Check returns a fault.Invalid for what no container may have.
func (r Resources) Check() error {
	switch {
	case r.CPUMilli > MaxCPUMilli || r.CPULimitMilli > MaxCPUMilli:
		return fault.New(fault.Invalid, "cpu: at most %d cores", MaxCPUMilli/1000)
	case r.CPULimitMilli != 0 && r.CPULimitMilli < r.CPUMilli:
		return fault.New(fault.Invalid, "cpu: the limit, %d thousandths, is below the %d wanted", r.CPULimitMilli, r.CPUMilli)
	case r.MemoryMiB > MaxMemoryMiB || r.MemoryLimitMiB > MaxMemoryMiB:
		return fault.New(fault.Invalid, "memory: at most %d MiB", MaxMemoryMiB)
	case r.MemoryLimitMiB != 0 && r.MemoryLimitMiB < r.MemoryMiB:
		return fault.New(fault.Invalid, "memory: the limit, %d MiB, is below the %d MiB wanted", r.MemoryLimitMiB, r.MemoryMiB)
	case r.EphemeralDiskMiB > MaxEphemeralDiskMiB:
		return fault.New(fault.Invalid, "ephemeral disk: at most %d MiB", MaxEphemeralDiskMiB)
	}
	return nil
}

func (a Autoscaler) check() error {
	for _, f := range []struct {
		name  string
		value int
	}{{"min_containers", a.MinContainers}, {"max_containers", a.MaxContainers}, {"buffer_containers", a.BufferContainers}} {
		if f.value < 0 || f.value > MaxContainers {
			return fault.New(fault.Invalid, "%s %d: want 0 to %d", f.name, f.value, MaxContainers)
		}
	}
	if a.MaxContainers != 0 && a.MinContainers > a.MaxContainers {
		return fault.New(fault.Invalid, "min_containers %d is above max_containers %d", a.MinContainers, a.MaxContainers)
	}
	if w := a.ScaledownWindow; w != 0 && (w < MinScaledownWindow || w > MaxScaledownWindow) {
		return fault.New(fault.Invalid, "scaledown_window %s: want %s to %s", w, MinScaledownWindow, MaxScaledownWindow)
	}
	return nil
}
