"""A computer for code that nobody trusts: processes, their streams, and how they end."""

import skerry

app = skerry.App.lookup("examples", create_if_missing=True)


def main() -> None:
    """Use a sandbox, and end it."""
    sandbox = skerry.Sandbox.create(app=app, env={"GREETING": "hello"}, timeout=600)
    try:
        # No shell is involved: the program gets exactly these arguments.
        process = sandbox.exec("python3", "-c", "import os, sys; print(os.environ['GREETING'], sys.argv[1])", "from $HOME")
        print(process.stdout.read().strip(), process.wait())

        process = sandbox.exec("sh", "-c", "for n in 1 2 3; do echo line $n; done; exit 7", bufsize=1)
        for line in process.stdout:
            print("got", line.strip())
        print("exit code", process.wait())

        process = sandbox.exec("wc", "-w")
        process.stdin.write("three little words")
        process.stdin.write_eof()
        process.stdin.drain()
        print("words:", process.stdout.read().strip())

        slow = sandbox.exec("sleep", "600", timeout=0.5)
        print("too slow:", slow.wait())

        # A process is found again by its id, and its output is read from the beginning, by another program as well.
        started = sandbox.exec("sh", "-c", "echo working; sleep 0.1; echo done")
        again = skerry.Sandbox.from_id(sandbox.object_id).process(started.process_id)
        print("again:", again.stdout.read().split())
    finally:
        print("terminated:", sandbox.terminate(wait=True))


if __name__ == "__main__":
    main()
