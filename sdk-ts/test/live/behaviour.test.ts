import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type App,
  type CodeLanguage,
  type ContainerProcess,
  type Image,
  type Sandbox,
  type SandboxCreateParams,
  type SandboxExecParams,
  type Secret,
  type SidecarContainer,
  type SidecarCreateParams,
  SkerryError,
} from "../../src/index.js";
import { liveClient } from "./client.js";
import { ROOT } from "./daemon.js";

interface Step {
  [key: string]: unknown;
}

interface Case {
  name: string;
  steps: Step[];
}

const cases: Case[] = JSON.parse(readFileSync(join(ROOT, "e2e/behaviour/sandboxes.json"), "utf8"));
const client = liveClient();

let app: App;
let image: Image;
let sandbox: Sandbox;
const started = new Map<string, ContainerProcess>();
const sidecars = new Map<string, SidecarContainer>();
beforeAll(async () => {
  app = await client().apps.fromName("ts-behaviour", { createIfMissing: true });
  image = client().images.debianSlim();
  const secrets = [client().secrets.fromObject({ HIDDEN: "of-secret" })];
  sandbox = await client().sandboxes.create(app, image, { env: { BASE: "of-sandbox" }, secrets, timeoutMs: 600_000 });
});
afterAll(async () => await sandbox?.terminate());

type Variables = Record<string, string>;
const secretsOf = (variables: unknown): Secret[] =>
  variables === undefined ? [] : [client().secrets.fromObject(variables as Variables)];

/** Spells parameters as this SDK does. */
function spelled(params: Step): Step {
  const { secret, ...rest } = params;
  const camel = (key: string): string => key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  return {
    ...Object.fromEntries(Object.entries(rest).map(([key, item]) => [camel(key), item])),
    secrets: secretsOf(secret),
  };
}

/** Returns the sandbox, or the sidecar that a step is in. */
function placeOf(step: Step): Sandbox | SidecarContainer {
  if (step["in"] === undefined) {
    return sandbox;
  }
  const sidecar = sidecars.get(String(step["in"]));
  if (sidecar === undefined) {
    throw new Error(`no sidecar ${step["in"]}`);
  }
  return sidecar;
}

async function exec(step: Step): Promise<Step> {
  const { exec: argv, stdin, stdout, stderr, code, fails, in: _, ...params } = step;
  const process = await placeOf(step).exec(argv as string[], spelled(params) as SandboxExecParams & { mode?: "text" });
  if (!params["pty"]) {
    await process.stdin.writeText((stdin as string | undefined) ?? "");
    await process.closeStdin();
  }
  const [out, err, exit] = await Promise.all([process.stdout.readText(), process.stderr.readText(), process.wait()]);
  return { stdout: out, stderr: err, code: exit };
}

async function make(step: Step): Promise<Step> {
  const made = await client().sandboxes.create(app, image, spelled(step["create"] as Step) as SandboxCreateParams);
  const code = await made.wait();
  return { code, stdout: await made.stdout.readText(), stderr: await made.stderr.readText() };
}

/** What each kind of step does; it returns what can be compared. */
const doing: Record<string, (step: Step, path: string) => Promise<Step>> = {
  exec,
  create: make,
  start: async (step) => {
    started.set(String(step["as"]), await placeOf(step).exec(step["start"] as string[]));
    return {};
  },
  signal: async (step) => {
    const process = started.get(String(step["of"]));
    await process?.signal(Number(step["signal"]));
    return { code: await process?.wait() };
  },
  write: async (step, path) => {
    await placeOf(step).filesystem.writeText(String(step["text"]), path);
    return { text: step["text"] };
  },
  read: async (step, path) => ({ text: await placeOf(step).filesystem.readText(path) }),
  list: async (step, path) => ({ names: (await placeOf(step).filesystem.listFiles(path)).map((file) => file.name) }),
  stat: async (step, path) => {
    const { symlinkTarget, ...file } = await placeOf(step).filesystem.stat(path);
    return { ...file, target: symlinkTarget };
  },
  mkdir: async (step, path) => {
    await placeOf(step).filesystem.makeDirectory(path, { createParents: step["parents"] !== false });
    return {};
  },
  remove: async (step, path) => {
    await placeOf(step).filesystem.remove(path, { recursive: step["recursive"] === true });
    return {};
  },
  run: async (step) => {
    const language = step["language"] as CodeLanguage | undefined;
    const done = await sandbox.runCode(String(step["run"]), language === undefined ? {} : { language });
    return { text: done.text, stdout: done.stdout, error: done.error?.name };
  },
  tags: async (step) => {
    await sandbox.setTags(step["tags"] as Variables);
    return { tags: await sandbox.getTags() };
  },
  rename: async (_, name) => {
    await sandbox.experimentalSetName(name);
    return { found: (await client().sandboxes.fromName("ts-behaviour", name)).sandboxId === sandbox.sandboxId };
  },
  shorten: async (step) => {
    await using made = await client().sandboxes.create(app, image);
    await made.setTimeout(Number(step["shorten"]));
    return { code: await made.wait() };
  },
  sidecar: async (step, name) => {
    const { sidecar: _, fails, ...params } = step;
    sidecars.set(name, await sandbox.experimentalSidecars.create(name, image, params as SidecarCreateParams));
    return {};
  },
  terminate: async (_, name) => ({ code: await sidecars.get(name)?.terminate({ wait: true }) }),
  ended: async (_, name) => ({ code: await sidecars.get(name)?.wait() }),
};

test.each(cases)("$name", async ({ steps }) => {
  for (const step of steps) {
    const kind = Object.keys(step).find((key) => key in doing) ?? "";
    const work = doing[kind]?.(step, String(step[kind]));
    if (step["fails"] !== undefined) {
      const error = await work?.catch((reason: unknown) => reason);
      expect(error, JSON.stringify(step)).toBeInstanceOf(SkerryError);
      expect((error as Error).name, JSON.stringify(step)).toBe(step["fails"]);
      continue;
    }
    const found = await work;
    for (const key of [
      "stdout",
      "stderr",
      "code",
      "text",
      "names",
      "type",
      "size",
      "permissions",
      "owner",
      "target",
      "error",
      "tags",
      "found",
    ]) {
      if (key in step && key !== kind) {
        expect({ step, [key]: found?.[key] }).toEqual({ step, [key]: step[key] });
      }
    }
    if (kind === "tags") {
      expect(found).toEqual({ tags: step["tags"] });
    }
  }
});
