/**
 * Skerry: sandboxes and Python functions that run on your own machines.
 *
 * Begin with {@link SkerryClient}.
 *
 * @packageDocumentation
 */

export type { App, AppFromNameParams, AppService } from "./app.js";
export type { CloudBucketMount, CloudBucketMountParams, CloudBucketMountService } from "./bucket.js";
export { RemoteException } from "./cbor.js";
export { SkerryClient, type SkerryClientParams } from "./client.js";
export type { Cls, ClsInstance, ClsService, ParameterValue } from "./cls.js";
export type { Settings } from "./config.js";
export * from "./errors.js";
export type {
  Function_,
  FunctionAutoscalerSettings,
  FunctionFromNameParams,
  FunctionService,
  FunctionStats,
  RemoteOptions,
  UpdateAutoscalerParams,
} from "./function.js";
export type {
  FunctionCall,
  FunctionCallCancelParams,
  FunctionCallGetParams,
  FunctionCallService,
} from "./function_call.js";
export type { BatchingParams, ConcurrencyParams, FunctionOptions } from "./function_options.js";
export type { BuildEvent } from "./image/building.js";
export type { Image, ImageBuildParams, ImagePublishParams } from "./image/image.js";
export type {
  AddLocalDirParams,
  AddLocalParams,
  DockerfileCommandsParams,
  MicromambaParams,
  PipParams,
  PoetryParams,
  PrivateReposParams,
  PyprojectParams,
  RunCommandsParams,
  StepParams,
  UvPipParams,
  UvSyncParams,
} from "./image/params.js";
export { FilePatternMatcher, type Ignore } from "./image/patterns.js";
export type {
  DockerfileParams,
  ImageFromNameParams,
  ImageService,
  PythonBaseParams,
  RegistryParams,
} from "./image/service.js";
export type { Logger, LogLevel } from "./logger.js";
export { Retries, type RetriesParams } from "./retries.js";
export {
  type CodeContext,
  type CodeContextParams,
  type CodeError,
  type CodeEvent,
  type CodeExecution,
  type CodeLanguage,
  CodeResult,
  type CodeTable,
  type RunCodeParams,
} from "./sandbox/code.js";
export type { SandboxCreateParams } from "./sandbox/definition.js";
export { EgressSecret, type EgressSecretParams } from "./sandbox/egress.js";
export type { SandboxExecParams, SandboxProcessParams } from "./sandbox/execution.js";
export type { FileInfo, FileWatchEvent, FileWatchEventType } from "./sandbox/files.js";
export type { FileWatchParams, SandboxFilesystem } from "./sandbox/filesystem.js";
export type {
  GitBranch,
  GitChange,
  GitCloneParams,
  GitCommitParams,
  GitFile,
  GitRemoteParams,
  GitStatus,
  GitTimeout,
  SandboxGit,
} from "./sandbox/git.js";
export type {
  ProcessInfo,
  SandboxEvent,
  SandboxInfo,
  SandboxMetrics,
  SystemProcessInfo,
} from "./sandbox/info.js";
export type { NetworkParams, PortParams, TunnelKind } from "./sandbox/network.js";
export { Probe, type ProbeParams } from "./sandbox/probe.js";
export type { ContainerProcess, TerminalSize } from "./sandbox/process.js";
export type { Sandbox } from "./sandbox/sandbox.js";
export type {
  SandboxFilter,
  SandboxFromNameParams,
  SandboxListParams,
  SandboxPruneParams,
  SandboxService,
} from "./sandbox/service.js";
export type { SidecarContainer, SidecarCreateParams, SidecarService } from "./sandbox/sidecars.js";
export type {
  SandboxSnapshot,
  SandboxSnapshotInfo,
  SandboxSnapshotService,
  SnapshotParams,
  SnapshotTimeout,
} from "./sandbox/snapshots.js";
export type { Mode, ReadStream, WriteStream } from "./sandbox/streams.js";
export type { ConnectTokenParams, SandboxConnectCredentials, SignedUrlParams, Tunnel } from "./sandbox/tunnels.js";
export type { Secret, SecretFromNameParams, SecretService } from "./secret.js";
export type { Dict, DictPutParams, DictService } from "./storage/dict.js";
export type { ObjectDeleteParams, ObjectEphemeralParams, ObjectFromNameParams } from "./storage/named.js";
export type {
  Queue,
  QueueClearParams,
  QueueGetParams,
  QueueIterateParams,
  QueueLenParams,
  QueuePutParams,
  QueueService,
} from "./storage/queue.js";
export type {
  Volume,
  VolumeFile,
  VolumeListParams,
  VolumeMountParams,
  VolumeReadParams,
  VolumeService,
} from "./storage/volume.js";
