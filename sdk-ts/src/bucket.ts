import { create } from "@bufbuild/protobuf";
import type { Core } from "./core.js";
import { InvalidError } from "./errors.js";
import { type BucketMount, BucketMountSchema } from "./gen/skerry/v1/bucket_pb.js";
import { quote } from "./names.js";
import type { Secret } from "./secret.js";

/** Parameters of {@link CloudBucketMountService.create}. */
export interface CloudBucketMountParams {
  /**
   * Has `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and where needed `AWS_SESSION_TOKEN` and `AWS_REGION`; or
   * `GOOGLE_ACCESS_KEY_ID` and `GOOGLE_ACCESS_KEY_SECRET`. It never enters the sandbox. None: the bucket is open to everybody.
   */
  secret?: Secret;
  /** Nothing can be written. */
  readOnly?: boolean;
  /** Requests are paid by who owns the secret; needs one. */
  requesterPays?: boolean;
  /** The store, such as `https://storage.googleapis.com`; default: Amazon S3. */
  bucketEndpointUrl?: string;
  /** What all keys begin with, ending in "/"; nothing else of the bucket can be reached. */
  keyPrefix?: string;
  /** Name the bucket in the path of URLs, not in the host name. */
  forcePathStyle?: boolean;
}

/** A bucket of an S3-compatible store, to be mounted in sandboxes. Make one with {@link CloudBucketMountService.create}. */
export class CloudBucketMount {
  /** The bucket's name. */
  readonly bucketName: string;
  readonly #params: CloudBucketMountParams;

  /** @internal */
  constructor(bucketName: string, params: CloudBucketMountParams) {
    this.bucketName = bucketName;
    this.#params = params;
  }

  /** @internal Returns what to mount at a path, with its secret brought to the server. */
  async at(core: Core, appId: string, path: string): Promise<BucketMount> {
    const { secret, readOnly, requesterPays, bucketEndpointUrl, keyPrefix, forcePathStyle } = this.#params;
    return create(BucketMountSchema, {
      path,
      bucketName: this.bucketName,
      endpointUrl: bucketEndpointUrl ?? "",
      keyPrefix: keyPrefix ?? "",
      secretId: secret === undefined ? "" : await secret.idIn(core, appId),
      readOnly: readOnly ?? false,
      requesterPays: requesterPays ?? false,
      forcePathStyle: forcePathStyle ?? false,
    });
  }
}

/** Buckets. Get it as {@link SkerryClient.cloudBucketMounts}. */
export class CloudBucketMountService {
  /** Returns a bucket to mount. Nothing is asked of the server until it is used. Throws {@link InvalidError}. */
  create(bucketName: string, params: CloudBucketMountParams = {}): CloudBucketMount {
    if (bucketName.length < 3 || bucketName.length > 255) {
      throw new InvalidError(`bucket ${quote(bucketName)}: want 3 to 255 characters`);
    }
    if (params.requesterPays && params.secret === undefined) {
      throw new InvalidError("requesterPays needs a secret, whose owner pays");
    }
    if (params.keyPrefix !== undefined && !params.keyPrefix.endsWith("/")) {
      throw new InvalidError(`keyPrefix ${quote(params.keyPrefix)}: want a "/" at its end`);
    }
    if (params.bucketEndpointUrl !== undefined && !/^https?:\/\//.test(params.bucketEndpointUrl)) {
      throw new InvalidError(
        `bucketEndpointUrl ${quote(params.bucketEndpointUrl)}: want a URL such as "https://storage.example.com"`,
      );
    }
    return new CloudBucketMount(bucketName, params);
  }
}

/** @internal Throws {@link InvalidError} for paths where nothing can be mounted. */
export function checkMountPaths(mounts: Readonly<Record<string, unknown>>): void {
  for (const path of Object.keys(mounts)) {
    const parts = path.split("/");
    if (parts[0] !== "" || parts.length < 2 || parts.slice(1).some((part) => ["", ".", ".."].includes(part))) {
      throw new InvalidError(
        `mount at ${quote(path)}: want an absolute path without "//", ".", ".." and a "/" at its end`,
      );
    }
    if (path === "/root" || path === "/tmp") {
      throw new InvalidError(`mount at ${quote(path)}: nothing can be mounted there; choose another path`);
    }
  }
}
