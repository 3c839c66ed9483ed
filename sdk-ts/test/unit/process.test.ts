import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type FollowProcessRequest,
  type ProcessEventSchema,
  ProcessService,
  type StartProcessRequest,
  type WriteProcessInputRequest,
} from "../../src/gen/skerry/v1/process_pb.js";
import { SandboxInfoSchema } from "../../src/gen/skerry/v1/sandbox_info_pb.js";
import { SandboxService } from "../../src/gen/skerry/v1/sandbox_pb.js";
import {
  ClientClosedError,
  ConflictError,
  InvalidError,
  NotFoundError,
  type Sandbox,
  type SandboxExecParams,
  type SkerryClient,
} from "../../src/index.js";
import { clientOf } from "./gateway.js";

const ID = "sb-0123456789abcdefghijAB";
const MIB = 1 << 20;

type Event = NonNullable<MessageInitShape<typeof ProcessEventSchema>["event"]>;

const started: Event = { case: "started", value: { pid: 42 } };
const exited = (exitCode: number, more: object = {}): Event => ({ case: "exited", value: { exitCode, ...more } });
const output = (value: {
  stdout?: Uint8Array;
  stderr?: Uint8Array;
  stdoutOffset?: bigint;
  stderrOffset?: bigint;
}): Event => ({ case: "output", value });

/** What a sandbox of the tests' own does; a part that is not given does nothing. */
interface Fake {
  start?: (request: StartProcessRequest) => AsyncIterable<Event>;
  follow?: (request: FollowProcessRequest, signal: AbortSignal) => AsyncIterable<Event>;
  write?: (request: WriteProcessInputRequest) => bigint;
  wait?: () => number | undefined;
}

let client: SkerryClient | undefined;
let fake: Fake = {};
let sandbox: Sandbox;
const signals: number[] = [];

async function* frames(events: AsyncIterable<Event>) {
  for await (const event of events) {
    yield { event: { event } };
  }
}

async function* runs(): AsyncGenerator<Event> {
  yield started;
}

function routes(router: ConnectRouter): void {
  router.service(SandboxService, {
    getSandbox: () => ({ sandbox: create(SandboxInfoSchema, { sandboxId: ID, appId: "ap-1" }) }),
  });
  router.service(ProcessService, {
    startProcess: (request) => frames((fake.start ?? runs)(request)),
    followProcess: (request, context) => frames((fake.follow ?? runs)(request, context.signal)),
    writeProcessInput: (request) => ({ offset: fake.write?.(request) ?? request.offset + BigInt(request.data.length) }),
    waitProcess: () => {
      const exitCode = fake.wait?.();
      return exitCode === undefined ? {} : { exited: { exitCode } };
    },
    signalProcess: ({ signal }) => {
      signals.push(signal);
      throw new ConnectError("the sandbox has ended", Code.FailedPrecondition);
    },
  });
}

beforeEach(async () => {
  fake = {};
  signals.length = 0;
  client = clientOf(routes);
  sandbox = await client.sandboxes.fromId(ID);
});
afterEach(() => client?.close());

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
/** Compares what is too much for a message about it. */
const same = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;
/** Bytes whose value tells their place. */
const counted = (from: number, to: number): Uint8Array => new Uint8Array(to - from).map((_, i) => (from + i) % 251);

describe("output", () => {
  test("is read as text or bytes, and the exit code comes with its end", async () => {
    fake.start = async function* ({ argv, env, pty }) {
      expect([argv, env, pty]).toEqual([["echo", "hi"], { A: "1" }, undefined]);
      yield started;
      yield output({ stdout: bytes("grü").subarray(0, 3), stderr: bytes("no") });
      yield output({ stdout: bytes("grü\n").subarray(3), stdoutOffset: 3n });
      yield exited(3);
    };
    const text = await sandbox.exec(["echo", "hi"], { env: { A: "1", B: null } });
    expect(text.pid).toBe(42);
    expect(await text.stdout.readText()).toBe("grü\n");
    expect(await text.stderr.readText()).toBe("no");
    expect(await text.wait()).toBe(3);
    const binary = await sandbox.exec(["echo", "hi"], { env: { A: "1" }, mode: "binary" });
    expect(await binary.stdout.readBytes()).toEqual(bytes("grü\n"));
  });

  test("goes on at its offset after a break, without a byte twice or none", async () => {
    const asked: bigint[] = [];
    fake.start = async function* () {
      yield started;
      yield output({ stdout: bytes("abc") });
      throw new ConnectError("gone", Code.Unavailable);
    };
    fake.follow = async function* ({ stdoutOffset }) {
      asked.push(stdoutOffset);
      yield output({ stdout: bytes("bcdef"), stdoutOffset: 1n });
      yield exited(0);
    };
    const process = await sandbox.exec(["a"]);
    expect(await process.stdout.readText()).toBe("abcdef");
    expect(asked).toEqual([3n]);
  });

  test("that nobody reads is bounded, and asked for again where it is read", async () => {
    const total = 3 * MIB;
    const asked: bigint[] = [];
    const serve = async function* (from: number): AsyncGenerator<Event> {
      for (let at = from; at < total; at += MIB / 4) {
        yield output({ stdout: counted(at, at + MIB / 4), stdoutOffset: BigInt(at) });
      }
      yield exited(0);
    };
    fake.start = async function* () {
      yield started;
      yield* serve(0);
    };
    fake.follow = async function* ({ stdoutOffset }) {
      asked.push(stdoutOffset);
      yield* serve(Number(stdoutOffset));
    };
    fake.wait = () => 0;
    const process = await sandbox.exec(["a"], { mode: "binary" });
    expect(await process.wait()).toBe(0);
    expect(same(await process.stdout.readBytes(), counted(0, total))).toBe(true);
    expect(asked[0]).toBe(BigInt(MIB));
  });

  test("of one stream does not hold up the other", async () => {
    const total = 3 * MIB;
    const serve = async function* (from: number): AsyncGenerator<Event> {
      for (let at = from; at < total; at += MIB / 4) {
        yield output({ stderr: counted(at, at + MIB / 4), stderrOffset: BigInt(at) });
      }
      yield output({ stdout: bytes("done") });
      yield exited(0);
    };
    fake.start = async function* () {
      yield started;
      yield* serve(0);
    };
    fake.follow = ({ stderrOffset }) => serve(Number(stderrOffset));
    const process = await sandbox.exec(["a"], { mode: "binary" });
    expect(await process.stdout.readBytes()).toEqual(bytes("done"));
    expect(same(await process.stderr.readBytes(), counted(0, total))).toBe(true);
  });

  test("that is read slowly holds its process up", async () => {
    let sent = 0;
    fake.start = async function* () {
      yield started;
      for (; sent < 8 * MIB; sent += MIB / 2) {
        yield output({ stdout: counted(sent, sent + MIB / 2), stdoutOffset: BigInt(sent) });
      }
      yield exited(0);
    };
    const process = await sandbox.exec(["a"], { mode: "binary" });
    const reader = process.stdout.getReader();
    let read = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      read += part.value.length;
      expect(sent - read).toBeLessThan(3 * MIB);
    }
    expect(read).toBe(8 * MIB);
  });

  test("that is no longer kept is passed over", async () => {
    fake.follow = async function* () {
      yield output({ stdout: bytes("new"), stdoutOffset: 1000n });
      yield exited(0);
    };
    expect(await sandbox.process("ex-1").stdout.readText()).toBe("new");
  });

  test("comes by lines", async () => {
    fake.start = async function* () {
      yield started;
      yield output({ stdout: bytes("one\ntw") });
      yield output({ stdout: bytes("o\nlast"), stdoutOffset: 6n });
      yield exited(0);
    };
    const lines: string[] = [];
    for await (const line of (await sandbox.exec(["a"])).stdout.lines()) {
      lines.push(line);
    }
    expect(lines).toEqual(["one", "two", "last"]);
  });

  test("ends quietly where the sandbox does", async () => {
    fake.start = async function* () {
      yield started;
      throw new ConnectError("sandbox has ended", Code.FailedPrecondition);
    };
    const process = await sandbox.exec(["a"]);
    expect(await process.stdout.readText()).toBe("");
    expect(await process.wait()).toBe(137);
  });
});

describe("a process", () => {
  test("that can't be started says why", async () => {
    // biome-ignore lint/correctness/useYield: it never gets to yield.
    fake.start = async function* () {
      throw new ConnectError("no such program", Code.NotFound);
    };
    await expect(sandbox.exec(["nothing"])).rejects.toThrow(NotFoundError);
  });

  test("that is started while the connection breaks is asked for again by the same id", async () => {
    const ids: string[] = [];
    fake.start = async function* ({ processId }) {
      ids.push(processId);
      if (ids.length === 1) {
        throw new ConnectError("gone", Code.Unavailable);
      }
      yield started;
      yield exited(0);
    };
    expect(await (await sandbox.exec(["a"])).wait()).toBe(0);
    expect(ids).toHaveLength(2);
    expect(ids[0]).toBe(ids[1]);
  });

  test("whose timeout passed returns -1", async () => {
    fake.start = async function* ({ timeout }) {
      expect(timeout).toMatchObject({ seconds: 1n, nanos: 500_000_000 });
      yield started;
      yield exited(137, { timedOut: true });
    };
    expect(await (await sandbox.exec(["a"], { timeoutMs: 1500 })).wait()).toBe(-1);
  });

  test("whose output is ignored is not followed", async () => {
    fake.start = async function* ({ discardStdout, discardStderr, noOutput }) {
      expect([discardStdout, discardStderr, noOutput]).toEqual([true, true, true]);
      yield started;
    };
    fake.wait = () => 5;
    const process = await sandbox.exec(["a"], { stdout: "ignore", stderr: "ignore" });
    expect(await process.wait()).toBe(5);
    expect(await process.poll()).toBe(5);
  });

  test("that runs has no code yet", async () => {
    expect(await sandbox.process("ex-1").poll()).toBeNull();
  });

  test("that has ended may be signalled", async () => {
    await sandbox.process("ex-1").kill();
    expect(signals).toEqual([9]);
  });
});

describe("input", () => {
  test("is written at its offset, in order, in parts", async () => {
    const written: [bigint, number, boolean][] = [];
    fake.write = ({ offset, data, eof }) => {
      written.push([offset, data.length, eof]);
      return offset + BigInt(data.length);
    };
    const process = await sandbox.exec(["cat"]);
    await Promise.all([process.stdin.writeText("grüße"), process.stdin.writeBytes(new Uint8Array(MIB + 5))]);
    await process.closeStdin();
    await process.closeStdin();
    expect(written).toEqual([
      [0n, 7, false],
      [7n, MIB, false],
      [7n + BigInt(MIB), 5, false],
      [12n + BigInt(MIB), 0, true],
    ]);
  });

  test("of a process that others have written to begins where they are", async () => {
    const offsets: bigint[] = [];
    fake.write = ({ offset, data }) => {
      offsets.push(offset);
      return data.length === 0 ? 100n : offset + BigInt(data.length);
    };
    await sandbox.process("ex-1").stdin.writeText("x");
    expect(offsets).toEqual([0n, 100n]);
  });

  test("takes a stream", async () => {
    let written = 0;
    fake.write = ({ offset, data }) => {
      written += data.length;
      return offset + BigInt(data.length);
    };
    const process = await sandbox.exec(["cat"], { mode: "binary" });
    const source = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(bytes("abc"));
        controller.enqueue(bytes("def"));
        controller.close();
      },
    });
    await source.pipeTo(process.stdin);
    expect(written).toBe(6);
  });

  test("that is closed says so", async () => {
    fake.write = () => {
      throw new ConnectError("standard input is closed", Code.FailedPrecondition);
    };
    const process = await sandbox.exec(["true"]);
    await expect(process.stdin.writeText("x")).rejects.toThrow(ConflictError);
    await process.stdin.writeText("");
    await process.closeStdin();
  });
});

test("a detached handle does nothing more", async () => {
  fake.start = async function* () {
    yield started;
    await new Promise(() => {});
  };
  const process = await sandbox.exec(["a"]);
  const reading = process.stdout.readText();
  sandbox.detach();
  await expect(reading).rejects.toThrow(ClientClosedError);
  await expect(sandbox.exec(["a"])).rejects.toThrow(ClientClosedError);
  await expect(process.wait()).rejects.toThrow(ClientClosedError);
});

test.each<[string, string[], SandboxExecParams]>([
  ["needs a program", [], {}],
  ["NUL", ["a\0"], {}],
  ["the most is 65536", ["a".repeat(70_000)], {}],
  ["absolute path", ["a"], { workdir: "b" }],
  ["more than 0", ["a"], { timeoutMs: 0 }],
  ["reserved", ["a"], { env: { SKERRY_A: "b" } }],
])("a command that makes no sense is refused: %s", async (message, command, params) => {
  const refused = sandbox.exec(command, { ...params, mode: "text" });
  await expect(refused).rejects.toThrow(InvalidError);
  await expect(refused).rejects.toThrow(message);
});
