// Calls functions of a deployed Python app: first `skerry deploy examples/ts/01_functions/app.py`.
import { RemoteError, SkerryClient } from "skerry";

await using client = new SkerryClient();

const square = await client.functions.fromName("ts-example", "square");
console.log("square:", await square.remote([12]));

const squares = await Promise.all(Array.from({ length: 100 }, (_, i) => square.remote<number>([i])));
console.log(
  "sum of 100 at once:",
  squares.reduce((sum, x) => sum + x),
);

const count = await client.functions.fromName("ts-example", "count");
for await (const item of count.remoteGen<number>([3])) {
  console.log("item:", item);
}

const call = await square.spawn<number>([7]);
const found = await client.functionCalls.fromId<number>(call.functionCallId);
console.log("spawned:", await found.get());

const divide = await client.functions.fromName("ts-example", "divide");
try {
  await divide.remote([1, 0]);
} catch (error) {
  if (error instanceof RemoteError) {
    console.log("failed:", error.remoteType, error.message);
  }
}

const Counter = await client.cls.fromName("ts-example", "Counter");
const counter = await Counter.instance({ start: 40 });
console.log("counter:", await counter.method("add").remote([2]));
