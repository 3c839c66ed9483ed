import type { SkerryError } from "../errors.js";
import type { CallKind, CallState, Input, Items, Output, Watch } from "../gen/skerry/v1/call_pb.js";
import { newId } from "../names.js";

/** A call as the session sees it: what all kinds of them have in common. */
export abstract class Call {
  /** "fc-...". */
  readonly callId: string;
  /** What it runs, "fu-...". */
  readonly functionId: string;
  /** What its caller does with it. */
  readonly kind: CallKind;
  /** Inputs without an output, by index; those of a SPAWN call only until they are accepted. The session adds, the call removes. */
  readonly unfinished = new Map<number, Input>();
  /** How many items of a generator its reader has. */
  seen = 0;

  constructor(functionId: string, kind: CallKind, callId: string = newId("fc-")) {
    this.callId = callId;
    this.functionId = functionId;
    this.kind = kind;
  }

  /** Takes outputs. One that was seen before a break may come again. */
  deliver(_outputs: readonly Output[]): void {}

  /** Takes items of a generator. Those that were seen before a break may come again. */
  deliverItems(_items: Items): void {}

  /** Learns that inputs are recorded (SPAWN only). */
  accept(_indexes: readonly number[]): void {}

  /** Learns where a watched call stands. */
  learn(_state: CallState): void {}

  /** Learns that no output will come. */
  abstract fail(error: SkerryError): void;

  /** Returns the Watch that gets the outputs still missing; undefined for a call that is not watched. */
  watch(): Watch | undefined {
    return undefined;
  }
}
