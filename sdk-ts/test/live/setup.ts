import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { Daemon, ROOT } from "./daemon.js";

declare module "vitest" {
  interface ProvidedContext {
    /** The settings file of the daemon's HOME. */
    configPath: string;
  }
}

/** Starts one real daemon for all live tests, with the apps that they call. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const daemon = await Daemon.make();
  try {
    await daemon.start();
    await daemon.skerry("deploy", join(ROOT, "sdk-ts/test/live/apps.py"));
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  project.provide("configPath", join(daemon.home, ".skerry.toml"));
  return () => daemon.stop();
}
