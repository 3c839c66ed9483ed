/** The HTTP/2 connection to the server. */

import { readFileSync } from "node:fs";
import type { Http2Session } from "node:http2";
import { homedir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { Config } from "./config.js";
import { InvalidError } from "./errors.js";
import { VERSION } from "./version.js";

/** Bytes that may be on their way in one stream: with HTTP/2's 64 KiB a large file would wait for every answer. */
const STREAM_WINDOW = 4 << 20;

/** The same for all streams of a connection together. */
const CONNECTION_WINDOW = 16 << 20;

/** Connections to one server: a path may be put in front of the services' names, as those in sandboxes have. */
export interface Connection {
  /** Returns the transport for services below a path such as "/sandboxes/sb-1"; without one, for the gateway's own. */
  transport(path?: string): Transport;
  /** Ends the connection with all that is under way. */
  close(): void;
}

/** Returns a connection that is opened when it is first used. Throws {@link InvalidError} for a CA file that can't be read. */
export function openConnection(config: Config, interceptors: readonly Interceptor[] = []): Connection {
  const manager = new Http2SessionManager(
    config.serverUrl,
    { pingIntervalMs: 30_000, pingTimeoutMs: 20_000, idleConnectionTimeoutMs: 5 * 60_000 },
    { settings: { initialWindowSize: STREAM_WINDOW, enablePush: false }, ...authorities(config.caFile) },
  );
  const wide = widened(manager);
  const headers = headerInterceptor(config);
  return {
    transport(path = ""): Transport {
      return createConnectTransport({
        baseUrl: config.serverUrl + path,
        httpVersion: "2",
        sessionManager: wide,
        interceptors: [...interceptors, headers],
        acceptCompression: [],
      });
    },
    close(): void {
      manager.abort();
    },
  };
}

/** Returns a manager whose connections take more at a time. Node has no option for that before there is a connection. */
function widened(
  manager: Http2SessionManager,
): Pick<Http2SessionManager, "authority" | "request" | "notifyResponseByteRead"> {
  const known = new WeakSet<Http2Session>();
  return {
    authority: manager.authority,
    async request(method, path, headers, options) {
      const stream = await manager.request(method, path, headers, options);
      if (stream.session !== undefined && !known.has(stream.session)) {
        known.add(stream.session);
        stream.session.setLocalWindowSize(CONNECTION_WINDOW);
      }
      return stream;
    },
    notifyResponseByteRead: (stream) => manager.notifyResponseByteRead(stream),
  };
}

/** Returns what adds the headers that every request carries. */
export function headerInterceptor(config: Pick<Config, "tokenId" | "tokenSecret">): Interceptor {
  const headers: Record<string, string> = {
    "user-agent": `skerry-ts/${VERSION}`,
    "x-skerry-client-version": `typescript/${VERSION}`,
    "x-skerry-platform": process.platform,
  };
  if (config.tokenId) {
    headers["authorization"] = `Bearer ${config.tokenId}.${config.tokenSecret}`;
  }
  return (next) => (request) => {
    for (const [name, value] of Object.entries(headers)) {
      request.header.set(name, value);
    }
    return next(request);
  };
}

function authorities(caFile: string): { ca?: string[] } {
  if (!caFile) {
    return {};
  }
  const path = caFile.startsWith("~/") ? join(homedir(), caFile.slice(2)) : caFile;
  try {
    return { ca: [...rootCertificates, readFileSync(path, "utf8")] };
  } catch (error) {
    throw new InvalidError(`ca_file '${caFile}': ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
