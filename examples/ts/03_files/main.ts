// Files of a sandbox: written, listed, watched, copied.
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SandboxFilesystemNotFoundError, SkerryClient } from "skerry";

await using client = new SkerryClient();
const app = await client.apps.fromName("ts-examples", { createIfMissing: true });
await using sandbox = await client.sandboxes.create(app, client.images.debianSlim());
const { filesystem } = sandbox;

await filesystem.writeText("name,score\nAda,3\n", "/work/data.csv");
console.log("read:", (await filesystem.readText("/work/data.csv")).split("\n")[1]);
for (const file of await filesystem.listFiles("/work")) {
  console.log("listed:", file.permissions, file.size, file.name);
}

const changes = await filesystem.watching("/work", { filter: ["Create"] });
await filesystem.writeText("", "/work/new.txt");
console.log("changed:", (await changes.next()).value);
await changes.return();

const copy = join(tmpdir(), `skerry-example-${process.pid}.csv`);
await filesystem.copyToLocal("/work/data.csv", copy);
console.log("copied:", (await readFile(copy)).length, "bytes");
await rm(copy);

try {
  await filesystem.readText("/nowhere");
} catch (error) {
  console.log("missing:", error instanceof SandboxFilesystemNotFoundError);
}
