/** What a session sends: frames of calls, gathered into request messages as large as what there is to say. */

import { create } from "@bufbuild/protobuf";
import {
  type Input,
  ItemsSeenSchema,
  type SessionRequest,
  SessionRequestSchema,
  type Submit,
  SubmitSchema,
} from "../gen/skerry/v1/call_pb.js";
import type { Call } from "./call.js";

/** Bounds of one request message. */
export const MAX_FRAME_BYTES = 1 << 20;
/** As MAX_FRAME_BYTES, in inputs. */
export const MAX_FRAME_INPUTS = 1000;

/** Something to say of a call. */
export type Frame =
  | { what: "inputs"; call: Call; inputs: readonly Input[]; resumed: boolean }
  | { what: "watch"; call: Call }
  | { what: "seen"; call: Call; seen: number };

/** Returns the frames as messages, each within the bounds where its inputs allow it; the last one has the releases. */
export function makeRequests(frames: readonly Frame[], released: readonly string[]): SessionRequest[] {
  const maker = new Maker();
  for (const frame of frames) {
    maker.add(frame);
  }
  return maker.finish(released);
}

class Maker {
  readonly #done: SessionRequest[] = [];
  #current = create(SessionRequestSchema);
  #submits = new Map<string, Submit>();
  #inputs = 0;
  #bytes = 0;

  add(frame: Frame): void {
    switch (frame.what) {
      case "inputs":
        for (const input of frame.inputs) {
          this.#addInput(frame.call, input, frame.resumed);
        }
        break;
      case "watch": {
        const watch = frame.call.watch();
        if (watch !== undefined) {
          this.#current.watches.push(watch);
        }
        break;
      }
      case "seen":
        this.#current.itemsSeen.push(
          create(ItemsSeenSchema, { callId: frame.call.callId, index: 0, count: BigInt(frame.seen) }),
        );
        break;
    }
  }

  finish(released: readonly string[]): SessionRequest[] {
    this.#current.releasedCallIds.push(...released);
    const { submits, watches, itemsSeen, releasedCallIds } = this.#current;
    if (submits.length + watches.length + itemsSeen.length + releasedCallIds.length > 0) {
      this.#done.push(this.#current);
    }
    return this.#done;
  }

  #addInput(call: Call, input: Input, resumed: boolean): void {
    const bytes = sizeOf(input);
    if (this.#inputs > 0 && (this.#inputs >= MAX_FRAME_INPUTS || this.#bytes + bytes > MAX_FRAME_BYTES)) {
      this.#done.push(this.#current);
      this.#current = create(SessionRequestSchema);
      this.#submits = new Map();
      this.#inputs = 0;
      this.#bytes = 0;
    }
    const key = `${call.callId}${resumed ? " again" : ""}`;
    let submit = this.#submits.get(key);
    if (submit === undefined) {
      submit = create(SubmitSchema, { callId: call.callId, functionId: call.functionId, kind: call.kind, resumed });
      this.#submits.set(key, submit);
      this.#current.submits.push(submit);
    }
    submit.inputs.push(input);
    this.#inputs += 1;
    this.#bytes += bytes;
  }
}

function sizeOf(input: Input): number {
  const content = input.args?.content;
  return content?.case === "inline" ? content.value.length + 32 : 128;
}
