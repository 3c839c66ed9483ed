"""What buckets may be mounted, and where."""

import pytest

import skerry
from skerry._objects.volumes import bucket_messages, check_volumes
from skerry.exception import InvalidError, UnimplementedError

SECRET = skerry.Secret.from_dict({"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"bucket_name": "ab"}, "3 to 255"),
        ({"bucket_name": "bucket", "key_prefix": "a"}, '"/" at its end'),
        ({"bucket_name": "bucket", "requester_pays": True}, "needs a secret"),
        ({"bucket_name": "bucket", "secret": {"A": "b"}}, r"skerry\.Secret"),
        ({"bucket_name": "bucket", "bucket_endpoint_url": "storage.example.com"}, "want a URL"),
    ],
)
def test_what_makes_no_sense(given: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        skerry.CloudBucketMount(**given)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_identity_tokens_are_not_available() -> None:
    with pytest.raises(UnimplementedError, match="use secret="):
        skerry.CloudBucketMount("bucket", oidc_auth_role_arn="arn:aws:iam::1:role/a")


@pytest.mark.parametrize("path", ["data", "/", "/root", "/tmp", "/data/", "/a//b", "/a/../b", "/a/."])
def test_where_nothing_can_be_mounted(path: str) -> None:
    with pytest.raises(InvalidError, match="volumes"):
        check_volumes({path: skerry.CloudBucketMount("bucket")})


def test_message() -> None:
    mount = skerry.CloudBucketMount("bucket", "https://s.example", "a/", SECRET, read_only=True, requester_pays=True)
    [message] = bucket_messages(check_volumes({"/data": mount}), lambda secret: "st-1" if secret is SECRET else "")
    assert (message.path, message.bucket_name, message.endpoint_url, message.key_prefix) == (
        "/data",
        "bucket",
        "https://s.example",
        "a/",
    )
    assert (message.secret_id, message.read_only, message.requester_pays) == ("st-1", True, True)


def test_what_is_no_bucket() -> None:
    app = skerry.App("buckets", volumes={"/a": skerry.CloudBucketMount("of-app")})
    with pytest.raises(InvalidError, match=r"or CloudBucketMount"):
        app.function(volumes={"/c": "bucket"})  # type: ignore[dict-item] # pyright: ignore[reportArgumentType]
