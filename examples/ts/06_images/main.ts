// An image that is built by the same methods as in Python, given a name, and used by a sandbox.
import { SkerryClient } from "skerry";

await using client = new SkerryClient();
const app = await client.apps.fromName("ts-examples", { createIfMissing: true });

const image = await client.images
  .debianSlim()
  .env({ MODE: "fast" })
  .runCommands(["echo built > /built"])
  .workdir("/srv")
  .build(app);
await image.publish("ts-example-image:v1");

const named = await client.images.fromName("ts-example-image:v1");
console.log("the same image:", named.imageId === image.imageId);

await using sandbox = await client.sandboxes.create(app, named);
const process = await sandbox.exec(["sh", "-c", 'echo "$MODE $(cat /built) $PWD"']);
console.log("in it:", (await process.stdout.readText()).trim());
