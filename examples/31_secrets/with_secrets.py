"""Secrets: kept under a name, read from a file of variables (pip install python-dotenv), and one that the sandbox never has."""

import os

import skerry

app = skerry.App("example-secrets")
NAME = "example-database"

# Who calls `report` needs no values: the server has them. A start fails, and says so, where one of these keys is missing.
database = skerry.Secret.from_name(NAME, required_keys=["DB_USER", "DB_PASSWORD"])
# The nearest file of that name, from this folder upwards; the usual one is ".env". Later secrets win over earlier ones.
settings = skerry.Secret.from_dotenv(__file__, filename="settings.env")


@app.function(secrets=[database, settings])
def report() -> str:
    """In the container, the values are environment variables."""
    password = os.environ["DB_PASSWORD"]
    return f"{os.environ['DB_USER']} at {os.environ['DB_HOST']}, with a password of {len(password)} letters"


def key_of(sandbox: skerry.Sandbox) -> str:
    """What code in a sandbox finds where programs look for their key."""
    process = sandbox.exec("printenv", "SERVICE_KEY")
    return process.stdout.read().strip()


def main() -> None:
    """Use all three, and remove what was made."""
    skerry.Secret.objects.create(NAME, {"DB_USER": "reader"})
    try:
        try:
            with app.run():
                raise AssertionError("a key is missing")
        except skerry.exception.NotFoundError as e:
            print("not yet:", e)
        skerry.Secret.from_name(NAME).update({"DB_PASSWORD": "correct horse"})
        with app.run():
            print(report.remote())

            # Code that nobody trusts gets a placeholder. The worker puts the key in its place, in requests to the named host alone.
            key = skerry.EgressSecret("SERVICE_KEY", "sk-the-real-one", hosts=["api.example.com"])
            sandbox = skerry.Sandbox.create(app=app, egress_secrets=[key], timeout=600)
            found = key_of(sandbox)
            print("the sandbox has a placeholder:", found != "" and found != "sk-the-real-one")
            sandbox.terminate()
    finally:
        skerry.Secret.objects.delete(NAME)


if __name__ == "__main__":
    main()
