// A queue and a dict: what is put by one program is taken by another, in any language. This one does both.

import { SkerryClient } from "skerry";

await using client = new SkerryClient();
await using jobs = await client.queues.ephemeral();
await using done = await client.dicts.ephemeral();

async function work(): Promise<void> {
  for (;;) {
    const job = await jobs.get();
    if (typeof job !== "number") {
      return;
    }
    // Of those who claim a job at the same time, one is first.
    if (await done.put(job, job * job, { skipIfExists: true })) {
      await jobs.put(`${job} squared`, { partition: "log" });
    }
  }
}

const workers = [work(), work(), work()];
await jobs.putMany([1, 2, 3, 2, 1]);
await jobs.putMany([null, null, null]);
await Promise.all(workers);
console.log("squares:", await done.len(), "of 3:", await done.get(3));
console.log("log:", await jobs.len({ partition: "log" }), "lines");
