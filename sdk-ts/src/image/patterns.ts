/** Which local files are left out: patterns as in `.dockerignore`. */

import { readFileSync } from "node:fs";

/** What to leave out: patterns, a matcher, or a function that is given the path relative to the folder. */
export type Ignore = readonly string[] | FilePatternMatcher | ((path: string) => boolean);

interface Rule {
  negated: boolean;
  pattern: RegExp;
}

/**
 * Tells whether a relative path matches patterns in the syntax of `.dockerignore`.
 *
 * `*` and `?` match within a path segment, `[...]` a set of characters, `**` any number of segments; `!` before a pattern takes paths out
 * again. The last pattern that matches decides. A pattern that matches a folder matches all that is in it.
 *
 * ```ts
 * image.addLocalDir("data", "/data", { ignore: new FilePatternMatcher("*.tmp", "!keep.tmp") });
 * ```
 */
export class FilePatternMatcher {
  readonly #rules: Rule[];
  readonly #inverted: boolean;
  /** The patterns as they were given. */
  readonly patterns: readonly string[];

  constructor(...patterns: string[]) {
    this.patterns = patterns;
    this.#rules = patterns.map(compile).filter((rule) => rule !== undefined);
    this.#inverted = false;
  }

  /** Returns a matcher with the patterns of a file, one a line; `#` begins a comment. */
  static fromFile(path: string): FilePatternMatcher {
    const lines = readFileSync(path, "utf8").split(/\r?\n/);
    return new FilePatternMatcher(...lines.filter((line) => line.trim() && !line.startsWith("#")));
  }

  /** Tells whether a path matches: relative, with slashes. */
  matches(path: string): boolean {
    let matched = false;
    for (const { negated, pattern } of this.#rules) {
      if (negated === matched && pattern.test(path)) {
        matched = !negated;
      }
    }
    return matched !== this.#inverted;
  }

  /** Tells whether a folder that matches can be left out without looking into it. */
  canPruneDirectories(): boolean {
    return !this.#inverted && !this.#rules.some((rule) => rule.negated);
  }
}

/** What an ignore argument comes to. */
export interface Matcher {
  matches: (path: string) => boolean;
  /** A folder that matches can be left out without looking into it. */
  prune: boolean;
}

/** Returns what an ignore argument comes to. */
export function makeMatcher(ignore: Ignore): Matcher {
  if (typeof ignore === "function") {
    return { matches: ignore, prune: false };
  }
  const matcher = ignore instanceof FilePatternMatcher ? ignore : new FilePatternMatcher(...ignore);
  return { matches: (path) => matcher.matches(path), prune: matcher.canPruneDirectories() };
}

function compile(pattern: string): Rule | undefined {
  let text = pattern.trim();
  const negated = text.startsWith("!");
  text = (negated ? text.slice(1).trim() : text).replace(/^\/+|\/+$/g, "");
  text = text.replace(/^\.\//, "").replace(/\/+$/, "");
  if (!text || text === ".") {
    return undefined;
  }
  // What is inside a folder that matches matches as well.
  return { negated, pattern: new RegExp(`^${translate(text)}(?:/.*)?$`, "s") };
}

function translate(text: string): string {
  let pattern = "";
  let at = 0;
  while (at < text.length) {
    const character = text.charAt(at);
    const end = character === "[" ? text.indexOf("]", at + 2) : -1;
    if (text.startsWith("**/", at)) {
      pattern += "(?:.*/)?";
      at += 3;
    } else if (text.startsWith("**", at)) {
      pattern += ".*";
      at += 2;
    } else if (end > 0) {
      const inside = text
        .slice(at + 1, end)
        .replaceAll("\\", "\\\\")
        .replaceAll("[", "\\[");
      pattern += `[${/^[!^]/.test(inside) ? `^${inside.slice(1)}` : inside}]`;
      at = end + 1;
    } else if (character === "\\" && at + 1 < text.length) {
      pattern += escapeCharacter(text.charAt(at + 1));
      at += 2;
    } else {
      pattern += character === "*" ? "[^/]*" : character === "?" ? "[^/]" : escapeCharacter(character);
      at += 1;
    }
  }
  return pattern;
}

function escapeCharacter(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
