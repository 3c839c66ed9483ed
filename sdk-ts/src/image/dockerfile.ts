/** What a Dockerfile copies: which local files are sent with it. */

import { existsSync, statSync } from "node:fs";
import { basename, dirname, join, posix, relative, resolve } from "node:path";
import { InvalidError } from "../errors.js";
import { quote } from "../names.js";
import { type LocalFiles, walkLocal } from "./local.js";
import { FilePatternMatcher, type Ignore } from "./patterns.js";

/** Flags of COPY and ADD that say how, not what. */
const FLAGS = new Set([
  ...["--chmod", "--chown", "--link", "--parents", "--exclude", "--keep-git-dir", "--checksum", "--unpack"],
]);
const REMOTE = /^(https?:\/\/|git@|git:\/\/|ssh:\/\/)/;

/** What the context of Dockerfile lines is made of. */
export interface ContextParams {
  lines: readonly string[];
  /** The folder that they copy from; default: the current one. */
  folder?: string | undefined;
  /** What not to send; default: what is in the `.dockerignore` that belongs to the Dockerfile or the folder. */
  ignore?: Ignore | undefined;
  /** The Dockerfile's path, if there is one. */
  dockerfile?: string;
  /** Local files by the absolute path that a COPY finds them at. */
  files?: Readonly<Record<string, string>>;
}

/** Returns the files that Dockerfile lines copy; undefined: none. Throws {@link InvalidError} for sources that can't be known here. */
export async function dockerfileContext(params: ContextParams): Promise<LocalFiles | undefined> {
  const contents: Record<string, string> = {};
  const sources = copied(params.lines);
  if (sources.length > 0) {
    const root = resolve(params.folder ?? ".");
    if (!existsSync(root) || !statSync(root).isDirectory()) {
      throw new InvalidError(`contextDir ${quote(root)} is no folder`);
    }
    const wanted = new FilePatternMatcher(...sources);
    const ignore = params.ignore ?? autoIgnore(root, params.dockerfile ?? "");
    for (const [name, path] of await walkLocal(root, ignore, { followLinks: false })) {
      if (wanted.matches(name)) {
        contents[name] = path;
      }
    }
  }
  for (const [name, path] of Object.entries(params.files ?? {})) {
    contents[cleanPath(name).replace(/^\/+/, "")] = resolve(path);
  }
  return Object.keys(contents).length > 0 ? { kind: "contents", contents } : undefined;
}

/** Returns patterns of what COPY and ADD instructions take from the context. */
export function copied(lines: readonly string[]): string[] {
  const patterns: string[] = [];
  for (const instruction of instructions(lines)) {
    const [, word = "", rest = ""] = /^(\S*) ?(.*)$/s.exec(instruction) ?? [];
    const verb = word.toUpperCase();
    if (verb !== "COPY" && verb !== "ADD") {
      continue;
    }
    for (const source of sourcesOf(rest.trim()) ?? []) {
      if (source.startsWith("$")) {
        throw new InvalidError(
          `${quote(instruction)}: a source that begins with a variable can't be known here; write it out`,
        );
      }
      if (source.startsWith("--")) {
        throw new InvalidError(`${quote(instruction)}: flag ${quote(source)} is not known`);
      }
      if (source.startsWith("<<") || (verb === "ADD" && REMOTE.test(source))) {
        continue;
      }
      const clean = cleanPath(source).replace(/^\/+/, "");
      patterns.push(clean === "." ? "**" : clean);
    }
  }
  return patterns;
}

/** Returns what an instruction copies; undefined: not from the context. */
function sourcesOf(text: string): string[] | undefined {
  let rest = text;
  while (rest.startsWith("--")) {
    const [, flag = "", left = ""] = /^(\S*) ?(.*)$/s.exec(rest) ?? [];
    const name = flag.split("=", 1)[0] ?? "";
    if (name === "--from") {
      return undefined;
    }
    if (!FLAGS.has(name)) {
      return [flag];
    }
    rest = left.trim();
  }
  if (rest.startsWith("[")) {
    try {
      return (JSON.parse(rest) as unknown[]).map(String).slice(0, -1);
    } catch {
      // Not the list form: a file whose name begins with a bracket.
    }
  }
  return splitWords(rest).slice(0, -1);
}

/** Splits a text as a shell does. Throws {@link InvalidError} for a quote without an end. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  const pattern = /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|(\s+)|([^\s'"\\]+)|(['"\\])/gs;
  for (const [, single, double, escaped, space, plain, odd] of text.matchAll(pattern)) {
    if (odd !== undefined) {
      throw new InvalidError(`${quote(text)}: a quotation without an end`);
    }
    if (space !== undefined) {
      if (word !== undefined) {
        words.push(word);
      }
      word = undefined;
    } else {
      word = (word ?? "") + (single ?? double?.replace(/\\(["\\$`])/g, "$1") ?? escaped ?? plain ?? "");
    }
  }
  return word === undefined ? words : [...words, word];
}

/** Yields instructions with their continued lines joined, without comments and without the texts of heredocs. */
function* instructions(lines: readonly string[]): Generator<string> {
  let pending = "";
  let until: string[] = [];
  for (const line of lines.flatMap((whole) => whole.split(/\r\n|\r|\n/))) {
    if (until.length > 0) {
      if (line.replace(/^\t+|\t+$/g, "") === until[0]) {
        until.shift();
      }
      continue;
    }
    const stripped = line.trim();
    if (!stripped || stripped.startsWith("#")) {
      continue;
    }
    if (stripped.endsWith("\\")) {
      pending += `${stripped.slice(0, -1)} `;
      continue;
    }
    const instruction = (pending + stripped).trim();
    pending = "";
    until = heredocs(instruction);
    yield instruction;
  }
  if (pending) {
    yield pending.trim();
  }
}

function heredocs(instruction: string): string[] {
  const [verb = "", ...words] = instruction.split(/\s+/);
  if (!["COPY", "ADD", "RUN"].includes(verb.toUpperCase())) {
    return [];
  }
  const begins = words.filter((word) => word.startsWith("<<") && !word.startsWith("<<<"));
  return begins.map((word) =>
    word
      .slice(2)
      .replace(/^-+/, "")
      .replace(/^['"]+|['"]+$/g, ""),
  );
}

function autoIgnore(root: string, dockerfile: string): Ignore {
  const places = [join(root, ".dockerignore")];
  if (dockerfile) {
    const file = resolve(dockerfile);
    places.unshift(join(dirname(file), `${basename(file)}.dockerignore`), join(dirname(file), ".dockerignore"));
  }
  for (const place of places) {
    if (existsSync(place) && statSync(place).isFile() && !relative(root, place).startsWith("..")) {
      return FilePatternMatcher.fromFile(place);
    }
  }
  return [];
}

/** Returns a path without "." and ".." and double or final slashes. */
export function cleanPath(path: string): string {
  const clean = posix.normalize(path).replace(/^\/+/, "/");
  return clean.length > 1 ? clean.replace(/\/+$/, "") : clean;
}
