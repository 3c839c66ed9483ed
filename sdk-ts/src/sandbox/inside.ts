import type { DescService } from "@bufbuild/protobuf";
import type { Client as RpcClient } from "@connectrpc/connect";
import type { Core } from "../core.js";
import { ClientClosedError } from "../errors.js";
import { type Lease, lease } from "../lease.js";

/** The way to what is served inside a sandbox or a sidecar, until its handle is detached. */
export class Inside {
  readonly core: Core;
  /** "/sandboxes/sb-..." */
  readonly path: string;
  /** Aborted when the handle is detached. */
  readonly signal: AbortSignal;
  readonly #detaching = new AbortController();
  readonly #clients = new Map<DescService, unknown>();

  constructor(core: Core, path: string) {
    this.core = core;
    this.path = path;
    this.signal = this.#detaching.signal;
  }

  /** Returns the RPCs of a service. */
  rpc<S extends DescService>(service: S): RpcClient<S> {
    let client = this.#clients.get(service) as RpcClient<S> | undefined;
    if (client === undefined) {
      client = this.core.rpcAt(this.path, service);
      this.#clients.set(service, client);
    }
    return client;
  }

  /** Does an RPC that can safely be done twice, again while the server is away. */
  async call<T>(rpc: () => Promise<T>): Promise<T> {
    this.check();
    return await this.core.call(rpc);
  }

  /** Returns a signal for one stream, which ends with the handle and with the client. */
  lease(...more: readonly AbortSignal[]): Lease {
    return lease(this.core.closing, this.signal, ...more);
  }

  /** Throws {@link ClientClosedError} once the handle is detached. */
  check(): void {
    this.core.checkOpen();
    if (this.#detaching.signal.aborted) {
      throw detached();
    }
  }

  /** Ends all streams; what is asked for from now on throws {@link ClientClosedError}. */
  detach(): void {
    this.#detaching.abort(detached());
  }
}

function detached(): ClientClosedError {
  return new ClientClosedError("the sandbox is detached from this handle; get another with client.sandboxes.fromId()");
}
