import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { decodeValue, encodeValue } from "../../src/cbor.js";
import {
  CallKind,
  CallService,
  type Input,
  type SessionRequest,
  type SessionResponseSchema,
} from "../../src/gen/skerry/v1/call_pb.js";
import { FunctionService } from "../../src/gen/skerry/v1/function_pb.js";
import { PayloadFormat, ResultStatus } from "../../src/gen/skerry/v1/payload_pb.js";
import {
  AuthError,
  ClientClosedError,
  ConnectionError,
  FunctionTimeoutError,
  InternalFailure,
  InvalidError,
  NotFoundError,
  OutputExpiredError,
  RemoteError,
  type SkerryClient,
  TimeoutError,
} from "../../src/index.js";
import { clientOf } from "./gateway.js";

type Response = MessageInitShape<typeof SessionResponseSchema>;
type Session = (requests: AsyncIterable<SessionRequest>, number: number) => AsyncIterable<Response>;

let client: SkerryClient | undefined;
afterEach(() => client?.close());

/** A client of a gateway with one function, whose sessions are served by a function. */
function clientWith(session: Session, more: (router: ConnectRouter) => void = () => {}): SkerryClient {
  let number = 0;
  client = clientOf((router) => {
    router.service(FunctionService, {
      getFunction: ({ functionName }) => ({
        functionId: "fu-1",
        appId: "ap-1",
        definition: { name: functionName, isGenerator: functionName === "gen" },
      }),
    });
    router.service(CallService, { session: (requests) => session(requests, number++), cancelCall: () => ({}) });
    more(router);
  });
  return client;
}

function payload(value: unknown) {
  return { format: PayloadFormat.CBOR, content: { case: "inline" as const, value: encodeValue(value) } };
}

function args(input: Input): unknown {
  const content = input.args?.content;
  return content?.case === "inline" ? decodeValue(content.value) : undefined;
}

function success(callId: string, value: unknown): Response {
  return { outputs: [{ callId, index: 0, result: { status: ResultStatus.SUCCESS, value: payload(value) } }] };
}

/** A session that answers each input with its arguments. */
async function* echo(requests: AsyncIterable<SessionRequest>): AsyncGenerator<Response> {
  for await (const request of requests) {
    for (const submit of request.submits) {
      for (const input of submit.inputs) {
        yield success(submit.callId, args(input));
      }
    }
  }
}

describe("a session", () => {
  test("carries many calls at once", async () => {
    let sessions = 0;
    const f = await clientWith((requests) => {
      sessions += 1;
      return echo(requests);
    }).functions.fromName("app", "f");
    const values = await Promise.all(Array.from({ length: 1500 }, (_, i) => f.remote([i])));
    expect(values[1499]).toEqual([[1499], {}]);
    expect(sessions).toBe(1);
  });

  test("sends again, and says so, what has no output when the stream breaks", async () => {
    const resumed: boolean[] = [];
    const f = await clientWith(async function* (requests, number) {
      for await (const request of requests) {
        for (const submit of request.submits) {
          resumed.push(submit.resumed);
          if (number === 0) {
            throw new ConnectError("gone", Code.Unavailable);
          }
          yield success(submit.callId, "at last");
        }
      }
    }).functions.fromName("app", "f");
    expect(await f.remote()).toBe("at last");
    expect(resumed).toEqual([false, true]);
  });

  test("that is refused for good fails its calls", async () => {
    // biome-ignore lint/correctness/useYield: it never gets to yield.
    const f = await clientWith(async function* () {
      throw new ConnectError("unknown token", Code.Unauthenticated);
    }).functions.fromName("app", "f");
    await expect(f.remote()).rejects.toThrow(AuthError);
  });

  test("releases calls that have ended", async () => {
    const released: string[] = [];
    const f = await clientWith(async function* (requests) {
      for await (const request of requests) {
        released.push(...request.releasedCallIds);
        yield* echo([request] as unknown as AsyncIterable<SessionRequest>);
      }
    }).functions.fromName("app", "f");
    await f.remote();
    await f.remote();
    expect(released).toHaveLength(1);
  });

  test("ends with the client, and its calls with it", async () => {
    // biome-ignore lint/correctness/useYield: a gateway that never answers.
    const f = await clientWith(async function* (requests) {
      for await (const request of requests) {
        if (request.submits.length > 0) {
          client?.close();
        }
      }
    }).functions.fromName("app", "f");
    await expect(f.remote()).rejects.toThrow(ClientClosedError);
    await expect(f.remote()).rejects.toThrow(ClientClosedError);
  });
});

describe("results", () => {
  test.each([
    [ResultStatus.TIMEOUT, FunctionTimeoutError],
    [ResultStatus.INTERNAL_FAILURE, InternalFailure],
    [ResultStatus.CANCELLED, RemoteError],
    [ResultStatus.OUT_OF_MEMORY, RemoteError],
  ])("status %i is an error of its own", async (status, kind) => {
    const f = await clientWith(async function* (requests) {
      for await (const request of requests) {
        for (const { callId } of request.submits) {
          yield { outputs: [{ callId, result: { status, error: { message: "because" } } }] };
        }
      }
    }).functions.fromName("app", "f");
    await expect(f.remote()).rejects.toThrow(kind);
    await expect(f.remote()).rejects.toThrow("because");
  });

  test("a refused call says why", async () => {
    const f = await clientWith(async function* (requests) {
      for await (const request of requests) {
        yield { refused: request.submits.map(({ callId }) => ({ callId, code: 5, message: "no such function" })) };
      }
    }).functions.fromName("app", "f");
    await expect(f.remote()).rejects.toThrow(NotFoundError);
  });
});

describe("generators", () => {
  test("drop what comes again after a break, and go on", async () => {
    const seen: bigint[] = [];
    const gen = await clientWith(async function* (requests, number) {
      for await (const request of requests) {
        seen.push(...request.itemsSeen.map((one) => one.count));
        for (const { callId } of request.submits) {
          yield { items: [{ callId, first: 1n, values: [payload("a"), payload("b")] }] };
          if (number === 0) {
            throw new ConnectError("gone", Code.Unavailable);
          }
          yield { items: [{ callId, first: 3n, values: [payload("c")] }] };
          yield { outputs: [{ callId, result: { status: ResultStatus.SUCCESS, itemsTotal: 3n } }] };
        }
      }
    }).functions.fromName("app", "gen");
    const items: unknown[] = [];
    for await (const item of gen.remoteGen()) {
      items.push(item);
    }
    expect(items).toEqual(["a", "b", "c"]);
  });

  test("are cancelled when nobody reads on", async () => {
    let cancelled: ((callId: string) => void) | undefined;
    const cancelling = new Promise<string>((resolve) => {
      cancelled = resolve;
    });
    client = clientOf((router) => {
      router.service(FunctionService, {
        getFunction: () => ({ functionId: "fu-1", definition: { isGenerator: true } }),
      });
      router.service(CallService, {
        async *session(requests) {
          for await (const request of requests) {
            for (const { callId } of request.submits) {
              yield { items: [{ callId, first: 1n, values: [payload(1)] }] };
            }
          }
        },
        cancelCall({ callId }) {
          cancelled?.(callId);
          return {};
        },
      });
    });
    const gen = await client.functions.fromName("app", "gen");
    for await (const item of gen.remoteGen()) {
      expect(item).toBe(1);
      break;
    }
    expect(await cancelling).toMatch(/^fc-/);
  });

  test("are told from functions", async () => {
    const made = clientWith(echo);
    const gen = await made.functions.fromName("app", "gen");
    await expect(gen.remote()).rejects.toThrow(InvalidError);
    await expect(gen.spawn()).rejects.toThrow(InvalidError);
  });
});

describe("spawned calls", () => {
  test("are accepted, and watched when they are asked for", async () => {
    const f = await clientWith(async function* (requests) {
      for await (const request of requests) {
        for (const { callId, kind } of request.submits) {
          expect(kind).toBe(CallKind.SPAWN);
          yield { accepted: [{ callId, indexes: [0] }] };
        }
        for (const { callId } of request.watches) {
          yield { states: [{ callId, numInputs: 1 }] };
          yield success(callId, 5);
        }
      }
    }).functions.fromName("app", "f");
    const call = await f.spawn();
    expect(await call.get()).toBe(5);
    expect(await call.get()).toBe(5);
  });

  test.each([
    [{ numInputs: 1 }, TimeoutError],
    [{ expired: true }, OutputExpiredError],
    [{ numInputs: 1 }, NotFoundError],
  ])("say what became of them: %j", async (state, kind) => {
    const made = clientWith(async function* (requests) {
      for await (const request of requests) {
        yield { states: request.watches.map(({ callId }) => ({ callId, ...state })) };
      }
    });
    const call = await made.functionCalls.fromId("fc-0123456789abcdefghijAB");
    await expect(call.get({ timeoutMs: 0, index: kind === NotFoundError ? 1 : 0 })).rejects.toThrow(kind);
  });

  test("have ids", async () => {
    await expect(clientWith(echo).functionCalls.fromId("fc-1")).rejects.toThrow(InvalidError);
  });
});

test("single requests are tried again while the server is away, and no longer than it takes", async () => {
  let tries = 0;
  client = clientOf((router) => {
    router.service(FunctionService, {
      getFunction: () => {
        tries += 1;
        if (tries < 3) {
          throw new ConnectError("starting", Code.Unavailable);
        }
        return { functionId: "fu-1" };
      },
    });
  });
  expect((await client.functions.fromName("app", "f")).functionId).toBe("fu-1");
  expect(tries).toBe(3);
});

test("a server that is not there is named, with what to do", async () => {
  const { SkerryClient: Client } = await import("../../src/index.js");
  client = new Client({ serverUrl: "http://127.0.0.1:1", tokenId: "tk", tokenSecret: "s", connectTimeoutMs: 50 });
  const failed = client.functions.fromName("app", "f");
  await expect(failed).rejects.toThrow(ConnectionError);
  await expect(failed).rejects.toThrow("can't reach the server at http://127.0.0.1:1");
});
