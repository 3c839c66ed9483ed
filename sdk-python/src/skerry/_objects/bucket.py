"""Buckets of S3-compatible stores, mounted in containers."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.exception import InvalidError, UnimplementedError

from .secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from skerry._gen.skerry.v1.bucket_pb import BucketMount


@dataclass(frozen=True)
class CloudBucketMount:
    """A bucket of Amazon S3, or of another store with its protocol, as a folder of a container.

    ::

        secret = skerry.Secret.from_dict({"AWS_ACCESS_KEY_ID": ..., "AWS_SECRET_ACCESS_KEY": ...})

        @app.function(volumes={"/data": skerry.CloudBucketMount("my-bucket", secret=secret, read_only=True)})
        def names() -> list[str]:
            return os.listdir("/data")

    A file is in the bucket once it is closed. The secret never enters the container.

    Args:
        bucket_name: the bucket's name.
        bucket_endpoint_url: the store, such as ``https://<account>.r2.cloudflarestorage.com`` or ``https://storage.googleapis.com``;
            default: Amazon S3.
        key_prefix: what all keys begin with, ending in "/"; nothing else of the bucket can be reached.
        secret: has ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, and where needed ``AWS_SESSION_TOKEN`` and ``AWS_REGION``; or
            ``GOOGLE_ACCESS_KEY_ID`` and ``GOOGLE_ACCESS_KEY_SECRET``. Without one, the bucket has to be open to everybody.
        oidc_auth_role_arn: not available: Skerry issues no identity tokens.
        read_only: nothing can be written.
        requester_pays: requests are paid by who owns the secret; needs one.
        force_path_style: name the bucket in the path of URLs, not in the host name.

    Raises InvalidError for what makes no sense.
    """

    bucket_name: str
    bucket_endpoint_url: str | None = None
    key_prefix: str | None = None
    secret: Secret | None = None
    oidc_auth_role_arn: str | None = None
    read_only: bool = False
    requester_pays: bool = False
    force_path_style: bool = False

    def __post_init__(self) -> None:
        """Check what was given."""
        if not isinstance(self.bucket_name, str) or not 3 <= len(self.bucket_name) <= 255:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"CloudBucketMount: bucket_name {self.bucket_name!r:.80}: want 3 to 255 characters")
        if self.secret is not None and not isinstance(self.secret, Secret):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"CloudBucketMount: secret must be a skerry.Secret, got {type(self.secret).__name__}")
        if self.oidc_auth_role_arn is not None:
            raise UnimplementedError(
                "CloudBucketMount(oidc_auth_role_arn=...) is not available: Skerry issues no identity tokens; use secret="
            )
        if self.requester_pays and self.secret is None:
            raise InvalidError("CloudBucketMount: requester_pays needs a secret, whose owner pays")
        if self.key_prefix is not None and not str(self.key_prefix).endswith("/"):
            raise InvalidError(f'CloudBucketMount: key_prefix {self.key_prefix!r:.80}: want a "/" at its end')
        url = self.bucket_endpoint_url
        if url is not None and not str(url).startswith(("https://", "http://")):
            raise InvalidError(
                f'CloudBucketMount: bucket_endpoint_url {url!r:.200}: want a URL such as "https://storage.example.com"'
            )

    def _message(self, path: str, secret_id: str) -> BucketMount:
        from skerry._gen.skerry.v1.bucket_pb import BucketMount

        return BucketMount(
            path=path,
            bucket_name=self.bucket_name,
            endpoint_url=self.bucket_endpoint_url or "",
            key_prefix=self.key_prefix or "",
            secret_id=secret_id,
            read_only=self.read_only,
            requester_pays=self.requester_pays,
            force_path_style=self.force_path_style,
        )
