"""Count words of the files of a bucket, in containers that never see its keys.

Set BUCKET, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and for another store than Amazon's BUCKET_ENDPOINT. What it writes has the prefix
skerry-example/.
"""

import os
from pathlib import Path

import skerry

app = skerry.App("bucket")
bucket = skerry.CloudBucketMount(
    os.environ.get("BUCKET", "not-set"),
    bucket_endpoint_url=os.environ.get("BUCKET_ENDPOINT"),
    key_prefix="skerry-example/",
    secret=skerry.Secret.from_dict({name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")}),
    force_path_style=True,
)


@app.function(volumes={"/data": bucket})
def write(name: str, text: str) -> None:
    """Put a file into the bucket: it is there when the call is over."""
    Path("/data", name).write_text(text)


@app.function(volumes={"/data": bucket})
def count() -> dict[str, int]:
    """Return how many words each file has."""
    return {path.name: len(path.read_text().split()) for path in sorted(Path("/data").iterdir())}


@app.local_entrypoint()
def main() -> None:
    """Write two files and count."""
    if "BUCKET" not in os.environ:
        print("set BUCKET and its keys to see it work")
        return
    write.remote("one", "a few words")
    write.remote("two", "and some more of them")
    print("words:", count.remote())
