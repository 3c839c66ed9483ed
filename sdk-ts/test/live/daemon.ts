/** A skerryd of the tests' own: its data folder, its port, and a HOME whose profile points at it. */

import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The repository. */
export const ROOT = resolve(import.meta.dirname, "../../..");

// Node can't wait for the end of a process that is not its child.
const KILL = `
import os, select, signal, sys
process = os.pidfd_open(int(sys.argv[1]))
signal.pidfd_send_signal(process, signal.SIGKILL)
select.select([process], [], [])
`;

/** Starts, kills and stops one skerryd. Everything it leaves is below `folder`. */
export class Daemon {
  readonly data: string;
  readonly home: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(
    readonly folder: string,
    readonly address: string,
  ) {
    this.data = join(folder, "data");
    this.home = join(folder, "home");
    const kept = Object.entries(process.env).filter(([name]) => /_(CA_BUNDLE|CERT|CERT_FILE|CERTS)$/.test(name));
    this.#env = {
      HOME: this.home,
      PATH: `${ROOT}/.venv/bin:${process.env["PATH"]}`,
      LANG: "C.UTF-8",
      ...Object.fromEntries(kept),
    };
  }

  /** A daemon in a fresh folder, not yet started. */
  static async make(): Promise<Daemon> {
    const folder = await mkdtemp(join(tmpdir(), "skerry-ts-"));
    const daemon = new Daemon(folder, `127.0.0.1:${await freePort()}`);
    await mkdir(daemon.home);
    return daemon;
  }

  /** Starts it; it is ready when this returns. */
  async start(): Promise<void> {
    await this.command("up", "--listen", this.address, "--detach");
  }

  /** Ends it as a power cut would end its process; that is gone when this returns. */
  async kill(): Promise<void> {
    const pid = (await readFile(join(this.data, "skerryd.pid"), "utf8")).trim();
    await run(`${ROOT}/.venv/bin/python`, ["-c", KILL, pid], { timeout: 300_000 });
  }

  /** Ends it in good order and removes its folder. */
  async stop(): Promise<void> {
    await this.command("down");
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs the installed command line tool and returns what it prints. */
  async skerry(...args: string[]): Promise<string> {
    return await this.#run(`${ROOT}/.venv/bin/skerry`, args);
  }

  /** Runs a skerryd command on its data folder. */
  async command(...args: string[]): Promise<string> {
    return await this.#run(`${ROOT}/bin/skerryd`, [...args, "--data", this.data]);
  }

  async #run(program: string, args: string[]): Promise<string> {
    try {
      const { stdout } = await run(program, args, { env: this.#env, cwd: ROOT, timeout: 300_000, maxBuffer: 64 << 20 });
      return stdout;
    } catch (error) {
      const log = await readFile(join(this.data, "skerryd.log"), "utf8").catch(() => "");
      throw new Error(`${program} ${args.join(" ")} failed; the end of the daemon's log:\n${log.slice(-4000)}`, {
        cause: error,
      });
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
