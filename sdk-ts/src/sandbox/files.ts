/** Files and their changes, as plain values. */

import { fromTimestamp } from "../duration.js";
import {
  FileEventType,
  type FileInfo as FileInfoMessage,
  FileType,
  type WatchFilesResponse,
} from "../gen/skerry/v1/filesystem_pb.js";

/** Describes a file. */
export interface FileInfo {
  /** Last part of its path. */
  name: string;
  path: string;
  type: "file" | "directory" | "symlink" | "other";
  /** Bytes. */
  size: number;
  /** Permission bits. */
  mode: number;
  /** The same as `ls -l` shows them, such as "-rw-r--r--". */
  permissions: string;
  owner: string;
  group: string;
  modifiedTime: Date;
  /** Where a symbolic link leads; else null. */
  symlinkTarget: string | null;
}

/** What happened to a file; "Unknown" is something else, such as events that were lost. */
export type FileWatchEventType = "Access" | "Create" | "Modify" | "Remove" | "Unknown";

/** A change. */
export interface FileWatchEvent {
  eventType: FileWatchEventType;
  /** One path, or of a rename the old and the new one. */
  paths: string[];
}

const TYPES: Partial<Record<FileType, readonly [FileInfo["type"], string]>> = {
  [FileType.FILE]: ["file", "-"],
  [FileType.DIRECTORY]: ["directory", "d"],
  [FileType.SYMLINK]: ["symlink", "l"],
};

const EVENTS: Record<FileWatchEventType, FileEventType> = {
  Access: FileEventType.ACCESS,
  Create: FileEventType.CREATE,
  Modify: FileEventType.MODIFY,
  Remove: FileEventType.REMOVE,
  Unknown: FileEventType.UNSPECIFIED,
};

const EVENT_NAMES = new Map(Object.entries(EVENTS).map(([name, type]) => [type, name as FileWatchEventType]));

/** Returns a file. */
export function fileInfo(info: FileInfoMessage): FileInfo {
  const [type, letter] = TYPES[info.type] ?? ["other", "?"];
  return {
    name: info.name,
    path: info.path,
    type,
    size: Number(info.size),
    mode: info.mode,
    permissions: letter + permissions(info.mode),
    owner: info.owner,
    group: info.group,
    modifiedTime: fromTimestamp(info.modifiedAt) ?? new Date(0),
    symlinkTarget: info.symlinkTarget || null,
  };
}

/** Returns a change. */
export function fileEvent(response: WatchFilesResponse): FileWatchEvent {
  return { eventType: EVENT_NAMES.get(response.type) ?? "Unknown", paths: response.paths };
}

/** Returns what the server calls a kind of change. */
export function wireEvent(type: FileWatchEventType): FileEventType {
  return EVENTS[type];
}

function permissions(mode: number): string {
  const special = [0o4000, 0o2000, 0o1000] as const;
  return [6, 3, 0]
    .map((shift, at) => {
      const bits = (mode >> shift) & 7;
      const set = (mode & (special[at] ?? 0)) !== 0;
      const letter = at === 2 ? "t" : "s";
      const execute = set ? (bits & 1 ? letter : letter.toUpperCase()) : bits & 1 ? "x" : "-";
      return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${execute}`;
    })
    .join("");
}
