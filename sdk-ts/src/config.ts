/**
 * Settings: `~/.skerry.toml` and `SKERRY_*` variables, the same as the command line and the Python SDK use.
 *
 * The file has a table per profile; the one with `active = true` is used unless `SKERRY_PROFILE` names another. For each key what the
 * program gives comes first, then the variable `SKERRY_<KEY>`, then the profile, then the default.
 */

import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parse } from "smol-toml";
import { InvalidError } from "./errors.js";
import { type LogLevel, parseLogLevel } from "./logger.js";
import { quote } from "./names.js";

/** Settings that a program may give; those that are left out come from variables and the settings file. */
export interface Settings {
  /** Where the gateway listens (http://127.0.0.1:7070). */
  serverUrl?: string;
  /** The token's id, "tk-...". */
  tokenId?: string;
  /** The token's secret. */
  tokenSecret?: string;
  /** The environment to work in (the server's default one). */
  environment?: string;
  /** PEM file of the authority that signed the server's certificate (the system's). */
  caFile?: string;
  /** How long a server that can't be reached at first is tried (1500). */
  connectTimeoutMs?: number;
  /** How long a server that was reached before is tried (600000). */
  reconnectTimeoutMs?: number;
  /** Version of the rules by which images are built (the server's). */
  imageBuilderVersion?: string;
  /** From which level on the SDK logs ("warn"). */
  logLevel?: LogLevel;
  /** The profile of the settings file (the active one). */
  profile?: string;
}

/** The settings in force. */
export interface Config {
  readonly serverUrl: string;
  readonly tokenId: string;
  readonly tokenSecret: string;
  readonly environment: string;
  readonly caFile: string;
  readonly connectTimeoutMs: number;
  readonly reconnectTimeoutMs: number;
  readonly imageBuilderVersion: string;
  readonly forceBuild: boolean;
  readonly ignoreCache: boolean;
  readonly logLevel: LogLevel;
  /** The settings file, for messages. */
  readonly path: string;
}

type Variables = Readonly<Record<string, string | undefined>>;
type Table = Readonly<Record<string, unknown>>;

/** Returns the settings in force. Throws {@link InvalidError} for a file, variable or value that makes no sense. */
export function loadConfig(given: Settings = {}, variables: Variables = process.env): Config {
  const path = variables["SKERRY_CONFIG_PATH"] || join(variables["HOME"] || homedir(), ".skerry.toml");
  const profile = chooseProfile(path, readProfiles(path), given.profile ?? variables["SKERRY_PROFILE"]);
  const look = new Lookup(path, profile, variables);
  return {
    serverUrl: checkUrl(given.serverUrl ?? look.text("server_url", "http://127.0.0.1:7070")),
    tokenId: given.tokenId ?? look.text("token_id"),
    tokenSecret: given.tokenSecret ?? look.text("token_secret"),
    environment: given.environment ?? look.text("environment"),
    caFile: given.caFile ?? look.text("ca_file"),
    connectTimeoutMs: given.connectTimeoutMs ?? look.seconds("connect_timeout", 1.5) * 1000,
    reconnectTimeoutMs: given.reconnectTimeoutMs ?? look.seconds("reconnect_timeout", 600) * 1000,
    imageBuilderVersion: checkBuilder(given.imageBuilderVersion ?? look.text("image_builder_version")),
    forceBuild: look.flag("force_build"),
    ignoreCache: look.flag("ignore_cache"),
    logLevel: given.logLevel ?? checkLogLevel(look.text("loglevel", "warn")),
    path,
  };
}

/** Where a key's value comes from. */
class Lookup {
  readonly #path: string;
  readonly #profile: Table;
  readonly #variables: Variables;

  constructor(path: string, profile: Table, variables: Variables) {
    this.#path = path;
    this.#profile = profile;
    this.#variables = variables;
  }

  text(key: string, fallback = ""): string {
    return this.#find(key)?.value ?? fallback;
  }

  seconds(key: string, fallback: number): number {
    const found = this.#find(key);
    if (found === undefined) {
      return fallback;
    }
    const seconds = found.value.trim() === "" ? Number.NaN : Number(found.value);
    if (!(seconds >= 0)) {
      throw new InvalidError(`${found.source}: ${quote(found.value)} is no number of seconds`);
    }
    return seconds;
  }

  flag(key: string): boolean {
    const found = this.#find(key);
    const text = found?.value.toLowerCase() ?? "";
    if (["1", "true", "yes", "on"].includes(text)) {
      return true;
    }
    if (["", "0", "false", "no", "off"].includes(text)) {
      return false;
    }
    throw new InvalidError(`${found?.source}: ${quote(text)} is neither true nor false`);
  }

  #find(key: string): { value: string; source: string } | undefined {
    const variable = `SKERRY_${key.toUpperCase()}`;
    const text = this.#variables[variable];
    if (text !== undefined) {
      return { value: text, source: variable };
    }
    const value = this.#profile[key];
    return value === undefined ? undefined : { value: String(value), source: `${this.#path}: ${key}` };
  }
}

function readProfiles(path: string): Record<string, Table> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      return {};
    }
    throw new InvalidError(`${path}: can't be read: ${String(error)}`, { cause: error });
  }
  const profiles: Record<string, Table> = {};
  let tables: Table;
  try {
    tables = parse(text);
  } catch (error) {
    throw new InvalidError(`${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  for (const [name, table] of Object.entries(tables)) {
    if (!isTable(table)) {
      throw new InvalidError(`${path}: ${quote(name)} stands outside a profile; put it below a [profile] line`);
    }
    profiles[name] = table;
  }
  return profiles;
}

function chooseProfile(path: string, profiles: Record<string, Table>, chosen: string | undefined): Table {
  const names = Object.keys(profiles);
  if (chosen) {
    const table = profiles[chosen];
    if (table === undefined) {
      throw new InvalidError(`profile ${quote(chosen)} is not in ${path}; there is: ${names.join(", ") || "none"}`);
    }
    return table;
  }
  const active = names.filter((name) => profiles[name]?.["active"] === true);
  if (active.length > 1) {
    throw new InvalidError(
      `${path}: several profiles are active (${active.join(", ")}); leave \`active = true\` in one`,
    );
  }
  if (active.length === 0 && names.length > 1) {
    throw new InvalidError(`${path}: no profile is active; run \`skerry profile activate NAME\``);
  }
  return profiles[active[0] ?? names[0] ?? ""] ?? {};
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new InvalidError(`server_url ${quote(text)}: want http://HOST:PORT or https://HOST[:PORT]`);
  }
  return text.replace(/\/+$/, "");
}

const BUILDER_VERSION = "2026.11";

function checkBuilder(version: string): string {
  if (version !== "" && version !== BUILDER_VERSION) {
    throw new InvalidError(`image_builder_version ${quote(version)} is not known; there is ${BUILDER_VERSION}`);
  }
  return version;
}

function checkLogLevel(text: string): LogLevel {
  const level = parseLogLevel(text);
  if (level === undefined) {
    throw new InvalidError(`loglevel ${quote(text)}: want debug, info, warning or error`);
  }
  return level;
}
