/** Checks of the names that users give to things, and new identifiers. */

import { randomBytes } from "node:crypto";
import { InvalidError } from "./errors.js";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const NAME = /^[0-9A-Za-z\-_.]{1,64}$/;
const TAG = /^[0-9A-Za-z\-_.]{1,63}$/;
const VARIABLE = /^[A-Za-z_][0-9A-Za-z_]{0,255}$/;
const ID = /^[0-9A-Za-z]{22}$/;

/** Returns a fresh id: a prefix such as "fc-" and 22 characters of [0-9A-Za-z], about 2^131 of which there are. */
export function newId(prefix: string): string {
  let number = BigInt(`0x${randomBytes(17).toString("hex")}`);
  let text = prefix;
  for (let i = 0; i < 22; i++) {
    text += ALPHABET.charAt(Number(number % 62n));
    number /= 62n;
  }
  return text;
}

/** Tells whether a text is an id with a prefix such as "fc-". */
export function isId(text: string, prefix: string): boolean {
  return text.startsWith(prefix) && ID.test(text.slice(prefix.length));
}

/** Returns the name. Throws {@link InvalidError} if it can't name an object of the given noun. */
export function checkName(noun: string, name: string): string {
  if (!NAME.test(name)) {
    throw new InvalidError(`${noun} name ${quote(name)}: want 1 to 64 letters, digits, '-', '_' or '.'`);
  }
  if (isId(name, "ap-")) {
    throw new InvalidError(`${noun} name ${quote(name)}: looks like an app id; choose another`);
  }
  return name;
}

/** Returns the environment's name. Throws {@link InvalidError}. */
export function checkEnvironment(name: string): string {
  if (!NAME.test(name) || /^[-_.]|^en-/.test(name)) {
    throw new InvalidError(
      `environment name ${quote(name)}: want 1 to 64 letters, digits, '-', '_' or '.', ` +
        "beginning with a letter or digit and not with 'en-'",
    );
  }
  return name;
}

/** Returns a copy of an object's tags. Throws {@link InvalidError}. */
export function checkTags(noun: string, tags: Readonly<Record<string, string>>): Record<string, string> {
  for (const text of Object.entries(tags).flat()) {
    if (!TAG.test(text)) {
      throw new InvalidError(`${noun} tag ${quote(text)}: want 1 to 63 letters, digits, '.', '_' or '-'`);
    }
  }
  return { ...tags };
}

/** Returns environment variables without those that are null or undefined. Throws {@link InvalidError}. */
export function checkVariables(
  noun: string,
  variables: Readonly<Record<string, string | null | undefined>>,
): Record<string, string> {
  const checked: Record<string, string> = {};
  for (const [key, value] of Object.entries(variables)) {
    if (!VARIABLE.test(key)) {
      throw new InvalidError(
        `${noun}: ${quote(key)} is no name for an environment variable; want letters, digits and '_'`,
      );
    }
    if (key.startsWith("SKERRY_")) {
      throw new InvalidError(`${noun}: ${key} is reserved; names that begin with SKERRY_ belong to Skerry`);
    }
    if (value === null || value === undefined) {
      continue;
    }
    if (typeof value !== "string") {
      throw new InvalidError(`${noun}: the value of ${key} is ${typeof value}; want string`);
    }
    checked[key] = value;
  }
  return checked;
}

/** Returns a text in quotes for a message, cut where it is long. */
export function quote(text: string): string {
  const shown = String(text);
  return `'${shown.length <= 80 ? shown : `${shown.slice(0, 80)}...`}'`;
}
