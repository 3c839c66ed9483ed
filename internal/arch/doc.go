// Package arch holds the architecture's rules as tests: who may import what, how large things may grow, what things may not be called.
// Every rule says why it stands, and every exception carries its own reason beside it.
package arch
