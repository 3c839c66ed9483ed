// A process that outlives the program that started it: found again by its id, its output read from where that one was.
import { SkerryClient } from "skerry";

const client = new SkerryClient();
const app = await client.apps.fromName("ts-examples", { createIfMissing: true });
const sandbox = await client.sandboxes.create(app, client.images.debianSlim(), {
  name: `ts-example-${process.pid}`,
  owner: "ts-examples",
});
const started = await sandbox.exec(["sh", "-c", "echo begun; read line; echo heard $line"]);
for await (const line of started.stdout.lines()) {
  console.log("first program:", line);
  break;
}
client.close();

await using other = new SkerryClient();
const again = await other.sandboxes.fromName("ts-examples", `ts-example-${process.pid}`);
const shell = (await again.listProcesses()).find((one) => one.processId !== "main");
console.log("runs:", shell?.args[0], shell?.returnCode);
const found = again.process(shell?.processId ?? "", { stdoutOffset: "begun\n".length });
await found.stdin.writeText("hello\n");
console.log("second program:", (await found.stdout.readText()).trim());
console.log("exit code:", await found.wait());
console.log("pruned:", (await other.sandboxes.prune({ owner: "ts-examples" })).length);
