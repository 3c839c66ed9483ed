// Runs pieces of JavaScript for skerry-init, each in the scope that the ones before have left. The frames are those of kernel.py.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const util = require("node:util");
const vm = require("node:vm");
const { createRequire } = require("node:module");

const maxText = 1 << 20;
let count = 0;
let interrupted = null; // ends what is awaited

function send(message) {
  const body = Buffer.from(JSON.stringify(message));
  const frame = Buffer.alloc(4 + body.length);
  frame.writeUInt32BE(body.length);
  body.copy(frame, 4);
  for (let at = 0; at < frame.length; ) {
    try {
      at += fs.writeSync(4, frame, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

const shorten = (text) => (text.length > maxText ? `${text.slice(0, maxText)}... (shortened)` : text);

function bundle(value) {
  const data = { "text/plain": shorten(util.inspect(value, { depth: 4 })) };
  if (value !== null && typeof value === "object" && !util.types.isProxy(value)) {
    try {
      const json = JSON.stringify(value);
      if (json !== undefined && json.length <= maxText) data["application/json"] = json;
    } catch {
      // what has circles, or numbers that JSON has not, is text alone
    }
  }
  return data;
}

globalThis.display = (...values) => {
  for (const value of values) send({ type: "result", data: bundle(value), main: false });
};
globalThis.require = createRequire(path.join(process.cwd(), "cell.js"));

const awaiting = (body, filename) => new vm.Script(`(async () => {${body}\n})()`, { filename });

// What JavaScript has no way to run at the top: code that awaits runs in a function. What it declares at the start of a line is kept, and what
// stands behind the last break of statements that leaves an expression is its value.
function compileAwaiting(code, filename) {
  const kept = code.trimEnd().replace(/^(?:const|let|var)\s+([A-Za-z_$][\w$]*)\s*=/gm, "globalThis.$1 =");
  let at = kept.length;
  for (let tries = 0; tries < 20 && at >= 0; tries += 1) {
    at = Math.max(kept.lastIndexOf("\n", at - 1), kept.lastIndexOf(";", at - 1));
    const last = kept.slice(at + 1).trim();
    if (last === "") continue;
    try {
      return awaiting(`${kept.slice(0, at + 1)}return (${last}\n)`, filename);
    } catch {
      // no expression, or not the whole of one
    }
  }
  return awaiting(kept, filename);
}

function compile(code, filename) {
  try {
    return { script: new vm.Script(code, { filename }), awaits: false };
  } catch (error) {
    if (!(error instanceof SyntaxError) || !/\bawait\b/.test(code)) throw error;
    return { script: compileAwaiting(code, filename), awaits: true };
  }
}

function fail(error) {
  const known = error instanceof Error || (error !== null && typeof error === "object" && "stack" in error);
  const stack = known ? String(error.stack).split("\n") : [util.inspect(error)];
  const ours = stack.findIndex((line) => line.includes(__filename) || line.includes("node:vm"));
  send({
    type: "error",
    name: known ? String(error.name) : "Error",
    value: shorten(known ? String(error.message) : util.inspect(error)),
    traceback: shorten((ours > 0 ? stack.slice(0, ours) : stack).join("\n")),
  });
}

async function run(code) {
  count += 1;
  try {
    const { script, awaits } = compile(code, `<cell ${count}>`);
    let value = script.runInThisContext({ breakOnSigint: true });
    if (awaits) value = await Promise.race([value, new Promise((_, reject) => (interrupted = reject))]);
    if (value !== undefined) send({ type: "result", data: bundle(value), main: true });
  } catch (error) {
    fail(error);
  }
  interrupted = null;
  send({ type: "done" });
}

process.on("SIGINT", () => interrupted?.(new Error("interrupted")));
process.on("uncaughtException", (error) => console.error(error));
process.on("unhandledRejection", (error) => console.error(error));

let pending = Buffer.alloc(0);
let before = Promise.resolve();
fs.createReadStream("", { fd: 3 })
  .on("data", (part) => {
    pending = Buffer.concat([pending, part]);
    while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE()) {
      const end = 4 + pending.readUInt32BE();
      const { code } = JSON.parse(pending.subarray(4, end).toString());
      pending = pending.subarray(end);
      before = before.then(() => run(code));
    }
  })
  .on("end", () => process.exit(0));
