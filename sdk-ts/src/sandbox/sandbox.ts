import type { Core } from "../core.js";
import { checkMs, fromTimestamp, toDuration } from "../duration.js";
import { InvalidError, TimeoutError } from "../errors.js";
import { LogSource } from "../gen/skerry/v1/log_pb.js";
import type { SandboxInfo as InfoMessage } from "../gen/skerry/v1/sandbox_info_pb.js";
import { SandboxService as SandboxRpcs } from "../gen/skerry/v1/sandbox_pb.js";
import type { Image } from "../image/image.js";
import type { ImageService } from "../image/service.js";
import { checkName } from "../names.js";
import * as code from "./code.js";
import { checkLifetime, checkSandboxTags } from "./definition.js";
import * as execution from "./execution.js";
import { SandboxFilesystem } from "./filesystem.js";
import { SandboxGit } from "./git.js";
import {
  type ProcessInfo,
  type SandboxEvent,
  type SandboxInfo,
  type SandboxMetrics,
  type SystemProcessInfo,
  sandboxInfo,
} from "./info.js";
import { Inside } from "./inside.js";
import { MainOutput } from "./main_output.js";
import { type NetworkParams, networkPolicy, type TunnelKind } from "./network.js";
import { type ContainerProcess, ProcessInput } from "./process.js";
import { type Reach, reloadVolumes } from "./reach.js";
import { SidecarService } from "./sidecars.js";
import * as snapshots from "./snapshots.js";
import { ReadStream, WriteStream } from "./streams.js";
import * as tunnels from "./tunnels.js";
import { streamEvents, streamMetrics } from "./watching.js";

const WAIT_MS = 60_000;

/**
 * A computer of one's own, made in milliseconds, for code that nobody trusts. {@link SandboxService.create} makes one.
 *
 * It goes on without this program until its timeout has passed, or somebody ends it; declared with `await using` it is ended with its block.
 *
 * ```ts
 * await using sandbox = await client.sandboxes.create(app, image);
 * const ls = await sandbox.exec(["ls", "-l", "/"]);
 * console.log(await ls.stdout.readText(), await ls.wait());
 * ```
 */
export class Sandbox implements AsyncDisposable {
  /** "sb-...". */
  readonly sandboxId: string;
  /** Its files. */
  readonly filesystem: SandboxFilesystem;
  /** Git in it. */
  readonly git: SandboxGit;
  /** Its sidecars. */
  readonly experimentalSidecars: SidecarService;
  readonly #reach: Reach;
  readonly #images: ImageService;
  readonly #inside: Inside;
  readonly #keeper: execution.SecretKeeper;
  #info: InfoMessage;
  #streams: { stdin?: WriteStream<string>; stdout?: ReadStream<string>; stderr?: ReadStream<string> } = {};

  /** @internal */
  constructor(core: Core, images: ImageService, info: InfoMessage) {
    this.sandboxId = info.sandboxId;
    this.#reach = { core, sandboxId: info.sandboxId };
    this.#images = images;
    this.#info = info;
    this.#inside = new Inside(core, `/sandboxes/${info.sandboxId}`);
    this.#keeper = new execution.SecretKeeper(this.#inside, info.sandboxId, info.appId);
    this.filesystem = new SandboxFilesystem(this.#inside);
    this.git = new SandboxGit((command, params) => execution.startProcess(this.#inside, this.#keeper, command, params));
    this.experimentalSidecars = new SidecarService(this.#reach, info.appId);
  }

  /** Standard input of its command. */
  get stdin(): WriteStream<string> {
    this.#streams.stdin ??= new WriteStream<string>(new ProcessInput(this.#inside, "main"));
    return this.#streams.stdin;
  }

  /** Standard output of its command, also after its end. This handle reads it once; another one from the beginning again. */
  get stdout(): ReadStream<string> {
    this.#streams.stdout ??= this.#mainOutput(LogSource.STDOUT);
    return this.#streams.stdout;
  }

  /** Standard error of its command. */
  get stderr(): ReadStream<string> {
    this.#streams.stderr ??= this.#mainOutput(LogSource.STDERR);
    return this.#streams.stderr;
  }

  /**
   * Starts a process, which runs beside the sandbox's own command, and returns once it runs.
   *
   * @param command - program and arguments, exactly as the program gets them; no shell is involved. At most 65,536 bytes in all.
   *
   * Throws {@link NotFoundError} where the program or the directory does not exist, {@link ConflictError} for a sandbox that has ended,
   * {@link InvalidError}.
   */
  async exec(
    command: readonly string[],
    params?: execution.SandboxExecParams & { mode?: "text" },
  ): Promise<ContainerProcess>;
  async exec(
    command: readonly string[],
    params: execution.SandboxExecParams & { mode: "binary" },
  ): Promise<ContainerProcess<Uint8Array>>;
  async exec(
    command: readonly string[],
    params: execution.SandboxExecParams = {},
  ): Promise<ContainerProcess<string | Uint8Array>> {
    return await execution.startProcess(this.#inside, this.#keeper, command, params);
  }

  /**
   * Returns a handle of a process that runs, or has run, such as one that another program started. Its output is read from an offset.
   *
   * @param processId - as {@link listProcesses} and {@link ContainerProcess.processId} have it; "main" is the sandbox's own command.
   */
  process(processId: string, params?: execution.SandboxProcessParams & { mode?: "text" }): ContainerProcess;
  process(processId: string, params: execution.SandboxProcessParams & { mode: "binary" }): ContainerProcess<Uint8Array>;
  process(processId: string, params: execution.SandboxProcessParams = {}): ContainerProcess<string | Uint8Array> {
    return execution.findProcess(this.#inside, processId, params);
  }

  /** Lists the processes that were started by `exec`, also of other handles, and the sandbox's own command, oldest first. */
  async listProcesses(): Promise<ProcessInfo[]> {
    return await execution.listProcesses(this.#inside);
  }

  /** Lists every process of the sandbox's system, as `ps` does. */
  async listSystemProcesses(): Promise<SystemProcessInfo[]> {
    return await execution.listSystemProcesses(this.#inside);
  }

  /**
   * Runs code that shares its state: what one piece defines the next one sees. What it raises is in `error` of what comes of it.
   *
   * ```ts
   * await sandbox.runCode("x = 20");
   * console.log((await sandbox.runCode("x + 1")).text); // 21
   * ```
   */
  async runCode(text: string, params: code.RunCodeParams = {}): Promise<code.CodeExecution> {
    return await code.runCode(this.#inside, text, params);
  }

  /** Runs code and yields what comes of it as it comes. */
  runCodeStream(
    text: string,
    params: Pick<code.RunCodeParams, "language" | "context" | "timeoutMs"> = {},
  ): AsyncGenerator<code.CodeEvent, void, undefined> {
    return code.streamCode(this.#inside, text, params);
  }

  /** Makes a context with fresh state for {@link runCode}. Throws {@link ResourceExhaustedError} for more than 32. */
  async createCodeContext(params: code.CodeContextParams = {}): Promise<code.CodeContext> {
    return await code.createContext(this.#inside, this.#keeper, params);
  }

  /** Lists the contexts, oldest first. */
  async listCodeContexts(): Promise<code.CodeContext[]> {
    return await code.listContexts(this.#inside);
  }

  /** Says what the server knows of the sandbox. */
  async info(): Promise<SandboxInfo> {
    const { core, sandboxId } = this.#reach;
    this.#learn((await this.#call(() => core.rpc(SandboxRpcs).getSandbox({ sandboxId }))).sandbox);
    return sandboxInfo(this.#info);
  }

  /** Waits until the sandbox has ended, and returns its exit code: 124 for a timeout, 137 where it was ended. */
  async wait(): Promise<number> {
    for (;;) {
      const returnCode = await this.#look(WAIT_MS);
      if (returnCode !== null) {
        return returnCode;
      }
    }
  }

  /** Returns the exit code, or null while the sandbox runs. */
  async poll(): Promise<number | null> {
    return await this.#look(0);
  }

  /** Waits until the readiness probe has succeeded. Throws {@link TimeoutError}, {@link ConflictError} for one that has ended or has none. */
  async waitUntilReady(timeoutMs = 300_000): Promise<void> {
    const { core, sandboxId } = this.#reach;
    const end = performance.now() + checkMs("timeoutMs", timeoutMs, { min: 1 });
    for (let left = timeoutMs; left > 0; left = end - performance.now()) {
      const request = { sandboxId, limit: toDuration(Math.min(left, WAIT_MS)) };
      if ((await this.#call(() => core.rpc(SandboxRpcs).waitSandboxReady(request))).ready) {
        return;
      }
    }
    throw new TimeoutError(`sandbox ${sandboxId} was not ready within ${timeoutMs} ms`);
  }

  /** Ends the sandbox; with `wait` returns its exit code when it has ended. One that has ended is no error. */
  async terminate(params: { wait: true }): Promise<number>;
  async terminate(params?: { wait?: boolean }): Promise<undefined>;
  async terminate(params: { wait?: boolean } = {}): Promise<number | undefined> {
    const { core, sandboxId } = this.#reach;
    const request = { sandboxId, wait: params.wait ?? false };
    this.#learn((await this.#call(() => core.rpc(SandboxRpcs).terminateSandbox(request))).sandbox);
    return params.wait ? await this.wait() : undefined;
  }

  /** Has nothing more to do with the sandbox, which goes on: streams of this handle end, and its methods throw {@link ClientClosedError}. */
  detach(): void {
    this.#inside.detach();
  }

  /** Ends the sandbox. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminate();
    this.detach();
  }

  /** Keeps the sandbox on its worker's disk, with its memory, and frees all else. TCP connections are cut. Throws {@link TimeoutError}. */
  async pause(params: snapshots.SnapshotTimeout = {}): Promise<void> {
    this.#inside.check();
    this.#learn(await snapshots.pauseSandbox(this.#reach, params));
  }

  /** Has a paused sandbox run on. Throws {@link ConflictError} for one that has ended. */
  async resume(): Promise<void> {
    this.#inside.check();
    this.#learn(await snapshots.resumeSandbox(this.#reach));
  }

  /**
   * Makes sandboxes that go on from where this one is, each with its own memory and files; this one runs on.
   *
   * @param count - how many, 1 to 100.
   *
   * They have no name, and the tags, timeout and network policy of this one. TCP connections are not copied. Throws {@link TimeoutError},
   * {@link ConflictError}, {@link ResourceExhaustedError}.
   */
  async fork(count = 1, params: snapshots.SnapshotTimeout = {}): Promise<Sandbox[]> {
    this.#inside.check();
    const forks = await snapshots.forkSandbox(this.#reach, count, params);
    return forks.map((info) => new Sandbox(this.#reach.core, this.#images, info));
  }

  /** Has the sandbox end so many milliseconds from now at the latest, 1 s to 30 days. Returns when. */
  async setTimeout(timeoutMs: number): Promise<Date> {
    const { core, sandboxId } = this.#reach;
    const request = { sandboxId, timeout: toDuration(checkLifetime("timeoutMs", timeoutMs)) };
    const { expiresAt } = await this.#call(() => core.rpc(SandboxRpcs).setSandboxTimeout(request));
    return fromTimestamp(expiresAt) ?? new Date(Date.now() + timeoutMs);
  }

  /** Returns the tags. */
  async getTags(): Promise<Record<string, string>> {
    return (await this.info()).tags;
  }

  /** Replaces the tags. */
  async setTags(tags: Readonly<Record<string, string>>): Promise<void> {
    const { core, sandboxId } = this.#reach;
    const request = { sandboxId, tags: checkSandboxTags(tags) };
    await this.#call(() => core.rpc(SandboxRpcs).setSandboxTags(request));
  }

  /** Gives the running sandbox a name. Throws {@link AlreadyExistsError}. */
  async experimentalSetName(name: string): Promise<void> {
    const { core, sandboxId } = this.#reach;
    const request = { sandboxId, name: checkName("sandbox", name) };
    await this.#call(() => core.rpc(SandboxRpcs).setSandboxName(request));
  }

  /** Waits until the sandbox runs, and returns its tunnels by port. Throws {@link SandboxTimeoutError}. */
  async tunnels(timeoutMs = 50_000): Promise<Record<number, tunnels.Tunnel>> {
    this.#inside.check();
    return await tunnels.listTunnels(this.#reach, checkMs("timeoutMs", timeoutMs));
  }

  /**
   * Returns how a port is reached, whether it was named when the sandbox was created or not.
   *
   * @param kind - of one that was not: "encrypted" for HTTP/1.1, "h2" for HTTP/2, both over TLS where the installation has a domain;
   *   "unencrypted" for TCP as it is.
   */
  async tunnel(port: number, params: { kind?: TunnelKind } = {}): Promise<tunnels.Tunnel> {
    this.#inside.check();
    return await tunnels.openTunnel(this.#reach, port, params.kind ?? "encrypted");
  }

  /** Has a port be reached no more, and cuts the connections to it. */
  async closeTunnel(port: number): Promise<void> {
    this.#inside.check();
    await tunnels.closeTunnel(this.#reach, port);
  }

  /** Returns a URL and a token that let HTTP and WebSocket requests through to one port, whatever listens there by then. */
  async createConnectToken(params: tunnels.ConnectTokenParams = {}): Promise<tunnels.SandboxConnectCredentials> {
    this.#inside.check();
    return await tunnels.createConnectToken(this.#reach, params);
  }

  /** Returns a URL that opens one port to whoever has it, for a time. */
  async signedUrl(port: number, params: tunnels.SignedUrlParams = {}): Promise<string> {
    this.#inside.check();
    return await tunnels.signedUrl(this.#reach, port, params);
  }

  /** Makes all tokens and signed URLs of a port invalid; of all ports where none is given. */
  async revokeUrls(port?: number): Promise<void> {
    this.#inside.check();
    await tunnels.revokeUrls(this.#reach, port);
  }

  /** Replaces what the sandbox may reach, and who may reach it, while it runs. Connections that are no longer allowed are cut. */
  async updateNetworkPolicy(params: NetworkParams): Promise<void> {
    const { core, sandboxId } = this.#reach;
    const request = { sandboxId, network: networkPolicy(params) };
    await this.#call(() => core.rpc(SandboxRpcs).setSandboxNetwork(request));
  }

  /**
   * Has the sandbox see what was committed to its volumes; what it has written is committed before. Throws {@link ConflictError} where
   * files of a volume are open in it, and says which; {@link TimeoutError} after timeoutMs (55000).
   */
  async reloadVolumes(params: { timeoutMs?: number } = {}): Promise<void> {
    this.#inside.check();
    await reloadVolumes(this.#reach, params.timeoutMs ?? 55_000);
  }

  /** Makes an image of the sandbox's files, without what is mounted in it. Throws {@link TimeoutError}, {@link ConflictError}. */
  async snapshotFilesystem(params: snapshots.SnapshotParams = {}): Promise<Image> {
    this.#inside.check();
    return await snapshots.snapshotFilesystem(this.#reach, this.#images, params);
  }

  /** Makes an image whose root is a directory of the sandbox, for {@link mountImage}. */
  async snapshotDirectory(path: string, params: snapshots.SnapshotParams = {}): Promise<Image> {
    this.#inside.check();
    return await snapshots.snapshotDirectory(this.#reach, this.#images, path, params);
  }

  /** Shows a built image's files at a path, writable; without an image, an empty directory. What is mounted there already is replaced. */
  async mountImage(path: string, image?: Image): Promise<void> {
    this.#inside.check();
    await snapshots.mountImage(this.#reach, path, image);
  }

  /** Takes a mounted image away; what was written there is lost. Throws {@link ConflictError} while it is in use. */
  async unmountImage(path: string): Promise<void> {
    this.#inside.check();
    await snapshots.unmountImage(this.#reach, path);
  }

  /** Keeps the sandbox with its memory; it runs on. {@link SandboxService.experimentalFromSnapshot} makes sandboxes of it. */
  async experimentalSnapshot(params: snapshots.SnapshotParams = {}): Promise<snapshots.SandboxSnapshot> {
    this.#inside.check();
    return await snapshots.snapshotSandbox(this.#reach, params);
  }

  /**
   * Yields what the sandbox uses, at once and then as often as asked for, until it ends.
   *
   * @param intervalMs - 100 to 3600000 (1000).
   */
  metrics(params: { intervalMs?: number } = {}): AsyncGenerator<SandboxMetrics, void, undefined> {
    return streamMetrics(this.#inside, this.sandboxId, params.intervalMs ?? 1000);
  }

  /** Yields what happens to the sandbox, what has happened already first, until it has ended. */
  events(): AsyncGenerator<SandboxEvent, void, undefined> {
    return streamEvents(this.#inside, this.sandboxId);
  }

  async #call<T>(rpc: () => Promise<T>): Promise<T> {
    return await this.#inside.call(rpc);
  }

  #learn(info: InfoMessage | undefined): void {
    this.#info = info ?? this.#info;
  }

  async #look(ms: number): Promise<number | null> {
    if (this.#info.end === undefined) {
      const { core, sandboxId } = this.#reach;
      const request = { sandboxId, limit: toDuration(ms) };
      this.#learn((await core.call(() => core.rpc(SandboxRpcs).waitSandbox(request))).sandbox);
    }
    return this.#info.end?.returnCode ?? null;
  }

  #mainOutput(source: LogSource): ReadStream<string> {
    return new ReadStream<string>(new MainOutput(this.#inside, this.sandboxId, source), "text");
  }
}
