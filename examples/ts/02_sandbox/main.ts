// A computer in one line: commands, what they write, how they end.
import { SkerryClient } from "skerry";

const client = new SkerryClient();
const app = await client.apps.fromName("ts-examples", { createIfMissing: true });
const sandbox = await client.sandboxes.create(app, client.images.debianSlim(), {
  env: { GREETING: "hello" },
  secrets: [client.secrets.fromObject({ TOKEN: "of nobody else" })],
  timeoutMs: 120_000,
});
console.log("made:", sandbox.sandboxId);

const shell = await sandbox.exec(["sh", "-c", 'echo "$GREETING, $TOKEN"; echo trouble >&2; exit 3']);
console.log("stdout:", (await shell.stdout.readText()).trim());
console.log("stderr:", (await shell.stderr.readText()).trim());
console.log("exit code:", await shell.wait());

const count = await sandbox.exec(["wc", "-w"]);
await count.stdin.writeText("three words here\n");
await count.closeStdin();
console.log("words:", (await count.stdout.readText()).trim());

console.log("ended:", await sandbox.terminate({ wait: true }));
client.close();
