// What a program bundles of this package that imports a part of it: fails when it is over its bound.
import { build } from "esbuild";

/** KiB, minified, without the packages that this one depends on. */
const BOUNDS = [
  { imports: "InvalidError", kib: 4 },
  { imports: "Retries", kib: 6 },
  { imports: "SkerryClient", kib: 200 },
];

let failed = false;
for (const { imports, kib } of BOUNDS) {
  const result = await build({
    stdin: {
      contents: `import { ${imports} } from "skerry"; globalThis.kept = ${imports};`,
      resolveDir: new URL("..", import.meta.url).pathname,
    },
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "node",
    external: ["@bufbuild/*", "@connectrpc/*", "cborg", "smol-toml"],
  });
  const size = (result.outputFiles[0]?.contents.length ?? 0) / 1024;
  process.stdout.write(`import { ${imports} }: ${size.toFixed(1)} KiB of at most ${kib}\n`);
  failed ||= size > kib;
}
process.exitCode = failed ? 1 : 0;
