/** What a sandbox may reach and who may reach it. */

import { BlockList, isIP } from "node:net";
import { create } from "@bufbuild/protobuf";
import { InvalidError } from "../errors.js";
import {
  type Allowlist,
  AllowlistSchema,
  type NetworkPolicy as NetworkPolicyMessage,
  NetworkPolicySchema,
  type PortDefinition,
  PortDefinitionSchema,
  PortKind,
} from "../gen/skerry/v1/sandbox_definition_pb.js";
import { quote } from "../names.js";
import { checkPort } from "./probe.js";

const MAX_ENTRIES = 1000;

/** What a sandbox may reach and who may reach it. */
export interface NetworkParams {
  /** No network at all; excludes all else. */
  blockNetwork?: boolean;
  /** Where it may connect to, such as "10.1.0.0/16"; with neither outbound list: everywhere on the internet; empty: nowhere. */
  outboundCidrAllowlist?: readonly string[];
  /** The names it may connect to, such as "example.com", "*.example.com" or "*". */
  outboundDomainAllowlist?: readonly string[];
  /** Who may connect to its ports, by address; default: whoever has its URL. */
  inboundCidrAllowlist?: readonly string[];
}

/** Ports of a sandbox by how they are reached. */
export interface PortParams {
  /** TLS, and HTTP/1.1 within. */
  encryptedPorts?: readonly number[];
  /** TLS, and HTTP/2 within. */
  h2Ports?: readonly number[];
  /** TCP as it is. */
  unencryptedPorts?: readonly number[];
}

/** How a port is reached: over TLS with HTTP/1.1 or HTTP/2 within, or TCP as it is. */
export type TunnelKind = "encrypted" | "h2" | "unencrypted";

const KINDS: Record<TunnelKind, PortKind> = {
  encrypted: PortKind.ENCRYPTED,
  h2: PortKind.H2,
  unencrypted: PortKind.UNENCRYPTED,
};

/** Returns a policy. Throws {@link InvalidError} for lists that make no sense, or that contradict one another. */
export function networkPolicy(params: NetworkParams): NetworkPolicyMessage {
  const { blockNetwork = false, outboundCidrAllowlist, outboundDomainAllowlist, inboundCidrAllowlist } = params;
  if (blockNetwork) {
    for (const [name, list] of Object.entries({
      outboundCidrAllowlist,
      outboundDomainAllowlist,
      inboundCidrAllowlist,
    })) {
      if (list !== undefined) {
        throw new InvalidError(`${name} can't be used with blockNetwork`);
      }
    }
    return create(NetworkPolicySchema, { block: true });
  }
  const policy = create(NetworkPolicySchema);
  if (outboundCidrAllowlist !== undefined) {
    policy.outboundCidrs = allowlist("outboundCidrAllowlist", outboundCidrAllowlist, checkCidr);
  }
  if (outboundDomainAllowlist !== undefined) {
    policy.outboundDomains = allowlist("outboundDomainAllowlist", outboundDomainAllowlist, checkDomain);
  }
  if (inboundCidrAllowlist !== undefined) {
    policy.inboundCidrs = allowlist("inboundCidrAllowlist", inboundCidrAllowlist, checkCidr);
  }
  return policy;
}

/** Returns a port and how it is reached. Throws {@link InvalidError}. */
export function portOf(port: number, kind: TunnelKind): PortDefinition {
  if (!(kind in KINDS)) {
    throw new InvalidError(`kind ${quote(kind)}: want 'encrypted', 'h2' or 'unencrypted'`);
  }
  return create(PortDefinitionSchema, { port: checkPort(port), kind: KINDS[kind] });
}

/** Returns the ports of the three lists. Throws {@link InvalidError} for one that is there twice, or any without a network. */
export function portsOf(params: PortParams, blockNetwork: boolean): PortDefinition[] {
  const ports = [
    ...(params.encryptedPorts ?? []).map((port) => portOf(port, "encrypted")),
    ...(params.h2Ports ?? []).map((port) => portOf(port, "h2")),
    ...(params.unencryptedPorts ?? []).map((port) => portOf(port, "unencrypted")),
  ];
  if (blockNetwork && ports.length > 0) {
    throw new InvalidError("ports can't be open with blockNetwork");
  }
  const twice = ports.find((port, at) => ports.findIndex((other) => other.port === port.port) !== at);
  if (twice !== undefined) {
    throw new InvalidError(`port ${twice.port} is there twice`);
  }
  return ports;
}

/** Returns a range of addresses. Throws {@link InvalidError}. */
export function checkCidr(noun: string, entry: string): string {
  const [address = "", bits, ...more] = entry.split("/");
  const family = isIP(address);
  const valid = family !== 0 && more.length === 0 && (bits === undefined || /^\d{1,3}$/.test(bits));
  try {
    if (!valid) {
      throw new RangeError();
    }
    const type = family === 4 ? "ipv4" : "ipv6";
    new BlockList().addSubnet(address, bits === undefined ? (family === 4 ? 32 : 128) : Number(bits), type);
  } catch {
    throw new InvalidError(`${noun}: ${quote(entry)} is no range of addresses such as '10.1.0.0/16'`);
  }
  return entry;
}

/** Returns a name of hosts: "example.com", "*.example.com" or "*". Throws {@link InvalidError}. */
export function checkDomain(noun: string, entry: string): string {
  const plain = entry.replace(/^\*\./, "").replace(/\.+$/, "");
  if (entry !== "*" && (plain.length > 253 || !/^[\w-]{1,63}(\.[\w-]{1,63})*$/.test(plain))) {
    throw new InvalidError(
      `${noun}: ${quote(entry)} is no domain; want one such as 'example.com', '*.example.com' or '*'`,
    );
  }
  return entry;
}

function allowlist(
  noun: string,
  entries: readonly string[],
  check: (noun: string, entry: string) => string,
): Allowlist {
  if (entries.length > MAX_ENTRIES) {
    throw new InvalidError(`${noun}: has ${entries.length} entries; the most is ${MAX_ENTRIES}`);
  }
  return create(AllowlistSchema, { entries: entries.map((entry) => check(noun, entry)) });
}
