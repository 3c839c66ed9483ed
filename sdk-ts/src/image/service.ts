import { readFileSync } from "node:fs";
import type { Core } from "../core.js";
import { InvalidError } from "../errors.js";
import { ImageService as ImageRpcs } from "../gen/skerry/v1/image_pb.js";
import { RegistryCredentials } from "../gen/skerry/v1/recipe_pb.js";
import { quote } from "../names.js";
import type { Secret } from "../secret.js";
import { Built, findImage, splitName } from "./building.js";
import { dockerfileContext } from "./dockerfile.js";
import { Image } from "./image.js";
import { type Build, checkBuild, checkSeries, checkTexts, inOrder, type StepParams, showCall } from "./params.js";
import type { Ignore } from "./patterns.js";
import type { BaseKind, Layer } from "./recipe.js";

/** The Python of {@link ImageService.debianSlim} where none is said: that of Debian 12. */
export const DEFAULT_PYTHON = "3.11";

/** Parameters of {@link ImageService.debianSlim} and {@link ImageService.micromamba}. */
export interface PythonBaseParams {
  /** A series such as "3.12" ("3.11"). The server says which it can have if it can't have this one. */
  pythonVersion?: string;
  /** Build the image again whatever the cache has. */
  forceBuild?: boolean;
}

/** Parameters of images of registries. */
export interface RegistryParams {
  /** Dockerfile commands that are run before anything else. */
  setupDockerfileCommands?: readonly string[];
  /** A series such as "3.12" to put to /usr/local, for an image without a Python of its own. */
  addPython?: string;
  /** Build the image again whatever the cache has. */
  forceBuild?: boolean;
}

/** Parameters of {@link ImageService.fromDockerfile}. */
export interface DockerfileParams extends StepParams {
  /** The folder that it copies from; default: the current one. Only files that a COPY or ADD names are sent. */
  contextDir?: string;
  /** As in {@link RegistryParams}. */
  addPython?: string;
  /** Values of its ARGs. */
  buildArgs?: Readonly<Record<string, string>>;
  /** What not to send; default: what is in the Dockerfile's `.dockerignore`. */
  ignore?: Ignore;
}

/** Parameters of {@link ImageService.fromName}. */
export interface ImageFromNameParams {
  /** Where it is known, unless the name says so. */
  environment?: string;
}

/** Images: where they start. Get it as {@link SkerryClient.images}. */
export class ImageService {
  readonly #core: Core;

  /** @internal */
  constructor(core: Core) {
    this.#core = core;
  }

  /** Returns a small Debian with Python. */
  debianSlim(params: PythonBaseParams = {}): Image {
    const pythonVersion = checkSeries("pythonVersion", params.pythonVersion ?? DEFAULT_PYTHON, { micro: true });
    return this.#start(showCall("debianSlim", pythonVersion), checkBuild("debianSlim", params), () => ({
      case: "debianSlim",
      value: { pythonVersion },
    }));
  }

  /** Returns a small Debian with micromamba, and Python in its base environment. */
  micromamba(params: PythonBaseParams = {}): Image {
    const pythonVersion = checkSeries("pythonVersion", params.pythonVersion ?? DEFAULT_PYTHON, { micro: true });
    return this.#start(showCall("micromamba", pythonVersion), checkBuild("micromamba", params), () => ({
      case: "micromamba",
      value: { pythonVersion },
    }));
  }

  /** Returns an image with nothing in it. */
  fromScratch(params: { forceBuild?: boolean } = {}): Image {
    return this.#start("fromScratch()", checkBuild("fromScratch", params), () => ({ case: "scratch", value: {} }));
  }

  /**
   * Returns an image of a registry.
   *
   * @param tag - what `docker pull` takes, such as "ubuntu:24.04".
   * @param secret - with REGISTRY_USERNAME and REGISTRY_PASSWORD, for a registry that wants them.
   */
  fromRegistry(tag: string, secret?: Secret, params: RegistryParams = {}): Image {
    return this.#registry("fromRegistry", RegistryCredentials.STATIC, tag, secret, params);
  }

  /** Returns an image of an AWS ECR registry. The secret has AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION. */
  fromAwsEcr(tag: string, secret: Secret, params: RegistryParams = {}): Image {
    return this.#registry("fromAwsEcr", RegistryCredentials.AWS, tag, secret, params);
  }

  /** Returns an image of a GCP Artifact Registry. The secret has SERVICE_ACCOUNT_JSON. */
  fromGcpArtifactRegistry(tag: string, secret: Secret, params: RegistryParams = {}): Image {
    return this.#registry("fromGcpArtifactRegistry", RegistryCredentials.GCP, tag, secret, params);
  }

  /** Returns what a Dockerfile says. It is read when the image is built. */
  fromDockerfile(path: string, params: DockerfileParams = {}): Image {
    const method = "fromDockerfile";
    const build = checkBuild(method, params);
    const addPython = params.addPython ? checkSeries("addPython", params.addPython, { micro: false }) : "";
    const { contextDir: folder, ignore, buildArgs = {} } = params;
    return this.#start(showCall(method, path), build, async (server) => {
      const text = readFileSync(path, "utf8");
      const lines = text.split(/\r\n|\r|\n/);
      const context = await dockerfileContext({ lines, folder, ignore, dockerfile: path });
      const contextTreeDigest = context === undefined ? "" : await server.tree(context);
      return { case: "dockerfile", value: { text, contextTreeDigest, buildArgs: inOrder(buildArgs), addPython } };
    });
  }

  /** Returns an image that is there, by its id, "im-...". Steps may follow. Throws {@link NotFoundError}. */
  async fromId(imageId: string): Promise<Image> {
    if (!imageId.startsWith("im-")) {
      throw new InvalidError(`images.fromId: want an id such as 'im-...', got ${quote(imageId)}`);
    }
    await this.#core.call(() => this.#core.rpc(ImageRpcs).getImage({ imageId }));
    return this.existing(imageId, showCall("fromId", imageId));
  }

  /**
   * Returns the image that has a name, which {@link Image.publish} gave it. Steps may follow.
   *
   * @param name - such as "trainer" or "trainer:v2"; without a tag the tag is "latest".
   *
   * Throws {@link NotFoundError}.
   */
  async fromName(name: string, params: ImageFromNameParams = {}): Promise<Image> {
    const imageId = await findImage(this.#core, splitName("images.fromName", name, params.environment));
    return this.existing(imageId, showCall("fromName", name));
  }

  /** Forgets an image and its log. Throws {@link NotFoundError}, {@link ConflictError} where an app or a name uses it. */
  async delete(imageId: string): Promise<void> {
    await this.#core.call(() => this.#core.rpc(ImageRpcs).deleteImage({ imageId }));
  }

  #registry(
    method: string,
    credentials: RegistryCredentials,
    tag: string,
    secret: Secret | undefined,
    params: RegistryParams,
  ): Image {
    if (typeof tag !== "string" || !tag.trim()) {
      throw new InvalidError(`${method}: want a tag such as 'ubuntu:24.04', got ${quote(tag)}`);
    }
    const { forceBuild = false, addPython, setupDockerfileCommands = [] } = params;
    const value = {
      reference: tag,
      credentials: secret === undefined ? RegistryCredentials.UNSPECIFIED : credentials,
      addPython: addPython ? checkSeries("addPython", addPython, { micro: false }) : "",
      setupCommands: checkTexts(method, setupDockerfileCommands),
    };
    const build = checkBuild(method, { forceBuild, secrets: secret === undefined ? [] : [secret] });
    return this.#start(showCall(method, tag), build, () => ({ case: "registry", value }));
  }

  /** @internal Returns an image that is known to be there. */
  existing(imageId: string, shown = showCall("fromId", imageId)): Image {
    const resolve = (): BaseKind => ({ case: "existing", value: { imageId } });
    const base = { shown, build: checkBuild("fromId", {}), resolve };
    return new Image(new Built(this.#core, imageId), { base, steps: [], mounts: [] });
  }

  #start(shown: string, build: Build, resolve: Layer<BaseKind>["resolve"]): Image {
    return new Image(new Built(this.#core), { base: { shown, build, resolve }, steps: [], mounts: [] });
  }
}
