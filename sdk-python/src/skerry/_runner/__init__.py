"""The program inside a container that loads a user's function and runs inputs.

It speaks the runner protocol (docs/runner-protocol.md) with the host over a unix socket. Every container waits for it
to start, and Python starts slowly in a sandbox: what is imported before user code are C modules and this package alone,
and whatever only failures or asynchronous functions need is imported when they happen.
"""
