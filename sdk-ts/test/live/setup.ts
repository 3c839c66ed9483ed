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
    const apps = ["sdk-ts/test/live/apps.py", "sdk-ts/test/live/my_app.py", "examples/ts/01_functions/app.py"];
    await Promise.all(apps.map((app) => daemon.skerry("deploy", join(ROOT, app))));
  } catch (error) {
    await daemon.stop();
    throw error;
  }
  project.provide("configPath", join(daemon.home, ".skerry.toml"));
  return () => daemon.stop();
}
