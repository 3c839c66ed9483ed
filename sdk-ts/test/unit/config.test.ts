import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadConfig } from "../../src/config.js";
import { AuthError, InvalidError, SkerryClient } from "../../src/index.js";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "skerry-config-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The configuration with a settings file of a text, and variables. */
function load(text: string, variables: Record<string, string> = {}, given: Parameters<typeof loadConfig>[0] = {}) {
  const path = join(folder, "skerry.toml");
  writeFileSync(path, text);
  return loadConfig(given, { SKERRY_CONFIG_PATH: path, ...variables });
}

const TWO =
  '[a]\ntoken_id = "tk-a"\n[b]\nactive = true\ntoken_id = "tk-b"\nserver_url = "https://b.example/"\nconnect_timeout = 3\n';

test("without a file there are defaults", () => {
  const config = loadConfig({}, { HOME: folder });
  expect(config).toMatchObject({ serverUrl: "http://127.0.0.1:7070", connectTimeoutMs: 1500, logLevel: "warn" });
});

test("the active profile is used, or the one that is named", () => {
  expect(load(TWO)).toMatchObject({ tokenId: "tk-b", serverUrl: "https://b.example", connectTimeoutMs: 3000 });
  expect(load(TWO, { SKERRY_PROFILE: "a" }).tokenId).toBe("tk-a");
  expect(load(TWO, { SKERRY_PROFILE: "b" }, { profile: "a" }).tokenId).toBe("tk-a");
});

test("what the program gives comes first, then variables, then the file", () => {
  expect(load(TWO, { SKERRY_TOKEN_ID: "tk-v" }).tokenId).toBe("tk-v");
  expect(load(TWO, { SKERRY_TOKEN_ID: "tk-v" }, { tokenId: "tk-p" }).tokenId).toBe("tk-p");
  expect(load(TWO, { SKERRY_FORCE_BUILD: "yes", SKERRY_LOGLEVEL: "DEBUG" })).toMatchObject({
    forceBuild: true,
    logLevel: "debug",
  });
});

test.each([
  ["[a]\n[b]\n", {}, "no profile is active"],
  ["[a]\nactive = true\n[b]\nactive = true\n", {}, "several profiles are active"],
  ["token_id = 'x'\n", {}, "stands outside a profile"],
  ["[a\n", {}, "skerry.toml"],
  ["[a]\n", { SKERRY_PROFILE: "c" }, "profile 'c' is not in"],
  ["[a]\nserver_url = 'ftp://x'\n", {}, "want http://HOST:PORT"],
  ["", { SKERRY_CONNECT_TIMEOUT: "soon" }, "SKERRY_CONNECT_TIMEOUT: 'soon' is no number"],
  ["", { SKERRY_FORCE_BUILD: "maybe" }, "neither true nor false"],
  ["", { SKERRY_LOGLEVEL: "loud" }, "loglevel 'loud'"],
])("a setting that makes no sense is named: %j %j", (text, variables, message) => {
  expect(() => load(text, variables)).toThrow(InvalidError);
  expect(() => load(text, variables)).toThrow(message);
});

test("without a token the client says where one comes from", () => {
  const settings = { serverUrl: "http://127.0.0.1:1", tokenId: "", tokenSecret: "" };
  expect(() => new SkerryClient(settings)).toThrow(AuthError);
});
