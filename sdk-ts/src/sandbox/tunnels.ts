/** How a sandbox's ports are reached. */

import { toDuration } from "../duration.js";
import { InvalidError, SandboxTimeoutError, ServiceError } from "../errors.js";
import { type Tunnel as TunnelMessage, TunnelService } from "../gen/skerry/v1/tunnel_pb.js";
import { portOf, type TunnelKind } from "./network.js";
import { checkPort } from "./probe.js";
import type { Reach } from "./reach.js";

const WAIT_MS = 60_000;
const MAX_METADATA_BYTES = 4096;
const MAX_TTL_MS = 7 * 86_400_000;

/** A port of a sandbox that is reachable. */
export class Tunnel {
  /** The port in the sandbox. */
  readonly port: number;
  /** "https://..." or, without a domain, "http://127.0.0.1:..."; "" for one that is TCP as it is. */
  readonly url: string;
  readonly #message: TunnelMessage;

  /** @internal */
  constructor(message: TunnelMessage) {
    this.port = message.port;
    this.url = message.url;
    this.#message = message;
  }

  /** Host and port to connect to, with TLS where the URL has it. */
  get tlsSocket(): [host: string, port: number] {
    return [this.#message.host, this.#message.hostPort];
  }

  /** Host and port that take plain TCP. Throws {@link InvalidError} unless the port is an unencrypted one. */
  get tcpSocket(): [host: string, port: number] {
    const { unencryptedHost, unencryptedPort } = this.#message;
    if (!unencryptedHost) {
      throw new InvalidError(`port ${this.port} takes no plain TCP: name it in unencryptedPorts`);
    }
    return [unencryptedHost, unencryptedPort];
  }
}

/** Parameters of {@link Sandbox.createConnectToken}. */
export interface ConnectTokenParams {
  /** What the server in the sandbox gets to know about its user, in the header X-Skerry-User-Metadata; an object as JSON. At most 4 KiB. */
  userMetadata?: string | Readonly<Record<string, unknown>>;
  /** Where that server listens (8080). */
  port?: number;
}

/** The way in to a port. */
export interface SandboxConnectCredentials {
  url: string;
  /** Goes with a request as Bearer authorization, or as the query parameter `_skerry_token`. */
  token: string;
}

/** Parameters of {@link Sandbox.signedUrl}. */
export interface SignedUrlParams {
  /** How long it works, 1 s to 7 days (1 h). */
  ttlMs?: number;
  /** As in {@link ConnectTokenParams}. */
  userMetadata?: string | Readonly<Record<string, unknown>>;
}

/** Waits until the sandbox runs and returns its tunnels by port. */
export async function listTunnels({ core, sandboxId }: Reach, timeoutMs: number): Promise<Record<number, Tunnel>> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const left = Math.max(end - performance.now(), 0);
    const request = { sandboxId, limit: toDuration(Math.min(left, WAIT_MS)) };
    try {
      const { tunnels } = await core.call(() => core.rpc(TunnelService).listTunnels(request));
      return Object.fromEntries(tunnels.map((tunnel) => [tunnel.port, new Tunnel(tunnel)]));
    } catch (error) {
      // A limit that passed comes as an error of the server's that may go away.
      if (!(error instanceof ServiceError)) {
        throw error;
      }
      if (left <= WAIT_MS) {
        throw new SandboxTimeoutError(`sandbox ${sandboxId} did not run within ${timeoutMs} ms`, { cause: error });
      }
    }
  }
}

/** Makes a port reachable; asked again it answers the same. */
export async function openTunnel({ core, sandboxId }: Reach, port: number, kind: TunnelKind): Promise<Tunnel> {
  const request = { sandboxId, port: portOf(port, kind) };
  const { tunnel } = await core.call(() => core.rpc(TunnelService).openTunnel(request));
  if (tunnel === undefined) {
    throw new ServiceError(`port ${port}: the server opened no tunnel`);
  }
  return new Tunnel(tunnel);
}

/** Has a port be reached no more. */
export async function closeTunnel({ core, sandboxId }: Reach, port: number): Promise<void> {
  const request = { sandboxId, port: checkPort(port) };
  await core.call(() => core.rpc(TunnelService).closeTunnel(request));
}

/** Makes a token that lets requests through to one port. */
export async function createConnectToken(
  { core, sandboxId }: Reach,
  params: ConnectTokenParams,
): Promise<SandboxConnectCredentials> {
  const port = checkPort(params.port ?? 8080);
  const request = { sandboxId, port, userMetadata: metadata(params.userMetadata) };
  const { url, token } = await core.call(() => core.rpc(TunnelService).createConnectToken(request));
  return { url, token };
}

/** Makes a URL that opens one port for a time. */
export async function signedUrl({ core, sandboxId }: Reach, port: number, params: SignedUrlParams): Promise<string> {
  const { ttlMs = 3_600_000, userMetadata } = params;
  if (!(ttlMs >= 1000 && ttlMs <= MAX_TTL_MS)) {
    throw new InvalidError(`ttlMs ${ttlMs}: want 1000 to ${MAX_TTL_MS} (7 days)`);
  }
  const request = { sandboxId, port: checkPort(port), ttl: toDuration(ttlMs), userMetadata: metadata(userMetadata) };
  return (await core.call(() => core.rpc(TunnelService).signURL(request))).url;
}

/** Makes all tokens and signed URLs of a port invalid; of all ports where none is given. */
export async function revokeUrls({ core, sandboxId }: Reach, port: number | undefined): Promise<void> {
  const request = { sandboxId, port: port === undefined ? 0 : checkPort(port) };
  await core.call(() => core.rpc(TunnelService).revokeURLs(request));
}

function metadata(given: ConnectTokenParams["userMetadata"]): string {
  const text = given === undefined ? "" : typeof given === "string" ? given : JSON.stringify(given);
  if (Buffer.byteLength(text) > MAX_METADATA_BYTES) {
    throw new InvalidError(`userMetadata takes more than ${MAX_METADATA_BYTES} bytes`);
  }
  return text;
}
