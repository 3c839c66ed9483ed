import type { App } from "../app.js";
import { InvalidError } from "../errors.js";
import { type BuildEvent, type Built, buildImage, publishImage } from "./building.js";
import type {
  AddLocalDirParams,
  AddLocalParams,
  DockerfileCommandsParams,
  MicromambaParams,
  PipParams,
  PoetryParams,
  PrivateReposParams,
  PyprojectParams,
  RunCommandsParams,
  StepParams,
  UvPipParams,
  UvSyncParams,
} from "./params.js";
import { showCall } from "./params.js";
import type { Layer, LocalMount, Spec, StepKind } from "./recipe.js";
import * as steps from "./steps.js";

/** Parameters of {@link Image.build}. */
export interface ImageBuildParams {
  /** Is told how the build goes. */
  onProgress?: (event: BuildEvent) => void;
}

/** Parameters of {@link Image.publish}. */
export interface ImagePublishParams {
  /** Where the name is to be known, unless the name says so. */
  environment?: string;
  /** Lets other environments use it. */
  isPublic?: boolean;
}

/**
 * The file system of containers: a base and steps.
 *
 * Images are immutable values: every method returns a new image. Begin with a base of {@link ImageService}. Nothing is built until
 * {@link build} is called or a sandbox is made, and the same image is never built twice; the same steps in Python are the same image.
 *
 * ```ts
 * const image = client.images.debianSlim().aptInstall("ffmpeg").pipInstall(["numpy>=2"]).env({ MODE: "fast" });
 * ```
 */
export class Image {
  readonly #built: Built;
  readonly #spec: Spec;

  /** @internal */
  constructor(built: Built, spec: Spec) {
    this.#built = built;
    this.#spec = spec;
  }

  /** The built image, "im-...", once it is; else "". */
  get imageId(): string {
    return this.#built.imageId;
  }

  /** Installs Python packages with pip, such as "numpy>=2". */
  pipInstall(packages: string | readonly string[], params: PipParams = {}): Image {
    return this.#with(steps.pipInstall(packages, params));
  }

  /** Installs what a requirements file names with pip. It is read when the image is built, and its content is part of the layer. */
  pipInstallFromRequirements(requirementsTxt: string, params: PipParams = {}): Image {
    return this.#with(steps.pipRequirements(requirementsTxt, params));
  }

  /** Installs the dependencies that a pyproject.toml names with pip. It is read when the image is built. */
  pipInstallFromPyproject(pyprojectToml: string, params: PyprojectParams = {}): Image {
    return this.#with(steps.pipPyproject(pyprojectToml, params));
  }

  /** Installs Python packages of private git repositories with pip, such as "github.com/owner/name\@main". */
  pipInstallPrivateRepos(repositories: string | readonly string[], params: PrivateReposParams): Image {
    return this.#with(steps.pipPrivateRepos(repositories, params));
  }

  /** Installs Python packages with uv, which is much faster than pip and is not left in the image. */
  uvPipInstall(packages: string | readonly string[], params: UvPipParams = {}): Image {
    return this.#with(steps.uvPipInstall(packages, params));
  }

  /**
   * Installs the dependencies of a uv project into a virtual environment, which becomes the first of PATH. The project itself is not
   * installed; add its files with {@link addLocalDir}.
   */
  uvSync(uvProjectDir = "./", params: UvSyncParams = {}): Image {
    return this.#with(steps.uvSync(uvProjectDir, params));
  }

  /** Installs the dependencies of a Poetry project into the image's Python. */
  poetryInstallFromFile(pyprojectToml: string, params: PoetryParams = {}): Image {
    return this.#with(steps.poetryInstall(pyprojectToml, params));
  }

  /** Installs conda packages with micromamba into the base environment of an image that has it. */
  micromambaInstall(packages: string | readonly string[], params: MicromambaParams = {}): Image {
    return this.#with(steps.micromambaInstall(packages, params));
  }

  /** Installs Debian packages. */
  aptInstall(packages: string | readonly string[], params: StepParams = {}): Image {
    return this.#with(steps.aptInstall(packages, params));
  }

  /** Runs shell commands, each a layer of its own. */
  runCommands(commands: string | readonly string[], params: RunCommandsParams = {}): Image {
    return this.#with(steps.runCommands(commands, params));
  }

  /** Runs Dockerfile commands, such as "RUN make", on what is there. */
  dockerfileCommands(commands: string | readonly string[], params: DockerfileCommandsParams = {}): Image {
    return this.#with(steps.dockerfileCommands(commands, params));
  }

  /** Sets the command that containers' commands become arguments of. */
  entrypoint(command: readonly string[]): Image {
    return this.#with(steps.words("entrypoint", command));
  }

  /** Sets the shell of later {@link runCommands} and {@link dockerfileCommands}, such as `["/bin/bash", "-c"]`. */
  shell(command: readonly string[]): Image {
    return this.#with(steps.words("shell", command));
  }

  /** Sets what containers run that are not told what to. */
  cmd(command: readonly string[]): Image {
    return this.#with(steps.words("cmd", command));
  }

  /** Sets environment variables for later steps and the containers. */
  env(variables: Readonly<Record<string, string>>): Image {
    return this.#with(steps.env(variables));
  }

  /** Sets the working directory of later steps and the containers. */
  workdir(path: string): Image {
    return this.#with(steps.workdir(path));
  }

  /**
   * Puts a local file into the containers.
   *
   * @param localPath - the file; read when a sandbox is made, or with `copy` when the image is built.
   * @param remotePath - absolute; with "/" at its end the file keeps its name.
   */
  addLocalFile(localPath: string, remotePath: string, params: AddLocalParams = {}): Image {
    const remote = steps.remoteFile("addLocalFile", localPath, remotePath);
    const mount: LocalMount = { files: { kind: "file", localPath }, remotePath: remote };
    return this.#add(showCall("addLocalFile", localPath, remote), mount, params);
  }

  /**
   * Puts a local folder into the containers.
   *
   * @param localPath - the folder; read when a sandbox is made, or with `copy` when the image is built.
   * @param remotePath - absolute.
   */
  addLocalDir(localPath: string, remotePath: string, params: AddLocalDirParams = {}): Image {
    const remote = steps.absolute("addLocalDir", remotePath);
    const mount: LocalMount = { files: { kind: "dir", localPath, ignore: params.ignore ?? [] }, remotePath: remote };
    return this.#add(showCall("addLocalDir", localPath, remote), mount, params);
  }

  /**
   * Builds the image now, and returns it with its id.
   *
   * @param app - whose secrets its steps use.
   *
   * Throws {@link ImageBuildError}, with the step that failed and its last lines; {@link InvalidError} for a recipe that makes no sense.
   */
  async build(app: App, params: ImageBuildParams = {}): Promise<Image> {
    await this.buildFor(app.appId, params.onProgress);
    return this;
  }

  /**
   * Gives the built image a name, for {@link ImageService.fromName}. One that had it before loses it.
   *
   * @param name - such as "trainer" or "trainer:v2"; without a tag the tag is "latest".
   *
   * Throws {@link ExecutionError} unless the image has been built, {@link InvalidError} for what can't be a name.
   */
  async publish(name: string, params: ImagePublishParams = {}): Promise<void> {
    await publishImage(this.#built, name, params.environment, params.isPublic ?? false);
  }

  /** @internal Builds it unless it is built, and returns its id. */
  async buildFor(appId: string, onProgress?: (event: BuildEvent) => void): Promise<string> {
    return await buildImage(this.#built, this.#spec, appId, onProgress);
  }

  /** @internal What it is. */
  get spec(): Spec {
    return this.#spec;
  }

  /** @internal Whether there is nothing in it. */
  get isEmpty(): boolean {
    return this.#spec.base.shown === "fromScratch()" && this.#spec.steps.length === 0;
  }

  #with(step: Layer<StepKind> | undefined): Image {
    if (step === undefined) {
      return this;
    }
    if (this.#spec.mounts.length > 0) {
      throw new InvalidError(
        `image: ${step.shown} can't follow addLocal... without copy: true, which must come last; ` +
          "move it before, or use copy: true to bake the files into the image",
      );
    }
    return new Image(this.#built.other(), { ...this.#spec, steps: [...this.#spec.steps, step] });
  }

  #add(shown: string, mount: LocalMount, params: AddLocalParams): Image {
    if (params.copy) {
      return this.#with(steps.addLocal(shown, mount.files, mount.remotePath));
    }
    // What is mounted is not in the image: it stays as it was built.
    return new Image(this.#built, { ...this.#spec, mounts: [...this.#spec.mounts, mount] });
  }
}
