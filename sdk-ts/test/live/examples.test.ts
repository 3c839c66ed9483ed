import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./daemon.js";
import { runProgram } from "./programs.js";

const folder = join(ROOT, "examples/ts");
const examples = readdirSync(folder).filter((name) => existsSync(join(folder, name, "main.ts")));

test.concurrent.each(examples)("example %s prints what it says", async (name) => {
  const [command, ...patterns] = readFileSync(join(folder, name, "expected.txt"), "utf8")
    .trimEnd()
    .split("\n");
  expect(command).toBe(`$ node ../run.js ${name}`);
  const printed = await runProgram(readFileSync(join(folder, name, "main.ts"), "utf8"));
  const missing = patterns.filter((pattern) => !printed.some((line) => new RegExp(`^(?:${pattern})$`).test(line)));
  expect({ missing, printed }).toEqual({ missing: [], printed });
});

test("every example is in the table", () => {
  const readme = readFileSync(join(folder, "README.md"), "utf8");
  expect(examples.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
});
