/** A gateway of the tests' own, in memory: what it answers is up to the test. */

import { type ConnectRouter, createRouterTransport } from "@connectrpc/connect";
import { SkerryClient } from "../../src/index.js";

/** A client of a gateway with some services. */
export function clientOf(routes: (router: ConnectRouter) => void): SkerryClient {
  const transport = createRouterTransport(routes);
  return new SkerryClient({
    serverUrl: "http://gateway.test",
    tokenId: "tk-test",
    tokenSecret: "secret",
    connectTimeoutMs: 200,
    reconnectTimeoutMs: 5000,
    connection: { transport: () => transport, close() {} },
  });
}
