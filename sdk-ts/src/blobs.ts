/** Payloads: values as they travel, those that are too large to go with a message through the blob store. */

import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { decodeValue, encodeValue } from "./cbor.js";
import type { Core } from "./core.js";
import { DataLossError, DeserializationError, RequestSizeError } from "./errors.js";
import { BlobService, type UploadRequest, UploadRequestSchema } from "./gen/skerry/v1/blob_pb.js";
import { type BlobRef, BlobRefSchema, type Payload, PayloadFormat, PayloadSchema } from "./gen/skerry/v1/payload_pb.js";

const MAX_INLINE_BYTES = 512 << 10;
const MAX_BYTES = 1 << 30;
const FRAME_BYTES = 1 << 20;

/** Returns the digest that names a blob of these bytes. */
export function digestOf(data: Uint8Array): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

/** Returns a value as a payload, uploaded first if it takes over 512 KiB. Throws SerializationError, {@link RequestSizeError} over 1 GiB. */
export async function makePayload(core: Core, value: unknown, what: string): Promise<Payload> {
  const data = encodeValue(value, what);
  if (data.length <= MAX_INLINE_BYTES) {
    return create(PayloadSchema, { format: PayloadFormat.CBOR, content: { case: "inline", value: data } });
  }
  if (data.length > MAX_BYTES) {
    throw new RequestSizeError(`${what} takes ${data.length} bytes as CBOR; the most is 1 GiB`);
  }
  const blob = create(BlobRefSchema, { digest: digestOf(data), size: BigInt(data.length) });
  await upload(core, blob, () => slices(data));
  return create(PayloadSchema, { format: PayloadFormat.CBOR, content: { case: "blob", value: blob } });
}

/** Returns the value of a payload, downloaded if it is a blob. Throws {@link DeserializationError}, {@link DataLossError}. */
export async function readPayload(core: Core, payload: Payload | undefined, what: string): Promise<unknown> {
  if (payload?.content.case === undefined) {
    return undefined;
  }
  if (payload.format !== PayloadFormat.CBOR) {
    throw new DeserializationError(
      `${what} is a Python pickle, which only Python reads: it answers a call that a Python program made; get it there`,
    );
  }
  const data = payload.content.case === "inline" ? payload.content.value : await download(core, payload.content.value);
  return decodeValue(data, what);
}

/** Uploads a blob whose digest and size are known. `read` gives its bytes from the start, again where the connection broke. */
export async function upload(core: Core, blob: BlobRef, read: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
  await core.call(() => core.rpc(BlobService).upload(frames(blob, read())));
}

async function* frames(
  blob: BlobRef,
  parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<UploadRequest, void, undefined> {
  yield create(UploadRequestSchema, { blob });
  for await (const data of parts) {
    yield create(UploadRequestSchema, { data });
  }
}

async function download(core: Core, blob: BlobRef): Promise<Uint8Array> {
  if (blob.size > BigInt(MAX_BYTES)) {
    throw new DataLossError(`blob ${blob.digest}: is said to have ${blob.size} bytes; the most is 1 GiB`);
  }
  const data = new Uint8Array(Number(blob.size));
  let have = 0;
  await core.call(async () => {
    // What has come stays over a broken connection.
    for await (const part of core.rpc(BlobService).download({ digest: blob.digest, offset: BigInt(have) })) {
      if (have + part.data.length > data.length) {
        throw new DataLossError(`blob ${blob.digest}: has more than the ${data.length} bytes that were announced`);
      }
      data.set(part.data, have);
      have += part.data.length;
    }
  });
  if (have !== data.length || digestOf(data) !== blob.digest) {
    throw new DataLossError(`blob ${blob.digest}: the ${have} bytes received do not match the digest`);
  }
  return data;
}

/** Yields bytes in parts as large as a message takes. */
export function* slices(data: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let start = 0; start < data.length; start += FRAME_BYTES) {
    yield data.subarray(start, start + FRAME_BYTES);
  }
}
