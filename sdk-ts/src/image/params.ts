/** Parameters of the methods that images are built with, and their checks. */

import { checkMountPaths } from "../bucket.js";
import { InvalidError } from "../errors.js";
import type { VolumeMount } from "../gen/skerry/v1/volume_mount_pb.js";
import { checkVariables, quote } from "../names.js";
import type { Secret } from "../secret.js";
import { type Volume, volumeMounts } from "../storage/volume.js";
import type { Ignore } from "./patterns.js";

/** What all steps of images have in common. */
export interface StepParams {
  /** Environment variables of this step alone. */
  env?: Readonly<Record<string, string | null | undefined>>;
  /** Secrets whose variables this step alone has; they are in no layer, log or cache key. */
  secrets?: readonly Secret[];
  /** A GPU to build on, such as "T4". */
  gpu?: string;
  /** Run this step and all after it whatever the cache has. */
  forceBuild?: boolean;
}

/** Parameters of {@link Image.runCommands}. */
export interface RunCommandsParams extends StepParams {
  /**
   * Volumes by the absolute path that the commands see them at. What a command writes there is committed at its end, and is not in the
   * image. Which volumes they are says whether the step runs again, what they hold does not.
   */
  volumes?: Readonly<Record<string, Volume>>;
}

/** Parameters of steps that install Python packages. */
export interface PipParams extends StepParams {
  /** `--find-links`. */
  findLinks?: string;
  /** `--index-url`. */
  indexUrl?: string;
  /** `--extra-index-url`. */
  extraIndexUrl?: string;
  /** Take pre-releases. */
  pre?: boolean;
  /** More options, as in a shell. */
  extraOptions?: string;
}

/** Parameters of {@link Image.pipInstallFromPyproject}. */
export interface PyprojectParams extends PipParams {
  /** Names of extras to install as well. */
  optionalDependencies?: readonly string[];
}

/** Parameters of {@link Image.pipInstallPrivateRepos}. */
export interface PrivateReposParams extends PipParams {
  /** The user that the token belongs to. */
  gitUser: string;
  /** With GITHUB_TOKEN for repositories of GitHub, GITLAB_TOKEN for those of GitLab. */
  secrets: readonly Secret[];
}

/** Parameters of {@link Image.uvPipInstall}. */
export interface UvPipParams extends PipParams {
  /** Requirements files; read when the image is built. */
  requirements?: readonly string[];
  /** The version of uv; default: the builder's. */
  uvVersion?: string;
}

/** Parameters of {@link Image.uvSync}. */
export interface UvSyncParams extends StepParams {
  /** Dependency groups to install as well. */
  groups?: readonly string[];
  /** Extras to install as well. */
  extras?: readonly string[];
  /** Take uv.lock as it is, without a check that it fits pyproject.toml (true). */
  frozen?: boolean;
  /** More options of `uv sync`, as in a shell. */
  extraOptions?: string;
  /** The version of uv; default: the builder's. */
  uvVersion?: string;
}

/** Parameters of {@link Image.poetryInstallFromFile}. */
export interface PoetryParams extends StepParams {
  /** The lock; default: poetry.lock beside pyproject.toml. */
  poetryLockfile?: string;
  /** Find versions anew. */
  ignoreLockfile?: boolean;
  /** Groups to install as well. */
  with?: readonly string[];
  /** Groups to leave out. */
  without?: readonly string[];
  /** The only groups to install. */
  only?: readonly string[];
  /** The version of Poetry ("latest"); null: the one that the image has. */
  poetryVersion?: string | null;
  /** Have Poetry use its old installer. */
  oldInstaller?: boolean;
}

/** Parameters of {@link Image.micromambaInstall}. */
export interface MicromambaParams extends StepParams {
  /** A file of packages or an environment; read when the image is built. */
  specFile?: string;
  /** Where to look, the first first. */
  channels?: readonly string[];
}

/** Parameters of {@link Image.dockerfileCommands}. */
export interface DockerfileCommandsParams extends StepParams {
  /** Local files by the absolute path that a COPY finds them at. */
  contextFiles?: Readonly<Record<string, string>>;
  /** The folder that they copy from; default: the current one. Only files that a COPY or ADD names are sent. */
  contextDir?: string;
  /** What not to send; default: what is in the folder's `.dockerignore`. */
  ignore?: Ignore;
  /** Values of ARGs. */
  buildArgs?: Readonly<Record<string, string>>;
}

/** Parameters of {@link Image.addLocalFile}. */
export interface AddLocalParams {
  /** Copy it into the image as a layer, instead of mounting it read-only when a container starts. */
  copy?: boolean;
}

/** Parameters of {@link Image.addLocalDir}. */
export interface AddLocalDirParams extends AddLocalParams {
  /** What to leave out. */
  ignore?: Ignore;
}

/** How a base or a step is built. */
export interface Build {
  env: Record<string, string>;
  secrets: readonly Secret[];
  gpu: string;
  force: boolean;
  volumes: readonly VolumeMount[];
}

/** Returns how a step is built. Throws {@link InvalidError}. */
export function checkBuild(method: string, params: StepParams, volumes: Readonly<Record<string, Volume>> = {}): Build {
  checkMountPaths(volumes);
  return {
    env: inOrder(checkVariables(`${method}: env`, params.env ?? {})),
    secrets: [...(params.secrets ?? [])],
    gpu: params.gpu ?? "",
    force: params.forceBuild ?? false,
    volumes: volumeMounts(volumes).sort((a, b) => (a.mountPath < b.mountPath ? -1 : 1)),
  };
}

/** Returns a record in the order of its keys, so that the same image has the same recipe. */
export function inOrder(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Returns texts as a list. Throws {@link InvalidError} for anything else. */
export function checkTexts(method: string, items: string | readonly string[]): string[] {
  const list: readonly unknown[] = typeof items === "string" ? [items] : items;
  return list.map((item) => {
    if (typeof item !== "string") {
      throw new InvalidError(`${method}: want strings, got ${typeof item}`);
    }
    return item;
  });
}

/** Returns names of packages in order. Throws {@link InvalidError} for what is an option. */
export function checkPackages(method: string, items: string | readonly string[]): string[] {
  const names = checkTexts(method, items);
  for (const name of names) {
    if (!name.trim() || name.startsWith("-")) {
      throw new InvalidError(`${method}: ${quote(name)} is no package; options go into extraOptions`);
    }
  }
  return names.sort();
}

/** Returns the options of pip-like installers. */
export function indexOptions(params: PipParams) {
  return {
    findLinks: params.findLinks ?? "",
    indexUrl: params.indexUrl ?? "",
    extraIndexUrl: params.extraIndexUrl ?? "",
    pre: params.pre ?? false,
    extraOptions: params.extraOptions ?? "",
  };
}

/** Returns a Python series such as "3.12". Throws {@link InvalidError}. With `micro`, "3.12.4" is taken as well. */
export function checkSeries(noun: string, version: string, { micro }: { micro: boolean }): string {
  const match = /^(3\.\d+)(\.\d+)?(t?)$/.exec(version);
  if (match === null || (match[2] && !micro)) {
    throw new InvalidError(`${noun} ${quote(version)}: want a series such as '3.12'`);
  }
  if (match[3] && micro) {
    throw new InvalidError(`${noun} ${quote(version)}: there is no base with a free-threaded Python; use addPython`);
  }
  return `${match[1]}${match[3]}`;
}

/** Returns a call for people. */
export function showCall(name: string, ...args: unknown[]): string {
  return `${name}(${args.map((arg) => JSON.stringify(arg)).join(", ")})`;
}
