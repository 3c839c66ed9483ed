import { create } from "@bufbuild/protobuf";
import { checkMs, toDuration } from "../duration.js";
import { InvalidError } from "../errors.js";
import { type Probe as ProbeMessage, ProbeSchema } from "../gen/skerry/v1/sandbox_definition_pb.js";

/** Parameters of {@link Probe}. */
export interface ProbeParams {
  /** How often it is asked, 10 to 60000 (100). */
  intervalMs?: number;
}

/** Tells when a sandbox is ready. */
export class Probe {
  readonly #message: ProbeMessage;

  private constructor(kind: ProbeMessage["kind"], params: ProbeParams) {
    const interval = toDuration(checkMs("intervalMs", params.intervalMs ?? 100, { min: 10, max: 60_000 }));
    this.#message = create(ProbeSchema, { interval });
    this.#message.kind = kind;
  }

  /** Ready once something listens at a port. */
  static withTcp(port: number, params: ProbeParams = {}): Probe {
    return new Probe({ case: "tcpPort", value: checkPort(port) }, params);
  }

  /** Ready once a command exits with 0. */
  static withExec(argv: readonly string[], params: ProbeParams = {}): Probe {
    if (argv.length === 0) {
      throw new InvalidError("Probe.withExec needs a program to run");
    }
    const { kind } = create(ProbeSchema, { kind: { case: "exec", value: { argv: [...argv] } } });
    return new Probe(kind, params);
  }

  /** @internal */
  get message(): ProbeMessage {
    return this.#message;
  }
}

/** Returns a port. Throws {@link InvalidError}. */
export function checkPort(port: number): number {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new InvalidError(`port ${port}: want a number from 1 to 65535`);
  }
  return port;
}
