/** Has the server build images, and name them. */

import { toBinary } from "@bufbuild/protobuf";
import type { Core } from "../core.js";
import { ExecutionError, ImageBuildError, InvalidError, ServiceError } from "../errors.js";
import { type BuildFailed, BuildStepState, ImageService as ImageRpcs } from "../gen/skerry/v1/image_pb.js";
import { type Recipe, RecipeSchema } from "../gen/skerry/v1/recipe_pb.js";
import { checkEnvironment, checkName, quote } from "../names.js";
import type { Secret } from "../secret.js";
import { type LocalFiles, sendTree } from "./local.js";
import { type ImageName, makeRecipe, type RecipeServer, type Spec } from "./recipe.js";

/** Something that happened in a build. */
export type BuildEvent =
  | {
      type: "step";
      /** Position in the build, from 1. */
      number: number;
      /** Steps in all. */
      total: number;
      /** What it does, such as "pip install numpy". */
      name: string;
      state: "running" | "done" | "cached" | "failed";
      /** How long it took, once done. */
      elapsedMs: number;
    }
  | {
      type: "log";
      /** The step's number. */
      step: number;
      /** Whole lines without their ends. */
      lines: string[];
    };

/** The id of an image once it is built, shared by all handles of the same steps. */
export class Built {
  imageId: string;
  /** Of the build that runs. */
  running: Promise<string> | undefined;

  constructor(
    readonly core: Core,
    imageId = "",
  ) {
    this.imageId = imageId;
  }

  /** Returns that of another image. */
  other(): Built {
    return new Built(this.core);
  }
}

/** Builds an image unless it is built, and returns its id. */
export async function buildImage(
  built: Built,
  spec: Spec,
  appId: string,
  onProgress?: (event: BuildEvent) => void,
): Promise<string> {
  if (built.imageId) {
    return built.imageId;
  }
  built.running ??= makeRecipe(spec, recipeServer(built.core, appId)).then((recipe) =>
    build(built.core, recipe, spec, appId, onProgress),
  );
  try {
    built.imageId = await built.running;
    return built.imageId;
  } finally {
    built.running = undefined;
  }
}

/** Returns what makes of things of this machine what they are called on the server. */
export function recipeServer(core: Core, appId: string): RecipeServer {
  const trees = new Map<LocalFiles, Promise<string>>();
  return {
    tree(files) {
      const sent = trees.get(files) ?? sendTree(core, files);
      trees.set(files, sent);
      return sent;
    },
    secret: (secret: Secret) => secret.idIn(core, appId),
    named: (name) => findImage(core, name),
  };
}

/** Returns the id of the image that has a name. Throws NotFoundError. */
export async function findImage(core: Core, { environment, name, tag }: ImageName): Promise<string> {
  const request = { environment: environment || core.config.environment, name, tag };
  return (await core.call(() => core.rpc(ImageRpcs).getImageByName(request))).imageId;
}

/** Gives an image a name. */
export async function publishImage(
  built: Built,
  name: string,
  environment: string | undefined,
  isPublic: boolean,
): Promise<void> {
  const { core, imageId } = built;
  const parts = splitName("Image.publish", name, environment);
  if (!imageId) {
    throw new ExecutionError("Image.publish: the image has not been built; use build(app) first");
  }
  const request = { ...parts, environment: parts.environment || core.config.environment, imageId, isPublic };
  await core.call(() => core.rpc(ImageRpcs).publishImage(request));
}

/** Returns the environment, name and tag of an image, the first and the last "" where they are not said. Throws {@link InvalidError}. */
export function splitName(method: string, text: string, environment?: string): ImageName {
  const slash = text.lastIndexOf("/");
  if (slash >= 0 && environment) {
    throw new InvalidError(`${method}: ${quote(text)} names an environment; leave environment out`);
  }
  const [plain = "", ...tags] = text.slice(slash + 1).split(":");
  const tag = tags.join(":");
  if (plain.startsWith("im-")) {
    throw new InvalidError(`${method}: ${quote(plain)} looks like an image id; use fromId, or choose another name`);
  }
  checkName("image", plain);
  if (tags.length > 0) {
    checkName("image tag", tag);
    if (tag.length > 50) {
      throw new InvalidError(`${method}: tag ${quote(tag)}: want at most 50 characters`);
    }
  }
  const where = slash >= 0 ? text.slice(0, slash) : (environment ?? "");
  return { environment: where ? checkEnvironment(where) : "", name: plain, tag };
}

const STATES: Partial<Record<BuildStepState, "running" | "done" | "cached" | "failed">> = {
  [BuildStepState.RUNNING]: "running",
  [BuildStepState.DONE]: "done",
  [BuildStepState.CACHED]: "cached",
  [BuildStepState.FAILED]: "failed",
};

async function build(
  core: Core,
  recipe: Recipe,
  spec: Spec,
  appId: string,
  onProgress?: (event: BuildEvent) => void,
): Promise<string> {
  const { forceBuild, ignoreCache, imageBuilderVersion: builderVersion } = core.config;
  const request = { recipe, force: forceBuild || ignoreCache, ignoreCache, appId, builderVersion };
  core.logger.debug("building an image", "bytes of recipe", toBinary(RecipeSchema, recipe).length);
  for await (const { event } of core.stream((signal) => core.rpc(ImageRpcs).buildImage(request, { signal }))) {
    switch (event.case) {
      case "step": {
        const { number, total, name, elapsedMs } = event.value;
        const state = STATES[event.value.state] ?? "running";
        onProgress?.({ type: "step", number, total, name, state, elapsedMs: Number(elapsedMs) });
        break;
      }
      case "log":
        onProgress?.({ type: "log", step: event.value.step, lines: event.value.lines });
        break;
      case "built":
        return event.value.imageId;
      case "failed":
        throw failure(event.value, spec);
      default:
        break;
    }
  }
  throw new ServiceError("the server ended the image's build without a result; run again");
}

function failure(failed: BuildFailed, spec: Spec): ImageBuildError {
  const lines = [failed.message ? `image build failed: ${failed.message}` : "image build failed"];
  const layer = failed.recipeStep === 0 ? spec.base : spec.steps[failed.recipeStep - 1];
  if (failed.step) {
    lines.push(`in ${layer?.shown ?? "the image"}`, `step: ${failed.step}`);
  }
  if (failed.command && failed.command !== failed.step) {
    lines.push(`command: ${failed.command}`);
  }
  if (failed.exitCode) {
    lines.push(`exit code: ${failed.exitCode}`);
  }
  if (failed.lastLines.length > 0) {
    lines.push("last lines:", ...failed.lastLines.map((line) => `  ${line}`));
  }
  return new ImageBuildError(lines.join("\n"), failed.imageId);
}
