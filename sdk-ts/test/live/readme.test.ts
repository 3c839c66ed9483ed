import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT } from "./daemon.js";
import { runProgram } from "./programs.js";

/** The programs of a page, by the line that they begin at. */
function programs(page: string): { line: number; source: string }[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => ({
    line: text.slice(0, match.index).split("\n").length + 1,
    source: match[1] ?? "",
  }));
}

/** What a program says that it prints: the comments behind its calls of console.log. */
function expected(source: string): string[] {
  return [...source.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map((match) => match[1] ?? "");
}

describe.each(["sdk-ts/README.md", "docs/typescript.md"])("programs of %s", (page) => {
  test.concurrent.each(programs(page))("line $line prints what it says", async ({ source }) => {
    const printed = await runProgram(source);
    for (const line of expected(source)) {
      expect(printed).toContain(line);
    }
  });
});
