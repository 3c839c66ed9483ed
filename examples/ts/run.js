// Runs an example with the SDK of this repository: node examples/ts/run.js 02_sandbox
// In a program of your own, `npm install skerry`, and run it as you run TypeScript.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const sdk = resolve(here, "../../sdk-ts");
const esbuild = createRequire(join(sdk, "package.json"))("esbuild");
const folder = mkdtempSync(join(tmpdir(), "skerry-example-"));
try {
  const outfile = join(folder, "main.mjs");
  esbuild.buildSync({
    entryPoints: [join(here, process.argv[2] ?? "", "main.ts")],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    alias: { skerry: join(sdk, "src/index.ts") },
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  process.exitCode = spawnSync(process.execPath, [outfile, ...process.argv.slice(3)], { stdio: "inherit" }).status ?? 1;
} finally {
  rmSync(folder, { recursive: true });
}
