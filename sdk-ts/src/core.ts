import type { DescService } from "@bufbuild/protobuf";
import { createClient, type Interceptor, type Client as RpcClient, type Transport } from "@connectrpc/connect";
import { Session } from "./call/session.js";
import type { Config } from "./config.js";
import { AuthError, ClientClosedError, ConnectionError, type SkerryError } from "./errors.js";
import * as faults from "./faults.js";
import { CallService } from "./gen/skerry/v1/call_pb.js";
import { lease } from "./lease.js";
import type { Logger } from "./logger.js";
import { Patience } from "./patience.js";
import { type Connection, openConnection } from "./transport.js";

/** What a {@link Core} is made of. */
export interface CoreParams {
  config: Config;
  logger: Logger;
  interceptors?: readonly Interceptor[];
  /** Connections of a test's own. */
  connection?: Connection;
}

/**
 * What all services of a client share: the connection, how long a server is tried, and the session of calls.
 *
 * @internal
 */
export class Core {
  readonly config: Config;
  readonly logger: Logger;
  /** Ends with {@link ClientClosedError} when the client is closed. */
  readonly closing: AbortSignal;
  readonly #connection: Connection;
  readonly #controller = new AbortController();
  readonly #patience: Patience;
  readonly #transport: Transport;
  readonly #clients = new Map<DescService, unknown>();
  readonly session: Session;

  constructor(params: CoreParams) {
    this.config = params.config;
    this.logger = params.logger;
    this.closing = this.#controller.signal;
    if (params.connection === undefined && (!params.config.tokenId || !params.config.tokenSecret)) {
      throw new AuthError(
        `no token: neither tokenId and tokenSecret, nor SKERRY_TOKEN_ID and SKERRY_TOKEN_SECRET, nor ${params.config.path} has one; ` +
          "the first `skerryd up` on this machine writes it, `skerry token set` takes one from elsewhere",
      );
    }
    this.#connection = params.connection ?? openConnection(params.config, params.interceptors);
    this.#transport = this.#connection.transport();
    this.#patience = new Patience(params.config.connectTimeoutMs, params.config.reconnectTimeoutMs, (reason) =>
      this.#giveUp(reason),
    );
    const calls = this.rpc(CallService);
    this.session = new Session({
      connect: (requests) => calls.session(requests, { signal: this.closing }),
      patience: this.#patience,
      closing: this.closing,
    });
  }

  /** Returns the RPCs of a service of the gateway. */
  rpc<S extends DescService>(service: S): RpcClient<S> {
    let client = this.#clients.get(service) as RpcClient<S> | undefined;
    if (client === undefined) {
      client = createClient(service, this.#transport);
      this.#clients.set(service, client);
    }
    return client;
  }

  /** Returns the RPCs of a service below a path, such as one inside a sandbox. */
  rpcAt<S extends DescService>(path: string, service: S): RpcClient<S> {
    return createClient(service, this.#connection.transport(path));
  }

  /**
   * Does an RPC that can safely be done twice, again while the server is away.
   *
   * Throws the errors of this package.
   */
  async call<T>(rpc: () => Promise<T>): Promise<T> {
    const retries = this.#patience.retries(this.closing);
    for (;;) {
      this.checkOpen();
      try {
        const result = await rpc();
        this.#patience.reached = true;
        return result;
      } catch (reason) {
        this.checkOpen();
        if (!faults.isAway(reason)) {
          this.#patience.reached = true;
          throw faults.from(reason);
        }
        if (!(await retries.wait(reason))) {
          this.checkOpen();
          throw this.#giveUp(faults.from(reason).message);
        }
      }
    }
  }

  /** Does a streaming RPC once. Throws the errors of this package. */
  async *stream<T>(rpc: (signal: AbortSignal) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    this.checkOpen();
    const { signal, end } = lease(this.closing);
    try {
      for await (const message of rpc(signal)) {
        this.#patience.reached = true;
        yield message;
      }
    } catch (reason) {
      this.checkOpen();
      throw faults.isRefused(reason) ? this.#giveUp(faults.from(reason).message) : faults.from(reason);
    } finally {
      end();
    }
  }

  /**
   * Does a streaming RPC, again while the server is away: what it sends may come twice. It ends with a signal. Throws the errors of this
   * package.
   */
  async *resume<T>(
    within: AbortSignal,
    rpc: (signal: AbortSignal) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, undefined> {
    const retries = this.retries();
    for (;;) {
      this.checkOpen();
      const { signal, end } = lease(this.closing, within);
      try {
        for await (const message of rpc(signal)) {
          retries.succeeded();
          yield message;
        }
        return;
      } catch (reason) {
        this.checkOpen();
        if (!faults.isAway(reason)) {
          throw faults.from(reason);
        }
        if (!(await retries.wait(reason))) {
          throw this.#giveUp(faults.from(reason).message);
        }
      } finally {
        end();
      }
    }
  }

  /** Returns a series of attempts of a stream that goes on over breaks. */
  retries(): ReturnType<Patience["retries"]> {
    return this.#patience.retries(this.closing);
  }

  /** Throws {@link ClientClosedError} once the client was closed. */
  checkOpen(): void {
    if (this.closing.aborted) {
      throw new ClientClosedError("the client is closed; make a new one");
    }
  }

  /** Ends the connection. What is waited for fails with {@link ClientClosedError}. */
  close(): void {
    if (!this.closing.aborted) {
      this.session.close();
      this.#controller.abort(new ClientClosedError("the client was closed before the call had ended"));
      this.#connection.close();
    }
  }

  #giveUp(reason: string): SkerryError {
    return new ConnectionError(
      `can't reach the server at ${this.config.serverUrl}: ${reason || "no connection"}; start it with \`skerryd up\`, ` +
        "or set SKERRY_SERVER_URL to where it listens",
    );
  }
}
