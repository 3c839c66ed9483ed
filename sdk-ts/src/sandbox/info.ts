/** What the server says about sandboxes, as plain values. */

import { fromDuration, fromTimestamp } from "../duration.js";
import type { ProcessInfo as ProcessInfoMessage, SystemProcess } from "../gen/skerry/v1/process_pb.js";
import { type SandboxInfo as InfoMessage, SandboxEndReason, SandboxState } from "../gen/skerry/v1/sandbox_info_pb.js";
import {
  SandboxEventType as EventType,
  type StreamSandboxEventsResponse,
  type StreamSandboxMetricsResponse,
} from "../gen/skerry/v1/sandbox_watch_pb.js";
import { returnCode } from "./process.js";

const STATES: Partial<Record<SandboxState, SandboxInfo["state"]>> = {
  [SandboxState.STARTING]: "starting",
  [SandboxState.RUNNING]: "running",
  [SandboxState.PAUSED]: "paused",
  [SandboxState.ENDED]: "ended",
};

const REASONS: Partial<Record<SandboxEndReason, NonNullable<SandboxInfo["endReason"]>>> = {
  [SandboxEndReason.EXITED]: "exited",
  [SandboxEndReason.TIMEOUT]: "timeout",
  [SandboxEndReason.IDLE_TIMEOUT]: "idleTimeout",
  [SandboxEndReason.TERMINATED]: "terminated",
  [SandboxEndReason.OUT_OF_MEMORY]: "outOfMemory",
  [SandboxEndReason.START_FAILED]: "startFailed",
  [SandboxEndReason.LOST]: "lost",
};

const EVENTS: Partial<Record<EventType, SandboxEvent["type"]>> = {
  [EventType.CREATED]: "created",
  [EventType.STARTED]: "started",
  [EventType.READY]: "ready",
  [EventType.PAUSED]: "paused",
  [EventType.RESUMED]: "resumed",
  [EventType.ENDED]: "ended",
  [EventType.UPDATED]: "updated",
  [EventType.SNAPSHOT]: "snapshot",
  [EventType.RECOVERED]: "recovered",
};

/** A sandbox, as the server knows it. */
export interface SandboxInfo {
  /** "sb-...". */
  sandboxId: string;
  /** Its app, "ap-...". */
  appId: string;
  name: string | null;
  tags: Record<string, string>;
  /** Who it belongs to. */
  owner: string | null;
  state: "starting" | "running" | "paused" | "ended";
  /** Its readiness probe has succeeded. */
  ready: boolean;
  /** Its image, "im-...". */
  imageId: string;
  environment: string;
  workerId: string;
  createdAt: Date | null;
  /** When it will end at the latest; null while it is paused. */
  expiresAt: Date | null;
  endedAt: Date | null;
  endReason: "exited" | "timeout" | "idleTimeout" | "terminated" | "outOfMemory" | "startFailed" | "lost" | null;
  /** What is known of its end, in words. */
  endMessage: string;
  /** The exit code of its command: 124 for a timeout, 137 where it was ended; null while it runs. */
  returnCode: number | null;
}

/** A process that was started in a sandbox. */
export interface ProcessInfo {
  processId: string;
  pid: number;
  args: string[];
  workdir: string;
  pty: boolean;
  startedAt: Date | null;
  /** The exit code; null while it runs. */
  returnCode: number | null;
  /** Bytes that it has written to standard output. */
  stdoutSize: number;
  /** Bytes that it has written to standard error. */
  stderrSize: number;
}

/** A process of a sandbox's system. */
export interface SystemProcessInfo {
  pid: number;
  parentPid: number;
  args: string[];
  /** Processor time so far, in milliseconds. */
  cpuMs: number;
  /** Resident memory. */
  memoryBytes: number;
}

/** Something that happened to a sandbox. */
export interface SandboxEvent {
  type:
    | "created"
    | "started"
    | "ready"
    | "paused"
    | "resumed"
    | "ended"
    | "updated"
    | "snapshot"
    | "recovered"
    | "unknown";
  time: Date;
  /** The sandbox as it was then. */
  sandbox: SandboxInfo;
  /** Of a snapshot: the image or the snapshot. */
  objectId: string | null;
}

/** What a sandbox uses. */
export interface SandboxMetrics {
  time: Date;
  /** Processor time so far, in milliseconds. */
  cpuMs: number;
  /** Most cores; null: the host's. */
  cpuLimit: number | null;
  memoryBytes: number;
  /** Null: the worker's. */
  memoryLimitBytes: number | null;
  diskBytes: number;
  diskLimitBytes: number;
  networkReceivedBytes: number;
  networkSentBytes: number;
  processes: number;
}

/** Returns a sandbox. */
export function sandboxInfo(info: InfoMessage): SandboxInfo {
  const { end } = info;
  return {
    sandboxId: info.sandboxId,
    appId: info.appId,
    name: info.name || null,
    tags: { ...info.tags },
    owner: info.owner || null,
    state: STATES[info.state] ?? "running",
    ready: info.ready,
    imageId: info.imageId,
    environment: info.environment,
    workerId: info.workerId,
    createdAt: fromTimestamp(info.createdAt),
    expiresAt: fromTimestamp(info.expiresAt),
    endedAt: fromTimestamp(end?.endedAt),
    endReason: end === undefined ? null : (REASONS[end.reason] ?? null),
    endMessage: end?.message ?? "",
    returnCode: end?.returnCode ?? null,
  };
}

/** Returns a process that was started. */
export function processInfo(info: ProcessInfoMessage): ProcessInfo {
  return {
    processId: info.processId,
    pid: info.pid,
    args: info.argv,
    workdir: info.workdir,
    pty: info.pty,
    startedAt: fromTimestamp(info.startedAt),
    returnCode: returnCode(info.exited),
    stdoutSize: Number(info.stdoutSize),
    stderrSize: Number(info.stderrSize),
  };
}

/** Returns a process of the system. */
export function systemProcessInfo(info: SystemProcess): SystemProcessInfo {
  return {
    pid: info.pid,
    parentPid: info.parentPid,
    args: info.argv,
    cpuMs: fromDuration(info.cpuTime),
    memoryBytes: Number(info.memoryBytes),
  };
}

/** Returns an event; undefined for a frame that is none. */
export function sandboxEvent(response: StreamSandboxEventsResponse): SandboxEvent | undefined {
  if (response.watching || response.sandbox === undefined) {
    return undefined;
  }
  return {
    type: EVENTS[response.type] ?? "unknown",
    time: fromTimestamp(response.time) ?? new Date(0),
    sandbox: sandboxInfo(response.sandbox),
    objectId: response.objectId || null,
  };
}

/** Returns what a sandbox uses. */
export function sandboxMetrics(response: StreamSandboxMetricsResponse): SandboxMetrics {
  return {
    time: fromTimestamp(response.time) ?? new Date(0),
    cpuMs: fromDuration(response.cpuTime),
    cpuLimit: response.cpuLimitMilli / 1000 || null,
    memoryBytes: Number(response.memoryBytes),
    memoryLimitBytes: Number(response.memoryLimitBytes) || null,
    diskBytes: Number(response.diskBytes),
    diskLimitBytes: Number(response.diskLimitBytes),
    networkReceivedBytes: Number(response.networkReceivedBytes),
    networkSentBytes: Number(response.networkSentBytes),
    processes: response.processes,
  };
}
