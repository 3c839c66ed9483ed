// A terminal: keys are sent, the screen is read, its size is changed.
import { SkerryClient } from "skerry";

await using client = new SkerryClient();
const app = await client.apps.fromName("ts-examples", { createIfMissing: true });
await using sandbox = await client.sandboxes.create(app, client.images.debianSlim());

const shell = await sandbox.exec(["sh"], { pty: { rows: 24, columns: 80 } });
const lines = shell.stdout.lines();

/** Has the shell run a command, and returns what it prints. */
async function ask(command: string): Promise<string> {
  await shell.stdin.writeText(`echo "<$(${command})>"\r`);
  for (;;) {
    const line = await lines.next();
    if (line.done) {
      throw new Error("the shell has ended");
    }
    // What was typed comes back as well, with a dollar sign in it.
    const answer = /<([^$<>]*)>/.exec(line.value)?.[1];
    if (answer !== undefined) {
      return answer;
    }
  }
}

console.log("size:", await ask("stty size"));
await shell.resize({ rows: 50, columns: 132 });
console.log("resized:", await ask("stty size"));
console.log("is a terminal:", await ask("test -t 0 && echo yes"));
await shell.stdin.writeText("exit 7\r");
console.log("exit code:", await shell.wait());
