"""Uses a secret in every way there is, and then stays until it is interrupted."""

import contextlib
import hashlib
import os
import signal

import skerry

app = skerry.App("kept-secret")
NAME = os.environ.get("SECRET_NAME", "none")
if skerry.is_local() and NAME != "none":
    skerry.Secret.objects.create(NAME, {"KEPT": os.environ["SECRET_VALUE"]}, allow_existing=True)
KEPT = skerry.Secret.from_name(NAME)
OWN = skerry.Secret.from_dict({"OWN": os.environ.get("SECRET_VALUE", "none")})
built = skerry.Image.debian_slim().run_commands('test -n "$KEPT"', secrets=[KEPT])
broken = skerry.Image.debian_slim().run_commands('test -z "$KEPT"', secrets=[KEPT])


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


@app.function(secrets=[KEPT, OWN], image=built, scaledown_window=300)
def use() -> tuple[str, str]:
    return digest(os.environ["KEPT"]), digest(os.environ["OWN"])


@app.cls(secrets=[KEPT])
class Failing:
    """Its containers do not start."""

    @skerry.enter()
    def fail(self) -> None:
        assert not os.environ["KEPT"], "has a value"

    @skerry.method()
    def get(self) -> None: ...


@app.local_entrypoint()
def main() -> None:
    value = os.environ["SECRET_VALUE"]
    assert use.remote() == (digest(value), digest(value))
    with contextlib.suppress(AssertionError):
        Failing().get.remote()
    with contextlib.suppress(skerry.exception.ImageBuildError):
        broken.build(app)
    sandbox = skerry.Sandbox.create(app=app, secrets=[KEPT])
    command = ("sh", "-c", 'printf %s "$KEPT$EXEC" | sha256sum')
    assert sandbox.exec(*command).stdout.read().split()[0] == digest(value)
    assert sandbox.exec(*command, secrets=[skerry.Secret.from_dict({"EXEC": value})]).stdout.read().split()[0] == digest(value * 2)
    with contextlib.suppress(skerry.Error):
        skerry.Sandbox.create("no-such-program", app=app, secrets=[KEPT]).wait()
    egress = skerry.EgressSecret("OWN", secret=OWN, hosts=["api.example.com"])
    outside = skerry.Sandbox.create(app=app, egress_secrets=[egress])
    placeholder = outside.exec("printenv", "OWN").stdout.read().strip()
    print(f"placeholder {placeholder}", flush=True)
    # The pattern is put together inside, so that the search does not find itself.
    search = "grep -rl --devices=skip -e $a$b / --exclude-dir=proc --exclude-dir=sys; grep -l -e $a$b /proc/[0-9]*/environ"
    for needle in (value, placeholder):
        found = outside.exec("sh", "-c", f"a={needle[:5]}; b={needle[5:]}; {{ {search}; }} 2>/dev/null").stdout.read()
        print(f"found {len(found.split())}", flush=True)
    print("used", flush=True)
    signal.pause()
