"""States of a sandbox: its files as an image, and copies of it that go on with its memory."""

import skerry

app = skerry.App.lookup("examples", create_if_missing=True)


def main() -> None:
    """Keep a sandbox, and go on from it more than once."""
    sandbox = skerry.Sandbox.create(app=app)
    made = [sandbox]
    try:
        sandbox.filesystem.write_text("precious", "/work/notes")
        image = sandbox.snapshot_filesystem()
        other = skerry.Sandbox.create(app=app, image=image)
        made.append(other)
        print("from the image:", other.filesystem.read_text("/work/notes"))

        # What runs goes on in each copy, by itself.
        sandbox.run_code("seen = ['the beginning']")
        forks = sandbox.fork(2)
        made += forks
        for number, fork in enumerate(forks):
            print("fork", fork.run_code(f"seen.append({number}); seen").text)
        print("the first one", sandbox.run_code("seen").text)
    finally:
        for each in made:
            each.terminate()


if __name__ == "__main__":
    main()
