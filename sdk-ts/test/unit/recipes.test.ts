import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ImageService as ImageRpcs } from "../../src/gen/skerry/v1/image_pb.js";
import { RecipeSchema } from "../../src/gen/skerry/v1/recipe_pb.js";
import { type LocalFiles, listLocal } from "../../src/image/local.js";
import { makeRecipe, type RecipeServer } from "../../src/image/recipe.js";
import { FilePatternMatcher, type Image, InvalidError, NotFoundError, type SkerryClient } from "../../src/index.js";
import { Volume } from "../../src/storage/volume.js";
import { clientOf } from "./gateway.js";

interface Call {
  method: string;
  args?: unknown[];
  options?: Record<string, unknown>;
}

interface VolumeValue {
  $volume: string;
  read_only: boolean;
  sub_path: string;
}

interface Vector {
  name: string;
  files?: Record<string, string>;
  base: Call;
  steps: Call[];
  recipe: string;
  mounts?: [string, string][];
}

const vectors: Vector[] = JSON.parse(
  readFileSync(new URL("../../../docs/image-recipes.json", import.meta.url), "utf8"),
);

let folder = "";
const home = process.cwd();
let client: SkerryClient;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "skerry-recipes-"));
  process.chdir(folder);
  client = clientOf((router) => router.service(ImageRpcs, { getImage: () => ({}) }));
});
afterEach(() => {
  client.close();
  process.chdir(home);
  rmSync(folder, { recursive: true });
});

const camel = (name: string): string =>
  name.replace(/_$/, "").replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

function value(described: unknown): unknown {
  if (Array.isArray(described)) {
    return described.map(value);
  }
  if (typeof described === "object" && described !== null && "$secret" in described) {
    return client.secrets.fromObject({ [String(described.$secret)]: "x" });
  }
  if (typeof described === "object" && described !== null && "$volume" in described) {
    const { $volume: id, read_only: readOnly, sub_path: subPath } = described as VolumeValue;
    return Reflect.construct(Volume, [undefined, { id, name: "" }]).withMountOptions({ readOnly, subPath });
  }
  if (typeof described === "object" && described !== null) {
    return Object.fromEntries(Object.entries(described).map(([name, item]) => [name, value(item)]));
  }
  return described;
}

/** Calls a method by the name and with the arguments that it has in Python. */
async function apply(target: object, call: Call): Promise<Image> {
  const args = (call.args ?? []).map(value);
  if (/^from_(registry|aws|gcp)/.test(call.method)) {
    args.length = 2;
  }
  if (call.options !== undefined) {
    args.push(Object.fromEntries(Object.entries(call.options).map(([name, item]) => [camel(name), value(item)])));
  }
  const method: unknown = Reflect.get(target, camel(call.method));
  if (typeof method !== "function") {
    throw new Error(`there is no ${camel(call.method)}`);
  }
  return await Reflect.apply(method, target, args);
}

async function tree(files: LocalFiles): Promise<string> {
  const lines = (await listLocal(files)).sort().map(([name, path]) => `${name}:${readFileSync(path, "utf8")}`);
  return `tree:${createHash("sha256").update(lines.join("\n")).digest("hex")}`;
}

const server: RecipeServer = {
  tree,
  secret: async (secret) => `st-${secret.keys[0]}`,
  named: async () => "",
};

test.each(vectors)("the same recipe as in Python: $name", async (vector) => {
  for (const [name, text] of Object.entries(vector.files ?? {})) {
    mkdirSync(dirname(name), { recursive: true });
    writeFileSync(name, text);
  }
  let image = await apply(client.images, vector.base);
  for (const step of vector.steps) {
    image = await apply(image, step);
  }
  const recipe = await makeRecipe(image.spec, server);
  expect(Buffer.from(toBinary(RecipeSchema, recipe)).toString("hex")).toBe(vector.recipe);
  const mounts = image.spec.mounts.map(async ({ files, remotePath }) => [remotePath, await tree(files)]);
  expect(await Promise.all(mounts)).toEqual(vector.mounts ?? []);
});

test("methods return new images", () => {
  const base = client.images.debianSlim();
  const one = base.pipInstall("a");
  expect(base.spec.steps).toHaveLength(0);
  expect(one.aptInstall(["b"]).spec.steps).toHaveLength(2);
  expect(one.spec.steps).toHaveLength(1);
});

test.each<[string, (image: Image) => unknown]>([
  ["is no package", (image) => image.pipInstall("--upgrade")],
  [
    "want references such as",
    (image) => image.pipInstallPrivateRepos("example.com/a/b", { gitUser: "a", secrets: [] }),
  ],
  ["needs a secret", (image) => image.pipInstallPrivateRepos("github.com/a/b", { gitUser: "a", secrets: [] })],
  ["must be absolute", (image) => image.workdir("a")],
  ["no name for an environment variable", (image) => image.env({ "1": "a" })],
  ["which must come last", (image) => image.addLocalFile("a", "/a").pipInstall("b")],
])("what makes no sense is refused: %s", (message, make) => {
  expect(() => make(client.images.debianSlim())).toThrow(InvalidError);
  expect(() => make(client.images.debianSlim())).toThrow(message);
});

test.each(["3", "2.7", "3.12t", "latest"])("python %s is refused", (pythonVersion) => {
  expect(() => client.images.debianSlim({ pythonVersion })).toThrow(InvalidError);
});

test("files that are missing are named when the image is built", async () => {
  const image = client.images.debianSlim().pipInstallFromRequirements("nothing.txt");
  await expect(makeRecipe(image.spec, server)).rejects.toThrow(NotFoundError);
  await expect(makeRecipe(client.images.debianSlim().uvSync("nowhere").spec, server)).rejects.toThrow("nowhere");
});

test.each<[string[], string, boolean]>([
  [["*.tmp"], "a.tmp", true],
  [["*.tmp"], "b/a.tmp", false],
  [["**/*.tmp"], "b/a.tmp", true],
  [["**/*.tmp", "!keep.tmp"], "keep.tmp", false],
  [["node_modules"], "node_modules/a/b", true],
  [["/a/"], "a", true],
  [["a?c"], "abc", true],
  [["[!a]b"], "cb", true],
  [["[!a]b"], "ab", false],
  [["a\\*"], "a*", true],
  [["a.c"], "abc", false],
  [["(a)|{b}"], "(a)|{b}", true],
])("patterns %j and %s: %s", (patterns, path, matches) => {
  expect(new FilePatternMatcher(...patterns).matches(path)).toBe(matches);
});
