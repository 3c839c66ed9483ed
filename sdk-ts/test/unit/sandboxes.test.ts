import { create, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ImageService as ImageRpcs } from "../../src/gen/skerry/v1/image_pb.js";
import { InterpreterService } from "../../src/gen/skerry/v1/interpreter_pb.js";
import { LogService, LogSource } from "../../src/gen/skerry/v1/log_pb.js";
import { ProcessEventSchema, ProcessService } from "../../src/gen/skerry/v1/process_pb.js";
import { type SandboxDefinition, SandboxDefinitionSchema } from "../../src/gen/skerry/v1/sandbox_definition_pb.js";
import { SandboxEndReason, SandboxInfoSchema, SandboxState } from "../../src/gen/skerry/v1/sandbox_info_pb.js";
import { SandboxService as SandboxRpcs } from "../../src/gen/skerry/v1/sandbox_pb.js";
import { SandboxEventType, SandboxWatchService } from "../../src/gen/skerry/v1/sandbox_watch_pb.js";
import { SecretService } from "../../src/gen/skerry/v1/secret_pb.js";
import { SnapshotService } from "../../src/gen/skerry/v1/snapshot_pb.js";
import { TunnelService } from "../../src/gen/skerry/v1/tunnel_pb.js";
import {
  type App,
  EgressSecret,
  type Image,
  InvalidError,
  Probe,
  type Sandbox,
  type SandboxCreateParams,
  SandboxTimeoutError,
  type SkerryClient,
  TimeoutError,
} from "../../src/index.js";
import { parseStatus } from "../../src/sandbox/git.js";
import { clientOf } from "./gateway.js";

const ID = "sb-0123456789abcdefghijAB";
const app: App = { appId: "ap-1", name: "app", environmentName: "" };

/** A gateway that remembers what was asked. */
class Gateway {
  definition: SandboxDefinition | undefined;
  secrets = 0;
  asked: unknown[] = [];
  readyAfter = 0;
  slow = false;
  eventsBreak = false;

  readonly routes = (router: ConnectRouter): void => {
    router.service(ImageRpcs, { getImage: () => ({}) });
    router.service(SecretService, { createSecret: () => ({ secretId: `st-${++this.secrets}` }) });
    router.service(SandboxRpcs, {
      createSandbox: ({ sandboxId, definition }) => {
        this.definition = definition;
        return { sandbox: create(SandboxInfoSchema, { sandboxId, appId: "ap-1" }) };
      },
      getSandbox: ({ sandboxId, name }) => ({
        sandbox: { sandboxId: sandboxId || ID, name, appId: "ap-1", state: SandboxState.RUNNING, tags: { a: "b" } },
      }),
      listSandboxes: ({ createdBefore }) => {
        const first = createdBefore === undefined;
        const seconds = first ? 20n : 10n;
        return { sandboxes: [{ sandboxId: first ? ID : `${ID.slice(0, -1)}X`, createdAt: { seconds } }], more: first };
      },
      waitSandbox: () => ({
        sandbox: { sandboxId: ID, end: { reason: SandboxEndReason.TIMEOUT, returnCode: 124, message: "too long" } },
      }),
      waitSandboxReady: () => ({ ready: this.readyAfter-- <= 0 }),
      terminateSandbox: ({ wait }) => ({ sandbox: { sandboxId: ID, ...(wait && { end: { returnCode: 137 } }) } }),
      setSandboxNetwork: ({ network }) => {
        this.asked.push(network?.outboundCidrs?.entries, network?.outboundDomains?.entries);
        return {};
      },
      sealEnvironment: ({ secretIds }) => ({ environmentId: secretIds.join("+") }),
      pruneSandboxes: (request) => {
        this.asked.push(request.owner, request.olderThan?.seconds, request.dryRun);
        return { sandboxes: [{ sandboxId: ID, owner: request.owner }] };
      },
    });
    router.service(SandboxWatchService, {
      streamSandboxEvents: () => this.#events(),
      async *streamSandboxMetrics() {
        yield { memoryBytes: 5n, cpuTime: { seconds: 1n, nanos: 500_000_000 }, cpuLimitMilli: 2000, processes: 3 };
        throw new ConnectError("it has ended", Code.FailedPrecondition);
      },
    });
    router.service(ProcessService, {
      async *startProcess({ environmentIds }) {
        const stdout = new TextEncoder().encode(environmentIds.join(" "));
        yield { event: create(ProcessEventSchema, { event: { case: "started", value: {} } }) };
        yield { event: create(ProcessEventSchema, { event: { case: "output", value: { stdout } } }) };
        yield { event: create(ProcessEventSchema, { event: { case: "exited", value: {} } }) };
      },
    });
    router.service(SnapshotService, {
      snapshotFilesystem: ({ ttlSeconds }) => {
        if (this.slow) {
          throw new ConnectError("it took too long", Code.DeadlineExceeded);
        }
        this.asked.push(ttlSeconds);
        return { imageId: "im-1" };
      },
      forkSandbox: ({ forkIds }) => ({ sandboxes: forkIds.map((sandboxId) => ({ sandboxId })) }),
      restoreSandbox: (request) => {
        this.asked.push(request.name, request.inheritName);
        return { sandbox: { sandboxId: request.sandboxId } };
      },
      mountImage: ({ imageId }) => {
        this.asked.push(imageId);
        return {};
      },
    });
    router.service(TunnelService, {
      listTunnels: () => {
        if (this.slow) {
          throw new ConnectError("it took too long", Code.DeadlineExceeded);
        }
        return { tunnels: [{ port: 80, url: "http://127.0.0.1:1", host: "127.0.0.1", hostPort: 1 }] };
      },
      createConnectToken: ({ userMetadata, port }) => ({ url: `u${port}`, token: userMetadata }),
    });
    router.service(LogService, { streamLogs: (request) => this.#logs(request.source, request.since?.seconds) });
    router.service(InterpreterService, {
      async *runCode({ code }) {
        yield { event: { case: "stdout", value: "a" } };
        yield { event: { case: "stdout", value: "b" } };
        yield { event: { case: "result", value: { data: { "text/plain": code, ...TABLE }, main: true } } };
        yield { event: { case: "error", value: { name: "ValueError", value: "no", traceback: "..." } } };
        yield { event: { case: "done", value: { executionCount: 2n } } };
      },
    });
  };

  async *#events() {
    const event = (type: SandboxEventType, seconds: bigint) => ({
      type,
      time: { seconds },
      sandbox: create(SandboxInfoSchema, { sandboxId: ID }),
    });
    yield { watching: true };
    yield event(SandboxEventType.CREATED, 1n);
    if (!this.eventsBreak) {
      this.eventsBreak = true;
      throw new ConnectError("gone", Code.Unavailable);
    }
    yield event(SandboxEventType.ENDED, 2n);
  }

  #logsBroke = false;

  async *#logs(source: LogSource, since: bigint | undefined) {
    const entries = [
      { time: { seconds: 1n }, text: "one\n" },
      { time: { seconds: 2n }, text: "two\n" },
      { time: { seconds: 2n }, text: "three\n" },
    ];
    this.asked.push(source, since);
    yield { entries: entries.slice(0, 2).filter((entry) => since === undefined || entry.time.seconds >= since) };
    if (!this.#logsBroke) {
      this.#logsBroke = true;
      throw new ConnectError("gone", Code.Unavailable);
    }
    yield { entries: entries.slice(2) };
  }
}

const TABLE = {
  "application/json": '{"columns":["a"],"rows":[[1],[2]]}',
  "image/png": Buffer.from("png").toString("base64"),
};

let gateway: Gateway;
let client: SkerryClient;
let sandbox: Sandbox;
let image: Image;
beforeEach(async () => {
  gateway = new Gateway();
  client = clientOf(gateway.routes);
  sandbox = await client.sandboxes.fromId(ID);
  image = await client.images.fromId("im-base");
});
afterEach(() => client.close());

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}

describe("create", () => {
  test("asks for what was given", async () => {
    const key = new EgressSecret("KEY", { value: "v", hosts: ["*.example.com"], header: "X-Key", format: "Key {}" });
    const made = await client.sandboxes.create(app, image, {
      command: ["sleep", "1"],
      name: "one",
      tags: { a: "b" },
      owner: "run-1",
      env: { A: "1", B: null },
      secrets: [client.secrets.fromObject({ S: "x" })],
      egressSecrets: [key],
      timeoutMs: 1500,
      idleTimeoutMs: 2000,
      onIdle: "pause",
      workdir: "/w",
      cpu: 0.5,
      cpuLimit: 1,
      memoryMiB: 128,
      pty: true,
      encryptedPorts: [80],
      h2Ports: [81],
      unencryptedPorts: [82],
      outboundCidrAllowlist: ["10.0.0.0/8", "::1"],
      outboundDomainAllowlist: [],
      readinessProbe: Probe.withTcp(80, { intervalMs: 50 }),
      regions: ["eu"],
    });
    expect(made.sandboxId).toMatch(/^sb-[0-9A-Za-z]{22}$/);
    const definition = gateway.definition ?? create(SandboxDefinitionSchema);
    expect(toJson(SandboxDefinitionSchema, definition)).toEqual({
      argv: ["sleep", "1"],
      name: "one",
      tags: { a: "b" },
      owner: "run-1",
      imageId: "im-base",
      env: { A: "1" },
      secretIds: [expect.stringMatching(/^st-[12]$/)],
      egressSecrets: [
        {
          secretId: expect.stringMatching(/^st-[12]$/),
          variable: "KEY",
          hosts: ["*.example.com"],
          header: "X-Key",
          format: "Key {}",
        },
      ],
      timeout: "1.500s",
      idleTimeout: "2s",
      onIdle: "IDLE_ACTION_PAUSE",
      workdir: "/w",
      resources: { cpuMilli: 500, cpuLimitMilli: 1000, memoryMib: 128 },
      pty: true,
      ports: [
        { port: 80, kind: "PORT_KIND_ENCRYPTED" },
        { port: 81, kind: "PORT_KIND_H2" },
        { port: 82, kind: "PORT_KIND_UNENCRYPTED" },
      ],
      network: { outboundCidrs: { entries: ["10.0.0.0/8", "::1"] }, outboundDomains: {} },
      probe: { tcpPort: 80, interval: "0.050s" },
      placement: { regions: ["eu"] },
    });
  });

  test.each<[string, SandboxCreateParams]>([
    ["NUL", { command: ["a\0"] }],
    ["sandbox name", { name: "a b" }],
    ["sandbox tag", { tags: { "a b": "c" } }],
    ["timeoutMs 10", { timeoutMs: 10 }],
    ["idleTimeoutMs", { idleTimeoutMs: -1 }],
    ["absolute path", { workdir: "a" }],
    ["a limit is less", { cpu: 2, cpuLimit: 1 }],
    ["memoryMiB 1.5", { memoryMiB: 1.5 }],
    ["port 0", { encryptedPorts: [0] }],
    ["port 80 is there twice", { encryptedPorts: [80], h2Ports: [80] }],
    ["can't be open with blockNetwork", { blockNetwork: true, h2Ports: [80] }],
    ["can't be used with blockNetwork", { blockNetwork: true, outboundCidrAllowlist: [] }],
    ["no range of addresses", { outboundCidrAllowlist: ["10.0.0.0/33"] }],
    ["no range of addresses", { inboundCidrAllowlist: ["example.com"] }],
    ["no domain", { outboundDomainAllowlist: ["*.*"] }],
    ["owner", { owner: "a".repeat(129) }],
  ])("refuses what makes no sense: %s", async (message, params) => {
    await expect(client.sandboxes.create(app, image, params)).rejects.toThrow(InvalidError);
    await expect(client.sandboxes.create(app, image, params)).rejects.toThrow(message);
  });

  test.each([
    () => Probe.withTcp(70_000),
    () => Probe.withExec([]),
    () => Probe.withTcp(80, { intervalMs: 1 }),
    () => new EgressSecret("A", { hosts: ["a.example"] }),
    () => new EgressSecret("A", { value: "v", hosts: [] }),
    () => new EgressSecret("A", { value: "v", hosts: ["*"] }),
    () => new EgressSecret("A", { value: "v", hosts: ["a.example"], format: "{}" }),
    () => client.cloudBucketMounts.create("ab"),
    () => client.cloudBucketMounts.create("bucket", { keyPrefix: "a" }),
    () => client.cloudBucketMounts.create("bucket", { requesterPays: true }),
    () => client.cloudBucketMounts.create("bucket", { bucketEndpointUrl: "s.example" }),
  ])("refuses parts that make no sense: %s", (make) => {
    expect(make).toThrow(InvalidError);
  });

  test("mounts buckets, whose secrets are named", async () => {
    const bucket = client.cloudBucketMounts.create("bucket", {
      secret: client.secrets.fromObject({ AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b" }),
      bucketEndpointUrl: "https://s.example",
      keyPrefix: "in/",
      readOnly: true,
    });
    await client.sandboxes.create(app, image, { cloudBucketMounts: { "/data": bucket } });
    const definition = gateway.definition ?? create(SandboxDefinitionSchema);
    expect(toJson(SandboxDefinitionSchema, definition)).toMatchObject({
      bucketMounts: [
        {
          path: "/data",
          bucketName: "bucket",
          endpointUrl: "https://s.example",
          keyPrefix: "in/",
          secretId: "st-1",
          readOnly: true,
        },
      ],
    });
    for (const path of ["data", "/", "/tmp", "/data/"]) {
      const made = client.sandboxes.create(app, image, { cloudBucketMounts: { [path]: bucket } });
      await expect(made).rejects.toThrow(InvalidError);
    }
  });
});

describe("a sandbox", () => {
  test("is found, listed and pruned", async () => {
    expect((await client.sandboxes.fromName("app", "one")).sandboxId).toBe(ID);
    expect(await sandbox.getTags()).toEqual({ a: "b" });
    expect((await collect(client.sandboxes.list({ tags: { a: "b" } }))).map((one) => one.sandboxId.at(-1))).toEqual([
      "B",
      "X",
    ]);
    const pruned = await client.sandboxes.prune({ owner: "me", olderThanMs: 60_000, dryRun: true });
    expect(pruned).toMatchObject([{ sandboxId: ID, owner: "me" }]);
    expect(gateway.asked).toEqual(["me", 60n, true]);
    await expect(client.sandboxes.prune({ olderThanMs: 1 })).rejects.toThrow(InvalidError);
    await expect(client.sandboxes.fromId("sb-1")).rejects.toThrow(InvalidError);
  });

  test("is waited for and ended", async () => {
    expect(await sandbox.wait()).toBe(124);
    expect(await sandbox.terminate({ wait: true })).toBe(137);
    gateway.readyAfter = 2;
    await sandbox.waitUntilReady();
    gateway.readyAfter = 1e9;
    await expect(sandbox.waitUntilReady(20)).rejects.toThrow(TimeoutError);
  });

  test("gets secrets once, whichever process names them", async () => {
    const secrets = [client.secrets.fromObject({ A: "1" }), client.secrets.fromObject({ B: "2" })];
    for (let i = 0; i < 2; i++) {
      expect(await (await sandbox.exec(["env"], { secrets })).stdout.readText()).toBe("st-1+st-2");
    }
    expect(gateway.secrets).toBe(2);
  });

  test("tells what its command wrote, once over a break", async () => {
    expect(await sandbox.stdout.readText()).toBe("one\ntwo\nthree\n");
    expect(gateway.asked).toEqual([LogSource.STDOUT, undefined, LogSource.STDOUT, 2n]);
  });

  test("tells what happens to it, each thing once", async () => {
    expect((await collect(sandbox.events())).map((event) => event.type)).toEqual(["created", "ended"]);
    expect(await collect(sandbox.metrics())).toMatchObject([
      { memoryBytes: 5, cpuMs: 1500, cpuLimit: 2, memoryLimitBytes: null, processes: 3 },
    ]);
    gateway.eventsBreak = true;
    const all = await client.sandboxes.events();
    expect((await collect(all)).map((event) => event.type)).toEqual(["created", "ended"]);
  });

  test("has tunnels", async () => {
    const { 80: tunnel } = await sandbox.tunnels();
    expect([tunnel?.url, tunnel?.tlsSocket]).toEqual(["http://127.0.0.1:1", ["127.0.0.1", 1]]);
    expect(() => tunnel?.tcpSocket).toThrow(InvalidError);
    expect(await sandbox.createConnectToken({ userMetadata: { user: 1 } })).toEqual({
      url: "u8080",
      token: '{"user":1}',
    });
    gateway.slow = true;
    await expect(sandbox.tunnels(10)).rejects.toThrow(SandboxTimeoutError);
  });

  test("has snapshots, forks and mounts", async () => {
    expect((await sandbox.snapshotFilesystem()).imageId).toBe("im-1");
    await sandbox.snapshotFilesystem({ ttlMs: null });
    await sandbox.snapshotFilesystem({ ttlMs: 60_000 });
    await sandbox.mountImage("/m", await client.images.fromId("im-2"));
    await sandbox.mountImage("/m", client.images.fromScratch());
    await sandbox.mountImage("/m");
    expect(gateway.asked).toEqual([undefined, 0n, 60n, "im-2", "", ""]);
    await expect(sandbox.mountImage("/m", client.images.debianSlim())).rejects.toThrow(InvalidError);
    expect(await sandbox.fork(3)).toHaveLength(3);
    await expect(sandbox.fork(0)).rejects.toThrow(InvalidError);
    gateway.slow = true;
    await expect(sandbox.snapshotFilesystem()).rejects.toThrow(TimeoutError);
  });

  test("goes on from a snapshot, with its name or another or none", async () => {
    const snapshot = { snapshotId: "sn-1" };
    await client.sandboxes.experimentalFromSnapshot(snapshot);
    await client.sandboxes.experimentalFromSnapshot(snapshot, { name: "two" });
    await client.sandboxes.experimentalFromSnapshot(snapshot, { name: null });
    expect(gateway.asked).toEqual(["", true, "two", false, "", false]);
  });

  test("changes its network", async () => {
    await sandbox.updateNetworkPolicy({ outboundCidrAllowlist: [], outboundDomainAllowlist: ["example.com"] });
    expect(gateway.asked).toEqual([[], ["example.com"]]);
  });
});

test("code gives results, output and errors", async () => {
  const heard: string[] = [];
  const execution = await sandbox.runCode("1 + 1", { onStdout: (text) => heard.push(text) });
  expect(execution).toMatchObject({ text: "1 + 1", stdout: "ab", stderr: "", executionCount: 2, timedOut: false });
  expect(execution.error).toEqual({ name: "ValueError", value: "no", traceback: "..." });
  expect(execution.results[0]?.table).toEqual({ columns: ["a"], rows: [[1], [2]] });
  expect(Buffer.from(execution.results[0]?.png ?? []).toString()).toBe("png");
  expect(heard).toEqual(["a", "b"]);
  const types = (await collect(sandbox.runCodeStream("x"))).map((event) => event.type);
  expect(types).toEqual(["stdout", "stdout", "result", "error", "done"]);
  await expect(sandbox.runCode("x".repeat(5 << 20))).rejects.toThrow(InvalidError);
});

test("the status of a repository is read", () => {
  const text = [
    "# branch.oid 1234",
    "# branch.head main",
    "# branch.upstream origin/main",
    "# branch.ab +2 -1",
    "1 A. N... 0 1 1 a b new file.txt",
    "1 .M N... 1 1 1 a b changed",
    "2 R. N... 1 1 1 a b R100 to",
    "from",
    "? untracked name",
    "",
  ].join("\0");
  expect(parseStatus(text)).toEqual({
    branch: "main",
    commit: "1234",
    upstream: "origin/main",
    ahead: 2,
    behind: 1,
    files: [
      { path: "new file.txt", staged: "added", unstaged: null, oldPath: null },
      { path: "changed", staged: null, unstaged: "modified", oldPath: null },
      { path: "to", staged: "renamed", unstaged: null, oldPath: "from" },
      { path: "untracked name", staged: null, unstaged: "untracked", oldPath: null },
    ],
  });
  expect(parseStatus("# branch.oid (initial)\0# branch.head (detached)\0")).toMatchObject({
    branch: null,
    commit: null,
  });
});

test("a URL with a password is refused", async () => {
  await expect(sandbox.git.clone("https://a:b@example.com/c", "/c")).rejects.toThrow(InvalidError);
});
