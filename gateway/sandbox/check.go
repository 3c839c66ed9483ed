package sandbox

import (
	"net/netip"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of a definition.
const (
	MaxArgvBytes  = 64 << 10
	maxTags       = 50
	maxTagValue   = 256
	maxOwner      = 128
	maxEnvBytes   = 64 << 10
	maxAllowed    = 1000
	maxPorts      = 64
	maxEgress     = 32
	minProbe      = 10 * time.Millisecond
	maxProbe      = time.Minute
	defaultProbe  = 100 * time.Millisecond
	maxHeaderName = 128
	maxFormat     = 256
)

var (
	tagKey       = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,63}$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	hostPattern  = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)
	headerName   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
)

// Checked returns the definition with defaults filled in, or a fault.Invalid that says what is wrong with it.
func (d Definition) Checked() (Definition, error) {
	d = d.withDefaults()
	for _, check := range []func() error{
		d.checkCommand, d.checkNames, d.checkTimes, d.Network.Check, d.checkPorts, d.checkProbe, d.checkEgress, d.Resources.Check,
		func() error { return ident.Check(ident.Image, d.ImageID) },
		func() error { return function.CheckMounts(d.Mounts) },
		func() error { return function.CheckVolumes(d.Volumes) },
		d.checkBuckets,
		func() error { return function.CheckSecrets(d.SecretIDs) },
	} {
		if err := check(); err != nil {
			return d, fault.New(fault.Invalid, "sandbox: %w", err)
		}
	}
	return d, nil
}

func (d Definition) withDefaults() Definition {
	if d.Timeout == 0 {
		d.Timeout = DefaultTimeout
	}
	if d.Probe != nil && d.Probe.Interval == 0 {
		p := *d.Probe
		p.Interval = defaultProbe
		d.Probe = &p
	}
	return d
}

func (d *Definition) checkCommand() error {
	if err := CheckArgv(d.Argv, true); err != nil {
		return err
	}
	if w := d.Workdir; w != "" && (!path.IsAbs(w) || len(w) > 4096 || strings.ContainsRune(w, 0)) {
		return fault.New(fault.Invalid, "workdir %.200q: want an absolute path", w)
	}
	size := 0
	for k, v := range d.Env {
		size += len(k) + len(v)
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0) {
			return fault.New(fault.Invalid, "environment variable %.80q: no environment can carry it", k)
		}
	}
	if size > maxEnvBytes {
		return fault.New(fault.Invalid, "environment of %d bytes: at most %d", size, maxEnvBytes)
	}
	return nil
}

// CheckArgv returns a fault.Invalid for a command that can't be run; empty allows one without words.
func CheckArgv(argv []string, empty bool) error {
	size := 0
	for _, a := range argv {
		size += len(a)
		if strings.ContainsRune(a, 0) {
			return fault.New(fault.Invalid, "command: argument %.80q has a zero byte", a)
		}
	}
	switch {
	case len(argv) == 0 && !empty:
		return fault.New(fault.Invalid, "command: empty; name a program")
	case len(argv) > 0 && argv[0] == "":
		return fault.New(fault.Invalid, "command: the program's name is empty")
	case size > MaxArgvBytes:
		return fault.New(fault.Invalid, "command: %d bytes of arguments, at most %d; write long input to a file or to standard input", size, MaxArgvBytes)
	}
	return nil
}

func (d *Definition) checkNames() error {
	if d.Name != "" {
		if err := ident.CheckName("sandbox", d.Name); err != nil {
			return err
		}
	}
	if len(d.Owner) > maxOwner || strings.ContainsAny(d.Owner, "\x00\r\n") {
		return fault.New(fault.Invalid, "owner %.80q: want at most %d bytes in one line", d.Owner, maxOwner)
	}
	if d.CustomDomain != "" && (!hostPattern.MatchString(d.CustomDomain) || strings.HasPrefix(d.CustomDomain, "*")) {
		return fault.New(fault.Invalid, "custom domain %.80q: want a host name", d.CustomDomain)
	}
	return CheckTags(d.Tags)
}

// CheckTags returns a fault.Invalid for tags that a sandbox can't have.
func CheckTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fault.New(fault.Invalid, "%d tags, at most %d", len(tags), maxTags)
	}
	for k, v := range tags {
		if !tagKey.MatchString(k) {
			return fault.New(fault.Invalid, "tag %.80q: want 1 to 63 letters, digits, '-', '_', '.' or '/'", k)
		}
		if len(v) > maxTagValue {
			return fault.New(fault.Invalid, "tag %q: a value of %d bytes, at most %d", k, len(v), maxTagValue)
		}
	}
	return nil
}

func (d *Definition) checkTimes() error {
	if d.Timeout < MinTimeout || d.Timeout > MaxTimeout {
		return fault.New(fault.Invalid, "timeout %s: want %s to %s", d.Timeout, MinTimeout, MaxTimeout)
	}
	if t := d.IdleTimeout; t != 0 && (t < MinTimeout || t > MaxTimeout) {
		return fault.New(fault.Invalid, "idle timeout %s: want %s to %s", t, MinTimeout, MaxTimeout)
	}
	if d.PauseWhenIdle && d.IdleTimeout == 0 {
		return fault.New(fault.Invalid, "pausing when idle: give the idle timeout after which")
	}
	return nil
}

// Check returns a fault.Invalid for a policy that makes no sense.
func (n Network) Check() error {
	if n.Block && (n.OutboundCIDRs != nil || n.OutboundDomains != nil || n.InboundCIDRs != nil) {
		return fault.New(fault.Invalid, "network: blocked, and lists of what is allowed; give one of the two")
	}
	for _, l := range []struct {
		name string
		list *Allowlist
		ok   func(string) bool
		want string
	}{
		{"outbound CIDR", n.OutboundCIDRs, isCIDR, `such as "10.0.0.0/8"`},
		{"inbound CIDR", n.InboundCIDRs, isCIDR, `such as "10.0.0.0/8"`},
		{"outbound domain", n.OutboundDomains, isDomain, `such as "example.com", "*.example.com" or "*"`},
	} {
		if l.list == nil {
			continue
		}
		if len(l.list.Entries) > maxAllowed {
			return fault.New(fault.Invalid, "network: %d entries of the %s allow-list, at most %d", len(l.list.Entries), l.name, maxAllowed)
		}
		for _, e := range l.list.Entries {
			if !l.ok(e) {
				return fault.New(fault.Invalid, "network: %s %.100q: want one %s", l.name, e, l.want)
			}
		}
	}
	return nil
}

func isCIDR(text string) bool {
	_, err := netip.ParsePrefix(text)
	return err == nil
}

func isDomain(text string) bool {
	return text == "*" || len(text) <= 255 && hostPattern.MatchString(text)
}

func (d *Definition) checkPorts() error {
	if len(d.Ports) > maxPorts {
		return fault.New(fault.Invalid, "%d ports, at most %d", len(d.Ports), maxPorts)
	}
	seen := map[uint16]bool{}
	for _, p := range d.Ports {
		if p.Port == 0 || p.Kind < Encrypted || p.Kind > Unencrypted {
			return fault.New(fault.Invalid, "port %d: want 1 to 65535, encrypted, h2 or unencrypted", p.Port)
		}
		if seen[p.Port] {
			return fault.New(fault.Invalid, "port %d: named twice", p.Port)
		}
		seen[p.Port] = true
	}
	if d.Network.Block && len(d.Ports) > 0 {
		return fault.New(fault.Invalid, "network: blocked, and ports to be reached; give one of the two")
	}
	return nil
}

func (d *Definition) checkProbe() error {
	p := d.Probe
	if p == nil {
		return nil
	}
	if (p.TCPPort == 0) == (len(p.Exec) == 0) {
		return fault.New(fault.Invalid, "readiness probe: want a port or a command")
	}
	if p.Interval < minProbe || p.Interval > maxProbe {
		return fault.New(fault.Invalid, "readiness probe: interval %s: want %s to %s", p.Interval, minProbe, maxProbe)
	}
	return CheckArgv(p.Exec, true)
}

func (d *Definition) checkEgress() error {
	if len(d.Egress) > maxEgress {
		return fault.New(fault.Invalid, "%d egress secrets, at most %d", len(d.Egress), maxEgress)
	}
	if len(d.Egress) > 0 && d.Network.Block {
		return fault.New(fault.Invalid, "egress secrets: the network is blocked")
	}
	for _, e := range d.Egress {
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

func (e *EgressSecret) check() error {
	if err := ident.Check(ident.Secret, e.SecretID); err != nil {
		return err
	}
	if !variableName.MatchString(e.Variable) || e.PlaceholderVariable != "" && !variableName.MatchString(e.PlaceholderVariable) {
		return fault.New(fault.Invalid, "egress secret: variable %.80q: want a letter or '_', then letters, digits and '_'", e.Variable)
	}
	if len(e.Hosts) == 0 || len(e.Hosts) > maxAllowed {
		return fault.New(fault.Invalid, "egress secret %q: want 1 to %d hosts", e.Variable, maxAllowed)
	}
	for _, h := range e.Hosts {
		if !isDomain(h) || h == "*" {
			return fault.New(fault.Invalid, `egress secret %q: host %.100q: want one such as "api.example.com" or "*.example.com"`, e.Variable, h)
		}
	}
	if len(e.Header) > maxHeaderName || e.Header != "" && !headerName.MatchString(e.Header) {
		return fault.New(fault.Invalid, "egress secret %q: header %.80q: not a header's name", e.Variable, e.Header)
	}
	if len(e.Format) > maxFormat || e.Format != "" && strings.Count(e.Format, "{}") != 1 || strings.ContainsAny(e.Format, "\r\n\x00") {
		return fault.New(fault.Invalid, `egress secret %q: format %.80q: want one "{}" in it`, e.Variable, e.Format)
	}
	return nil
}

func (d Definition) checkBuckets() error {
	if d.PauseWhenIdle && len(d.Buckets) > 0 {
		return fault.New(fault.Invalid, "pausing when idle: a sandbox with buckets can't be paused, as what it has open in them would be lost")
	}
	return function.CheckBuckets(d.Buckets, d.Volumes)
}
