"""Git in a sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skerry import exception as exc
from skerry._client.dual import dual

from .snapshots import check_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .execution import Executing
    from .process import ContainerProcess

# Git asks nobody: who has no right gets an error at once.
_ENV: dict[str, str | None] = {"GIT_TERMINAL_PROMPT": "0", "GIT_PAGER": "cat", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class GitFile:
    """A file that differs from what is committed."""

    path: str
    """Its path in the repository."""
    staged: str
    """What the next commit does to it: "added", "modified", "deleted", "renamed", "copied", "unmerged"; empty: nothing."""
    unstaged: str
    """What was done to it besides; "untracked" for one that Git does not know."""
    old_path: str | None = None
    """Of one that was renamed or copied: its path before."""


@dataclass(frozen=True)
class GitStatus:
    """Where a repository stands."""

    branch: str | None
    """The branch; None: no branch is checked out."""
    commit: str | None
    """The commit that is checked out; None: there is none yet."""
    upstream: str | None
    """The branch that it follows, such as "origin/main"."""
    ahead: int
    """Commits that the upstream has not."""
    behind: int
    """Commits that only the upstream has."""
    files: list[GitFile] = field(default_factory=list[GitFile])
    """The files that differ."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs from what is committed."""
        return not self.files


@dataclass(frozen=True)
class GitBranch:
    """A branch."""

    name: str
    """Its name."""
    commit: str
    """Its last commit."""
    is_current: bool
    """Whether it is checked out."""


class SandboxGit:
    """Git in a sandbox: ``sandbox.git``. The image has to have git, such as ``Image.debian_slim().apt_install("git")``.

    Credentials need not enter the sandbox: give them to ``Sandbox.create`` as a :class:`skerry.EgressSecret` for the host, and the worker
    adds them to the requests::

        token = base64.b64encode(f"x-access-token:{github_token}".encode()).decode()
        sandbox = skerry.Sandbox.create(
            app=app, image=image,
            egress_secrets=[skerry.EgressSecret("GIT_AUTH", token, hosts=["github.com"], header="Authorization", format="Basic {}")],
        )
        sandbox.git.clone("https://github.com/example/private.git", "/work")

    A command that fails raises ExecutionError with what git said.
    """

    def __init__(self, sandbox: Executing) -> None:
        self._sandbox = sandbox

    @dual
    async def clone(
        self, url: str, path: str, *, branch: str | None = None, depth: int | None = None, timeout: float | None = None
    ) -> None:
        """Copy a repository.

        Args:
            url: where it is, without credentials.
            path: the absolute path of the copy.
            branch: the branch or tag to check out.
            depth: only so many of the last commits.
            timeout: most seconds that it may take; ExecTimeoutError.
        """
        _check_url(url)
        options = [*(["--branch", branch] if branch else []), *(["--depth", str(depth)] if depth else [])]
        await self._git(None, "clone", *options, "--", url, check_path(path), timeout=timeout)

    @dual
    async def init(self, path: str, *, branch: str = "main") -> None:
        """Make an empty repository, with a first branch of that name."""
        await self._git(None, "init", "--initial-branch", branch, "--", check_path(path))

    @dual
    async def status(self, path: str) -> GitStatus:
        """Return where a repository stands.

        Args:
            path: the absolute path of the repository.
        """
        return parse_status(await self._git(path, "status", "--porcelain=v2", "--branch", "-z"))

    @dual
    async def add(self, path: str, files: Sequence[str] = (".",)) -> None:
        """Have files be in the next commit; by default all."""
        await self._git(path, "add", "--all", "--", *files)

    @dual
    async def commit(
        self, path: str, message: str, *, author: str | None = None, email: str | None = None, allow_empty: bool = False
    ) -> str:
        """Commit what was added, and return the commit's id.

        Args:
            path: the repository.
            message: what the commit is for.
            author: name of who made it; default: what the repository's configuration says.
            email: his address.
            allow_empty: also where nothing was changed.
        """
        who = [*(["-c", f"user.name={author}"] if author else []), *(["-c", f"user.email={email}"] if email else [])]
        empty = ["--allow-empty"] if allow_empty else []
        await self._git(path, *who, "commit", "--quiet", *empty, "--message", message)
        return (await self._git(path, "rev-parse", "HEAD")).strip()

    @dual
    async def push(
        self,
        path: str,
        *,
        remote: str = "origin",
        branch: str | None = None,
        set_upstream: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Send commits to another repository.

        Args:
            path: the repository.
            remote: the name of the other one.
            branch: default: the one that is checked out.
            set_upstream: have the branch follow the other one from now on.
            timeout: most seconds that it may take; ExecTimeoutError.
        """
        options = ["--set-upstream"] if set_upstream else []
        await self._git(path, "push", *options, "--", remote, branch or "HEAD", timeout=timeout)

    @dual
    async def pull(
        self, path: str, *, remote: str = "origin", branch: str | None = None, timeout: float | None = None
    ) -> None:
        """Bring commits of another repository here, where that needs no merge.

        Args:
            path: the repository.
            remote: the name of the other one.
            branch: default: the one that is followed.
            timeout: most seconds that it may take; ExecTimeoutError.
        """
        await self._git(path, "pull", "--ff-only", "--", remote, *([branch] if branch else []), timeout=timeout)

    @dual
    async def branches(self, path: str) -> list[GitBranch]:
        """Return the branches of a repository."""
        text = await self._git(path, "branch", "--list", "--format=%(HEAD)%(objectname) %(refname:short)")
        rows = [line[:1] + " " + line[1:] for line in text.splitlines() if line and "(" not in line]
        return [GitBranch(row.split()[-1], row.split()[-2], row.startswith("*")) for row in rows]

    @dual
    async def checkout(self, path: str, ref: str, *, create: bool = False) -> None:
        """Check out a branch, a tag or a commit.

        Args:
            path: the repository.
            ref: what to check out.
            create: make a new branch of that name.
        """
        if ref.startswith("-"):
            raise exc.InvalidError(f"ref {ref!r}: can't begin with '-'")
        await self._git(path, "checkout", "--quiet", *(["-b"] if create else []), ref)

    async def _git(self, path: str | None, *args: str, timeout: float | None = None) -> str:
        place = [] if path is None else ["-C", check_path(path)]
        # A repository that another user of the sandbox made is one's own here.
        argv = ["git", "-c", "safe.directory=*", *place, *args]
        try:
            process: ContainerProcess[str] = await self._sandbox.exec.aio(*argv, env=_ENV, timeout=timeout)
        except exc.NotFoundError as err:
            raise exc.NotFoundError(
                f"{err}; the sandbox needs an image with git, such as Image.debian_slim().apt_install('git')"
            ) from None
        process.stdin.write_eof()
        text, said = await process.stdout.read.aio(), await process.stderr.read.aio()
        code = await process.wait.aio()
        if code == -1:
            raise exc.ExecTimeoutError(f"git {args[0]} ran longer than {timeout:g} s")
        if code != 0:
            verb = next((arg for arg in args if not arg.startswith("-") and "=" not in arg), args[0])
            raise exc.ExecutionError(f"git {verb} failed with exit code {code}: {(said or text).strip()}")
        return text


def parse_status(text: str) -> GitStatus:
    """Return what ``git status --porcelain=v2 --branch -z`` says."""
    fields: dict[str, str] = {}
    files: list[GitFile] = []
    records = iter(text.split("\0"))
    for record in records:
        kind, _, rest = record.partition(" ")
        if kind == "#":
            key, _, value = rest.partition(" ")
            fields[key] = value
        elif kind == "1":
            states, *_, path = rest.split(" ", 7)
            files.append(GitFile(path, _STATES.get(states[0], ""), _STATES.get(states[1], "")))
        elif kind == "2":
            states, *_, path = rest.split(" ", 8)
            files.append(GitFile(path, _STATES.get(states[0], ""), _STATES.get(states[1], ""), next(records, None)))
        elif kind == "u":
            files.append(GitFile(rest.split(" ", 9)[-1], "unmerged", "unmerged"))
        elif kind == "?":
            files.append(GitFile(rest, "", "untracked"))
    ahead, _, behind = fields.get("branch.ab", "+0 -0").partition(" ")
    branch, commit = fields.get("branch.head"), fields.get("branch.oid")
    return GitStatus(
        branch=None if branch == "(detached)" else branch,
        commit=None if commit == "(initial)" else commit,
        upstream=fields.get("branch.upstream"),
        ahead=int(ahead),
        behind=-int(behind),
        files=files,
    )


_STATES = {
    "A": "added",
    "M": "modified",
    "D": "deleted",
    "R": "renamed",
    "C": "copied",
    "T": "modified",
    "U": "unmerged",
}


def _check_url(url: str) -> None:
    from urllib.parse import urlsplit

    if url.startswith("-"):
        raise exc.InvalidError(f"url {url!r}: can't begin with '-'")
    if urlsplit(url).password:
        raise exc.InvalidError(
            "the URL has a password, which would stay in the sandbox: give it to Sandbox.create as an EgressSecret for the host"
        )
