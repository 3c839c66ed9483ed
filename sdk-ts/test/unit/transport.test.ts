import { once } from "node:events";
import { createServer, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AppService } from "../../src/gen/skerry/v1/app_pb.js";
import { SkerryClient } from "../../src/index.js";
import { VERSION } from "../../src/version.js";

let server: Http2Server;
let session: ServerHttp2Session | undefined;
let headers: IncomingHttpHeaders = {};
const paths: string[] = [];
const client = (settings = {}): SkerryClient => {
  const { port } = server.address() as AddressInfo;
  const serverUrl = `http://127.0.0.1:${port}`;
  return new SkerryClient({ serverUrl, tokenId: "tk-1", tokenSecret: "s", connectTimeoutMs: 500, ...settings });
};

beforeEach(async () => {
  const adapter = connectNodeAdapter({
    routes: (router) => router.service(AppService, { lookupApp: () => ({ appId: "ap-1" }) }),
  });
  server = createServer((request, response) => {
    headers = request.headers;
    paths.push(request.url ?? "");
    session = request.stream.session as ServerHttp2Session;
    adapter(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => server.close());

test("requests carry the token and the version, and none is compressed", async () => {
  const one = client();
  expect((await one.apps.fromName("app")).appId).toBe("ap-1");
  expect(headers).toMatchObject({
    authorization: "Bearer tk-1.s",
    "user-agent": `skerry-ts/${VERSION}`,
    "x-skerry-client-version": `typescript/${VERSION}`,
  });
  expect(headers["accept-encoding"]).toBeUndefined();
  one.close();
});

test("a connection takes more than HTTP/2's 64 KiB at a time", async () => {
  const one = client();
  await one.apps.fromName("app");
  await one.apps.fromName("app");
  expect(session?.state.remoteWindowSize).toBeGreaterThan(15 << 20);
  expect(session?.remoteSettings.initialWindowSize).toBe(4 << 20);
  one.close();
});

test("a server that is started again is found again", async () => {
  const one = client();
  await one.apps.fromName("app");
  session?.destroy();
  expect((await one.apps.fromName("app")).appId).toBe("ap-1");
  one.close();
});

test("interceptors see all requests", async () => {
  const seen: string[] = [];
  const one = client({
    interceptors: [
      (next: (request: { url: string }) => unknown) => (request: { url: string }) => {
        seen.push(request.url);
        return next(request);
      },
    ],
  });
  await one.apps.fromName("app");
  expect(seen[0]).toMatch(/\/skerry\.v1\.AppService\/LookupApp$/);
  one.close();
});
