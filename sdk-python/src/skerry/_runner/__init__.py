"""The runner: the process in a container that loads the user's function and runs its inputs.

It speaks the framed protocol of docs/runner-protocol.md over a unix socket, needs nothing but the standard library,
and imports as little of it as it can: Python starts slowly in a sandbox, and a caller waits for every import.
"""
