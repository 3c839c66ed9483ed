/**
 * Skerry: sandboxes and Python functions that run on your own machines.
 *
 * Begin with {@link SkerryClient}.
 *
 * @packageDocumentation
 */

export type { App, AppFromNameParams, AppService } from "./app.js";
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
export type { Secret, SecretService } from "./secret.js";
