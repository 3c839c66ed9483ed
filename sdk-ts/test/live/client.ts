import { afterAll, beforeAll, inject } from "vitest";
import { SkerryClient } from "../../src/index.js";

/** A client of the live tests' daemon, for the tests of a file. */
export function liveClient(): () => SkerryClient {
  let client: SkerryClient | undefined;
  beforeAll(() => {
    process.env["SKERRY_CONFIG_PATH"] = inject("configPath");
    client = new SkerryClient();
  });
  afterAll(() => client?.close());
  return () => {
    if (client === undefined) {
      throw new Error("the client is there once the tests run");
    }
    return client;
  };
}

/** All that an iterable yields. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}
