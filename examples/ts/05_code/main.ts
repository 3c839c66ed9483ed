// Code that shares its state from run to run, with its results, output and errors.
import { SkerryClient } from "skerry";

await using client = new SkerryClient();
const app = await client.apps.fromName("ts-examples", { createIfMissing: true });
await using sandbox = await client.sandboxes.create(app, client.images.debianSlim());

await sandbox.runCode("numbers = [1, 2, 3]");
const sum = await sandbox.runCode("print('adding'); sum(numbers)");
console.log("value:", sum.text, "output:", sum.stdout.trim());

const failed = await sandbox.runCode("numbers[9]");
console.log("failed:", failed.error?.name, failed.error?.value);

const fresh = await sandbox.createCodeContext();
const unknown = await sandbox.runCode("numbers", { context: fresh });
console.log("in a fresh context:", unknown.error?.name);

for await (const event of sandbox.runCodeStream("print('as it comes')")) {
  if (event.type === "stdout") {
    console.log("streamed:", event.text.trim());
  }
}
