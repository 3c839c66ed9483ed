import { ExecTimeoutError, ExecutionError, InvalidError, NotFoundError } from "../errors.js";
import { quote } from "../names.js";
import type { SandboxExecParams } from "./execution.js";
import { checkPath } from "./filesystem.js";
import type { ContainerProcess } from "./process.js";

/** Git asks nobody: who has no right gets an error at once. */
const ENV = { GIT_TERMINAL_PROMPT: "0", GIT_PAGER: "cat", LC_ALL: "C.UTF-8" };

const STATES: Readonly<Record<string, GitChange>> = {
  A: "added",
  M: "modified",
  D: "deleted",
  R: "renamed",
  C: "copied",
  T: "modified",
  U: "unmerged",
};

/** What was done to a file. */
export type GitChange = "added" | "modified" | "deleted" | "renamed" | "copied" | "unmerged" | "untracked";

/** A file that differs from what is committed. */
export interface GitFile {
  /** Its path in the repository. */
  path: string;
  /** What the next commit does to it; null: nothing. */
  staged: GitChange | null;
  /** What was done to it besides. */
  unstaged: GitChange | null;
  /** Of one that was renamed or copied: its path before. */
  oldPath: string | null;
}

/** Where a repository stands. */
export interface GitStatus {
  /** Null: no branch is checked out. */
  branch: string | null;
  /** The commit that is checked out; null: there is none yet. */
  commit: string | null;
  /** The branch that it follows, such as "origin/main". */
  upstream: string | null;
  /** Commits that the upstream has not. */
  ahead: number;
  /** Commits that only the upstream has. */
  behind: number;
  /** The files that differ. */
  files: GitFile[];
}

/** A branch. */
export interface GitBranch {
  name: string;
  /** Its last commit. */
  commit: string;
  /** Whether it is checked out. */
  isCurrent: boolean;
}

/** How long a command may take; then {@link ExecTimeoutError}. */
export interface GitTimeout {
  timeoutMs?: number;
}

/** Parameters of {@link SandboxGit.clone}. */
export interface GitCloneParams extends GitTimeout {
  /** The branch or tag to check out. */
  branch?: string;
  /** Only so many of the last commits. */
  depth?: number;
}

/** Parameters of {@link SandboxGit.commit}. */
export interface GitCommitParams {
  /** Name of who made it; default: what the repository's configuration says. */
  author?: string;
  /** Address of who made it. */
  email?: string;
  /** Also where nothing was changed. */
  allowEmpty?: boolean;
}

/** Parameters of {@link SandboxGit.push} and {@link SandboxGit.pull}. */
export interface GitRemoteParams extends GitTimeout {
  /** The name of the other repository ("origin"). */
  remote?: string;
  /** Default: the one that is checked out, or followed. */
  branch?: string;
  /** Of a push: have the branch follow the other one from now on. */
  setUpstream?: boolean;
}

/** What starts a process. */
export type Exec = (command: readonly string[], params: SandboxExecParams) => Promise<ContainerProcess>;

/**
 * Git in a sandbox: {@link Sandbox.git}. The image has to have git.
 *
 * Credentials need not enter the sandbox: give them to {@link SandboxService.create} as an {@link EgressSecret} for the host, and the
 * worker adds them to the requests. A command that fails throws {@link ExecutionError} with what git said.
 */
export class SandboxGit {
  readonly #exec: Exec;

  /** @internal */
  constructor(exec: Exec) {
    this.#exec = exec;
  }

  /** Copies a repository to an absolute path. Throws {@link InvalidError} for a URL that has a password. */
  async clone(url: string, path: string, params: GitCloneParams = {}): Promise<void> {
    const { branch, depth, timeoutMs } = params;
    const options = [...(branch ? ["--branch", branch] : []), ...(depth ? ["--depth", String(depth)] : [])];
    await this.#git(undefined, ["clone", ...options, "--", checkUrl(url), checkPath(path)], timeoutMs);
  }

  /** Makes an empty repository, with a first branch of a name ("main"). */
  async init(path: string, params: { branch?: string } = {}): Promise<void> {
    await this.#git(undefined, ["init", "--initial-branch", params.branch ?? "main", "--", checkPath(path)]);
  }

  /** Says where a repository stands. */
  async status(path: string): Promise<GitStatus> {
    return parseStatus(await this.#git(path, ["status", "--porcelain=v2", "--branch", "-z"]));
  }

  /** Has files be in the next commit; by default all. */
  async add(path: string, files: readonly string[] = ["."]): Promise<void> {
    await this.#git(path, ["add", "--all", "--", ...files]);
  }

  /** Commits what was added, and returns the commit's id. */
  async commit(path: string, message: string, params: GitCommitParams = {}): Promise<string> {
    const { author, email, allowEmpty } = params;
    const who = [...(author ? ["-c", `user.name=${author}`] : []), ...(email ? ["-c", `user.email=${email}`] : [])];
    const empty = allowEmpty ? ["--allow-empty"] : [];
    await this.#git(path, [...who, "commit", "--quiet", ...empty, "--message", message]);
    return (await this.#git(path, ["rev-parse", "HEAD"])).trim();
  }

  /** Sends commits to another repository. */
  async push(path: string, params: GitRemoteParams = {}): Promise<void> {
    const { remote = "origin", branch = "HEAD", setUpstream, timeoutMs } = params;
    const options = setUpstream ? ["--set-upstream"] : [];
    await this.#git(path, ["push", ...options, "--", remote, branch], timeoutMs);
  }

  /** Brings commits of another repository here, where that needs no merge. */
  async pull(path: string, params: GitRemoteParams = {}): Promise<void> {
    const { remote = "origin", branch, timeoutMs } = params;
    await this.#git(path, ["pull", "--ff-only", "--", remote, ...(branch ? [branch] : [])], timeoutMs);
  }

  /** Lists the branches of a repository. */
  async branches(path: string): Promise<GitBranch[]> {
    const text = await this.#git(path, ["branch", "--list", "--format=%(HEAD)%00%(objectname)%00%(refname:short)"]);
    const rows = text.split("\n").map((line) => line.split("\0"));
    return rows
      .filter(([, , name]) => name && !name.startsWith("("))
      .map(([head, commit = "", name = ""]) => ({ name, commit, isCurrent: head === "*" }));
  }

  /** Checks out a branch, a tag or a commit; with `create` a new branch. */
  async checkout(path: string, ref: string, params: { create?: boolean } = {}): Promise<void> {
    if (ref.startsWith("-")) {
      throw new InvalidError(`ref ${quote(ref)}: can't begin with '-'`);
    }
    await this.#git(path, ["checkout", "--quiet", ...(params.create ? ["-b"] : []), ref]);
  }

  async #git(path: string | undefined, args: readonly string[], timeoutMs?: number): Promise<string> {
    const place = path === undefined ? [] : ["-C", checkPath(path)];
    // A repository that another user of the sandbox made is one's own here.
    const argv = ["git", "-c", "safe.directory=*", ...place, ...args];
    const git = await this.#start(argv, timeoutMs);
    await git.closeStdin();
    const [text, said, code] = await Promise.all([git.stdout.readText(), git.stderr.readText(), git.wait()]);
    const verb = args.find((arg) => !arg.startsWith("-") && !arg.includes("=")) ?? "";
    if (code === -1) {
      throw new ExecTimeoutError(`git ${verb} ran longer than ${timeoutMs} ms`);
    }
    if (code !== 0) {
      throw new ExecutionError(`git ${verb} failed with exit code ${code}: ${(said || text).trim()}`);
    }
    return text;
  }

  async #start(argv: readonly string[], timeoutMs: number | undefined): Promise<ContainerProcess> {
    try {
      return await this.#exec(argv, { env: ENV, ...(timeoutMs !== undefined && { timeoutMs }) });
    } catch (error) {
      if (error instanceof NotFoundError) {
        const hint = "the sandbox needs an image with git, such as images.debianSlim().aptInstall('git')";
        throw new NotFoundError(`${error.message}; ${hint}`, { cause: error });
      }
      throw error;
    }
  }
}

/** Reads what `git status --porcelain=v2 --branch -z` says. */
export function parseStatus(text: string): GitStatus {
  const fields = new Map<string, string>();
  const files: GitFile[] = [];
  const records = text.split("\0");
  for (let at = 0; at < records.length; at++) {
    const record = records[at] ?? "";
    const [kind = "", ...words] = record.split(" ");
    const [staged, unstaged] = [STATES[words[0]?.[0] ?? ""] ?? null, STATES[words[0]?.[1] ?? ""] ?? null];
    switch (kind) {
      case "#":
        fields.set(words[0] ?? "", words.slice(1).join(" "));
        break;
      case "1":
        files.push({ path: words.slice(7).join(" "), staged, unstaged, oldPath: null });
        break;
      case "2":
        at += 1;
        files.push({ path: words.slice(8).join(" "), staged, unstaged, oldPath: records[at] ?? null });
        break;
      case "u":
        files.push({ path: words.slice(9).join(" "), staged: "unmerged", unstaged: "unmerged", oldPath: null });
        break;
      case "?":
        files.push({ path: words.join(" "), staged: null, unstaged: "untracked", oldPath: null });
        break;
      default:
        break;
    }
  }
  const [ahead = "0", behind = "0"] = (fields.get("branch.ab") ?? "+0 -0").split(" ");
  const known = (name: string, none: string) => {
    const value = fields.get(name);
    return value === undefined || value === none ? null : value;
  };
  return {
    branch: known("branch.head", "(detached)"),
    commit: known("branch.oid", "(initial)"),
    upstream: known("branch.upstream", ""),
    ahead: Math.abs(Number(ahead)),
    behind: Math.abs(Number(behind)),
    files,
  };
}

function checkUrl(url: string): string {
  if (url.startsWith("-")) {
    throw new InvalidError(`url ${quote(url)}: can't begin with '-'`);
  }
  if (URL.canParse(url) && new URL(url).password) {
    throw new InvalidError(
      "the URL has a password, which would stay in the sandbox: give it to sandboxes.create as an EgressSecret for the host",
    );
  }
  return url;
}
