"""Large arguments and results."""

import hashlib

import skerry

app = skerry.App("payloads")


@app.function(memory=6144, timeout=600)
def echo(data: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(data).hexdigest(), data


@app.local_entrypoint()
def main(size: int) -> None:
    block = bytes(range(251)) * 4096
    data = (block * (size // len(block) + 1))[:size]
    digest, back = echo.remote(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert back == data
    print(f"echoed {len(back)}", flush=True)
