/** Programs as users run them: in processes of their own, with the SDK's sources. */

import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { buildSync } from "esbuild";
import { inject } from "vitest";

const run = promisify(execFile);

/** Runs a program to its end and returns the lines that it prints. Throws, with all that it said, where it fails. */
export async function runProgram(source: string): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "skerry-program-"));
  try {
    const outfile = join(folder, "main.mjs");
    buildSync({
      stdin: { contents: source, loader: "ts", resolveDir: resolve(import.meta.dirname, "../..") },
      outfile,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20",
      alias: { skerry: resolve(import.meta.dirname, "../../src/index.ts") },
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    });
    const env = { ...process.env, SKERRY_CONFIG_PATH: inject("configPath") };
    const { stdout } = await run(process.execPath, [outfile], { env, cwd: folder, timeout: 100_000 });
    return stdout.split("\n").slice(0, -1);
  } finally {
    await rm(folder, { recursive: true });
  }
}
