import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type App, type Image, InvalidError, type Sandbox } from "../../src/index.js";
import { collect, liveClient } from "./client.js";

const client = liveClient();

/** An HTTP server that answers with its argument and what it is told of its user. */
const SERVER = `
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (sys.argv[2] + " " + self.headers.get("X-Skerry-User-Metadata", "")).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
print("listening", flush=True)
server.serve_forever()
`;
/** Echoes lines. */
const ECHO = `
import socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile: self.wfile.write(b"echo " + line)
server = socketserver.ThreadingTCPServer(("0.0.0.0", 7000), Handler)
print("listening", flush=True)
server.serve_forever()
`;

let app: App;
let image: Image;
let sandbox: Sandbox;
beforeAll(async () => {
  app = await client().apps.fromName("ts-beyond", { createIfMissing: true });
  image = client().images.debianSlim();
  sandbox = await client().sandboxes.create(app, image, { timeoutMs: 600_000, unencryptedPorts: [7000] });
});
afterAll(async () => await sandbox?.terminate());

async function serve(where: Sandbox, source: string, ...args: string[]): Promise<void> {
  const server = await where.exec(["python3", "-c", source, ...args], { stderr: "ignore" });
  expect((await server.stdout.lines().next()).value).toBe("listening");
}

describe("ports", () => {
  test("are reached without having been declared, by tokens and by signed URLs", async () => {
    await serve(sandbox, SERVER, "8080", "hello");
    const tunnel = await sandbox.tunnel(8080);
    expect(await (await fetch(tunnel.url)).text()).toBe("hello ");
    const { url, token } = await sandbox.createConnectToken({ userMetadata: { user: "ada" } });
    const asked = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    expect(await asked.text()).toBe('hello {"user": "ada"}'.replace(": ", ":"));
    const signed = await sandbox.signedUrl(8080, { ttlMs: 60_000 });
    expect((await fetch(signed)).status).toBe(200);
    await sandbox.revokeUrls(8080);
    expect((await fetch(signed, { redirect: "manual" })).status).toBeGreaterThanOrEqual(400);
    await sandbox.closeTunnel(8080);
  });

  test("take TCP as it is", async () => {
    await serve(sandbox, ECHO);
    const { 7000: tunnel } = await sandbox.tunnels();
    const [host, port] = tunnel?.tcpSocket ?? ["", 0];
    const socket = connect(port, host).setEncoding("utf8");
    socket.write("line\n");
    expect((await once(socket, "data"))[0]).toBe("echo line\n");
    socket.destroy();
    expect(() => new URL(tunnel?.url ?? "")).toThrow();
  });
});

test("a network policy is replaced while the sandbox runs, and one that makes no sense refused", async () => {
  await sandbox.updateNetworkPolicy({ outboundCidrAllowlist: [], outboundDomainAllowlist: ["example.com"] });
  await sandbox.updateNetworkPolicy({});
  await expect(sandbox.updateNetworkPolicy({ outboundCidrAllowlist: ["nonsense"] })).rejects.toThrow(InvalidError);
});

test("code is streamed, in contexts of its own", async () => {
  const context = await sandbox.createCodeContext({ env: { FROM: "context" } });
  await sandbox.runCode("import os; x = os.environ['FROM']", { context });
  expect((await sandbox.runCode("x", { context })).text).toBe("'context'");
  const events = await collect(sandbox.runCodeStream("print(1)\n2", { context }));
  expect(events.map((event) => (event.type === "stdout" ? event.text : "")).join("")).toBe("1\n");
  expect(events.filter((event) => event.type === "result")).toHaveLength(1);
  expect(events.at(-1)?.type).toBe("done");
  const slow = await sandbox.runCode("import time; time.sleep(600)", { context, timeoutMs: 300 });
  expect(slow.timedOut).toBe(true);
  await context.restart();
  expect((await sandbox.runCode("x", { context })).error?.name).toBe("NameError");
  await context.remove();
  expect((await sandbox.listCodeContexts()).map((each) => each.contextId)).not.toContain(context.contextId);
});

test("git works on repositories in it", async () => {
  const built = await client().images.debianSlim().aptInstall("git").build(app);
  await using one = await client().sandboxes.create(app, built);
  const { git, filesystem } = one;
  await git.init("/remote");
  await filesystem.writeText("one", "/remote/a.txt");
  await git.add("/remote");
  const commit = await git.commit("/remote", "first", { author: "Ada", email: "ada@example.com" });
  await git.clone("/remote", "/work");
  await git.checkout("/work", "topic", { create: true });
  await filesystem.writeText("two", "/work/a.txt");
  await filesystem.writeText("new", "/work/b c.txt");
  expect(await git.status("/work")).toMatchObject({
    branch: "topic",
    commit,
    files: [
      { path: "a.txt", staged: null, unstaged: "modified" },
      { path: "b c.txt", staged: null, unstaged: "untracked" },
    ],
  });
  await git.add("/work");
  await git.commit("/work", "second", { author: "Ada", email: "ada@example.com" });
  await git.push("/work", { setUpstream: true });
  expect((await git.branches("/remote")).map((branch) => branch.name)).toEqual(["main", "topic"]);
  await expect(git.checkout("/work", "nothing")).rejects.toThrow("git checkout failed");
});
