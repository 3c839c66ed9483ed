/** Images as values, and the recipes that the server builds of them. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Base, BaseSchema, type Recipe, RecipeSchema } from "../gen/skerry/v1/recipe_pb.js";
import { type Step, StepSchema } from "../gen/skerry/v1/step_pb.js";
import type { Secret } from "../secret.js";
import type { LocalFiles } from "./local.js";
import type { Build } from "./params.js";

/** What a base is, as the recipe has it. */
export type BaseKind = NonNullable<MessageInitShape<typeof BaseSchema>["kind"]>;
/** What a step does, as the recipe has it. */
export type StepKind = NonNullable<MessageInitShape<typeof StepSchema>["kind"]>;

/** A name of an image. */
export interface ImageName {
  environment: string;
  name: string;
  tag: string;
}

/** What makes of things of this machine what they are called on the server. */
export interface RecipeServer {
  /** Returns the digest of a tree of local files. */
  tree(files: LocalFiles): Promise<string>;
  /** Returns the id of a secret. */
  secret(secret: Secret): Promise<string>;
  /** Returns the id of the image that has a name. */
  named(name: ImageName): Promise<string>;
}

/** Where an image starts, or one change to it. What it needs of this machine is read when the image is built. */
export interface Layer<K> {
  /** The call that it comes from, for people. */
  shown: string;
  build: Build;
  resolve: (server: RecipeServer) => K | Promise<K>;
}

/** Local files that are mounted read-only when a container starts. */
export interface LocalMount {
  files: LocalFiles;
  remotePath: string;
}

/** An image as an immutable value. */
export interface Spec {
  base: Layer<BaseKind>;
  steps: readonly Layer<StepKind>[];
  mounts: readonly LocalMount[];
}

/** Returns an image's recipe. */
export async function makeRecipe(spec: Pick<Spec, "base" | "steps">, server: RecipeServer): Promise<Recipe> {
  const recipe = create(RecipeSchema, { base: await makeBase(spec.base, server) });
  for (const step of spec.steps) {
    recipe.steps.push(await makeStep(step, server));
  }
  return recipe;
}

async function makeBase(layer: Layer<BaseKind>, server: RecipeServer): Promise<Base> {
  const base = create(BaseSchema, { kind: await layer.resolve(server), forceBuild: layer.build.force });
  const secretIds = await idsOf(layer.build.secrets, server);
  if (base.kind.case === "registry") {
    base.kind.value.secretId = secretIds[0] ?? "";
  } else if (base.kind.case === "dockerfile") {
    Object.assign(base.kind.value, { buildEnv: layer.build.env, secretIds, gpu: layer.build.gpu });
  }
  return base;
}

async function makeStep(layer: Layer<StepKind>, server: RecipeServer): Promise<Step> {
  const { env, force, gpu, secrets } = layer.build;
  const volumes = Object.fromEntries(
    layer.build.volumes.map(({ mountPath, volumeId, readOnly, subPath }) => [
      mountPath,
      { volumeId, readOnly, subPath },
    ]),
  );
  const kind = await layer.resolve(server);
  const secretIds = await idsOf(secrets, server);
  return create(StepSchema, { kind, buildEnv: env, forceBuild: force, secretIds, gpu, volumes });
}

async function idsOf(secrets: readonly Secret[], server: RecipeServer): Promise<string[]> {
  return await Promise.all(secrets.map((secret) => server.secret(secret)));
}
