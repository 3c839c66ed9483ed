/** Steps of images: what their methods make of their arguments. */

import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { parse } from "smol-toml";
import { InvalidError, NotFoundError } from "../errors.js";
import { checkVariables, quote } from "../names.js";
import { cleanPath, dockerfileContext } from "./dockerfile.js";
import type { LocalFiles } from "./local.js";
import {
  type Build,
  checkBuild,
  checkPackages,
  checkTexts,
  type DockerfileCommandsParams,
  indexOptions,
  inOrder,
  type MicromambaParams,
  type PipParams,
  type PoetryParams,
  type PrivateReposParams,
  type PyprojectParams,
  type RunCommandsParams,
  type StepParams,
  showCall,
  type UvPipParams,
  type UvSyncParams,
} from "./params.js";
import type { Layer, StepKind } from "./recipe.js";

type Made = Layer<StepKind>;
type Texts = string | readonly string[];

const PLAIN: Build = { env: {}, secrets: [], gpu: "", force: false, volumes: [] };

/** `pip install`; undefined without packages. */
export function pipInstall(packages: Texts, params: PipParams): Made | undefined {
  const names = checkPackages("pipInstall", packages);
  const build = checkBuild("pipInstall", params);
  const options = indexOptions(params);
  const resolve = (): StepKind => ({ case: "pipInstall", value: { packages: names, options } });
  return names.length > 0 ? { shown: showCall("pipInstall", names), build, resolve } : undefined;
}

/** `pip install -r`. */
export function pipRequirements(path: string, params: PipParams): Made {
  const options = indexOptions(params);
  return {
    shown: showCall("pipInstallFromRequirements", path),
    build: checkBuild("pipInstallFromRequirements", params),
    resolve: async (server) => {
      const treeDigest = await server.tree(contentsOf({ ".": path }));
      return { case: "pipRequirements", value: { treeDigest, options } };
    },
  };
}

/** `pip install` of what a pyproject.toml names. */
export function pipPyproject(path: string, params: PyprojectParams): Made {
  const method = "pipInstallFromPyproject";
  const extras = checkTexts(method, params.optionalDependencies ?? []);
  const options = indexOptions(params);
  return {
    shown: showCall(method, path),
    build: checkBuild(method, params),
    resolve: () => ({
      case: "pipInstall",
      value: { packages: checkPackages(method, projectDependencies(path, extras)), options },
    }),
  };
}

/** `pip install` of private repositories; undefined without any. */
export function pipPrivateRepos(repositories: Texts, params: PrivateReposParams): Made | undefined {
  const method = "pipInstallPrivateRepos";
  const refs = checkTexts(method, repositories).sort();
  const wrong = refs.filter((ref) => !/^(github|gitlab)\.com\/.*\//.test(ref));
  if (wrong.length > 0) {
    const shown = wrong.map(quote).join(", ");
    throw new InvalidError(`${method}: ${shown}: want references such as 'github.com/owner/name@main'`);
  }
  if (!params.gitUser) {
    throw new InvalidError(`${method}: gitUser must be the user that the token belongs to`);
  }
  const build = checkBuild(method, params);
  if (refs.length === 0) {
    return undefined;
  }
  if (build.secrets.length === 0) {
    throw new InvalidError(`${method}: needs a secret with GITHUB_TOKEN or GITLAB_TOKEN: secrets: [...]`);
  }
  const value = { repositories: refs, gitUser: params.gitUser, options: indexOptions(params) };
  return { shown: showCall(method, refs), build, resolve: () => ({ case: "pipPrivateRepos", value }) };
}

/** `uv pip install`; undefined without packages and files. */
export function uvPipInstall(packages: Texts, params: UvPipParams): Made | undefined {
  const method = "uvPipInstall";
  const names = checkPackages(method, packages);
  const files = checkTexts(method, params.requirements ?? []);
  const build = checkBuild(method, params);
  if (names.length === 0 && files.length === 0) {
    return undefined;
  }
  const value = { packages: names, options: indexOptions(params), uvVersion: params.uvVersion ?? "" };
  const contents = Object.fromEntries(files.map((path, number) => [`${number}.txt`, path]));
  return {
    shown: showCall(method, names),
    build,
    resolve: async (server) => {
      if (files.length === 0) {
        return { case: "uvPipInstall", value };
      }
      const requirementsTreeDigest = await server.tree(contentsOf(contents));
      const requirementsFiles = files.map((_, number) => `${number}.txt`);
      return { case: "uvPipInstall", value: { ...value, requirementsTreeDigest, requirementsFiles } };
    },
  };
}

/** `uv sync`. */
export function uvSync(folder: string, params: UvSyncParams): Made {
  const method = "uvSync";
  const value = {
    groups: checkTexts(method, params.groups ?? []),
    extras: checkTexts(method, params.extras ?? []),
    extraOptions: params.extraOptions ?? "",
    uvVersion: params.uvVersion ?? "",
  };
  return {
    shown: showCall(method, folder),
    build: checkBuild(method, params),
    resolve: async (server) => {
      const files = uvProject(folder);
      const locked = "uv.lock" in files;
      const treeDigest = await server.tree(contentsOf(files));
      return { case: "uvSync", value: { ...value, treeDigest, locked, frozen: (params.frozen ?? true) && locked } };
    },
  };
}

/** `poetry install`. */
export function poetryInstall(path: string, params: PoetryParams): Made {
  const method = "poetryInstallFromFile";
  const value = {
    with: checkTexts(method, params.with ?? []),
    without: checkTexts(method, params.without ?? []),
    only: checkTexts(method, params.only ?? []),
    poetryVersion: params.poetryVersion === undefined ? "latest" : (params.poetryVersion ?? ""),
    oldInstaller: params.oldInstaller ?? false,
  };
  return {
    shown: showCall(method, path),
    build: checkBuild(method, params),
    resolve: async (server) => {
      const treeDigest = await server.tree(contentsOf(poetryProject(path, params)));
      return { case: "poetryInstall", value: { ...value, treeDigest } };
    },
  };
}

/** `micromamba install`; undefined without packages and a file. */
export function micromambaInstall(packages: Texts, params: MicromambaParams): Made | undefined {
  const method = "micromambaInstall";
  const value = {
    packages: checkPackages(method, packages),
    channels: checkTexts(method, params.channels ?? []),
  };
  const build = checkBuild(method, params);
  const { specFile } = params;
  if (value.packages.length === 0 && specFile === undefined) {
    return undefined;
  }
  return {
    shown: showCall(method, value.packages),
    build,
    resolve: async (server) => {
      if (specFile === undefined) {
        return { case: "micromambaInstall", value };
      }
      // micromamba tells what is in a file by how its name ends.
      const name = `spec${extname(specFile)}`;
      const specTreeDigest = await server.tree(contentsOf({ [name]: specFile }));
      return { case: "micromambaInstall", value: { ...value, specTreeDigest, specFile: name } };
    },
  };
}

/** `apt-get install`; undefined without packages. */
export function aptInstall(packages: Texts, params: StepParams): Made | undefined {
  const names = checkPackages("aptInstall", packages);
  const build = checkBuild("aptInstall", params);
  const resolve = (): StepKind => ({ case: "aptInstall", value: { packages: names } });
  return names.length > 0 ? { shown: showCall("aptInstall", names), build, resolve } : undefined;
}

/** Shell commands; undefined without any. */
export function runCommands(commands: Texts, params: RunCommandsParams): Made | undefined {
  const lines = checkTexts("runCommands", commands);
  const build = checkBuild("runCommands", params, params.volumes);
  const resolve = (): StepKind => ({ case: "runCommands", value: { commands: lines } });
  return lines.length > 0 ? { shown: showCall("runCommands", lines), build, resolve } : undefined;
}

/** Dockerfile commands; undefined without any. */
export function dockerfileCommands(commands: Texts, params: DockerfileCommandsParams): Made | undefined {
  const method = "dockerfileCommands";
  const lines = checkTexts(method, commands);
  const build = checkBuild(method, params);
  const { contextDir: folder, ignore, contextFiles: files = {}, buildArgs = {} } = params;
  if (lines.length === 0) {
    return undefined;
  }
  return {
    shown: showCall(method, lines),
    build,
    resolve: async (server) => {
      const context = await dockerfileContext({ lines, folder, ignore, files });
      const contextTreeDigest = context === undefined ? "" : await server.tree(context);
      return {
        case: "dockerfileCommands",
        value: { commands: lines, contextTreeDigest, buildArgs: inOrder(buildArgs) },
      };
    },
  };
}

/** ENTRYPOINT, SHELL or CMD. */
export function words(step: "entrypoint" | "shell" | "cmd", command: readonly string[]): Made {
  const value = { command: checkTexts(step, command) };
  return { shown: showCall(step, value.command), build: PLAIN, resolve: () => ({ case: step, value }) };
}

/** Environment variables. */
export function env(variables: Readonly<Record<string, string>>): Made {
  const value = { variables: inOrder(checkVariables("Image.env", variables)) };
  return { shown: showCall("env", value.variables), build: PLAIN, resolve: () => ({ case: "env", value }) };
}

/** The working directory. */
export function workdir(path: string): Made {
  const value = { path: absolute("workdir", path) };
  return { shown: showCall("workdir", value.path), build: PLAIN, resolve: () => ({ case: "workdir", value }) };
}

/** Local files that are copied into the image. */
export function addLocal(shown: string, files: LocalFiles, remotePath: string): Made {
  return {
    shown,
    build: PLAIN,
    resolve: async (server) => ({ case: "addLocal", value: { remotePath, treeDigest: await server.tree(files) } }),
  };
}

/** Returns a clean absolute path. Throws {@link InvalidError}. */
export function absolute(method: string, path: string): string {
  if (!path.startsWith("/")) {
    throw new InvalidError(`${method}: remote path ${quote(path)} must be absolute`);
  }
  return cleanPath(path);
}

/** Returns where a local file goes: below the remote path, where that ends with a slash. */
export function remoteFile(method: string, localPath: string, remotePath: string): string {
  const remote = absolute(method, remotePath);
  return remotePath.endsWith("/") ? join(remote, basename(localPath)) : remote;
}

function contentsOf(contents: Readonly<Record<string, string>>): LocalFiles {
  return { kind: "contents", contents };
}

type Table = Record<string, unknown>;

function readToml(path: string): Table {
  return parse(readFileSync(path, "utf8"));
}

function table(value: unknown): Table {
  return typeof value === "object" && value !== null ? (value as Table) : {};
}

function projectDependencies(path: string, extras: readonly string[]): string[] {
  const project = table(readToml(path)["project"]);
  if (!Array.isArray(project["dependencies"])) {
    throw new InvalidError(
      `${path}: has no [project.dependencies]; for a Poetry project use Image.poetryInstallFromFile`,
    );
  }
  const found: unknown[] = [...project["dependencies"]];
  const optional = table(project["optional-dependencies"]);
  for (const extra of extras) {
    const more = optional[extra];
    if (!Array.isArray(more)) {
      const known = Object.keys(optional).join(", ") || "none";
      throw new InvalidError(`${path}: has no extra ${quote(extra)}; there is: ${known}`);
    }
    found.push(...more);
  }
  return found.map(String);
}

function isFile(path: string): boolean {
  return existsSync(path) && statSync(path).isFile();
}

function uvProject(folder: string): Record<string, string> {
  const path = join(folder, "pyproject.toml");
  if (!isFile(path)) {
    throw new NotFoundError(`uvSync: ${quote(path)} does not exist; give the folder of the uv project`);
  }
  if ("workspace" in table(table(readToml(path)["tool"])["uv"])) {
    throw new InvalidError(
      `uvSync: ${quote(path)} is that of a workspace, which can't be installed; name one of its members`,
    );
  }
  const lock = join(folder, "uv.lock");
  return { "pyproject.toml": path, ...(isFile(lock) && { "uv.lock": lock }) };
}

function poetryProject(path: string, params: PoetryParams): Record<string, string> {
  if (!isFile(path)) {
    throw new NotFoundError(`poetryInstallFromFile: ${quote(path)} does not exist`);
  }
  if (params.ignoreLockfile) {
    return { "pyproject.toml": path };
  }
  const lock = params.poetryLockfile ?? join(dirname(path), "poetry.lock");
  if (!isFile(lock)) {
    throw new NotFoundError(
      `poetryInstallFromFile: lock ${quote(lock)} does not exist; give poetryLockfile, or ignoreLockfile: true`,
    );
  }
  return { "pyproject.toml": path, "poetry.lock": lock };
}
