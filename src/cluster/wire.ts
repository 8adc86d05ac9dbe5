// Bodies of the coordinator's calls: a JSON head of checked form, and bytes behind it.

import type { z } from "zod";
import { RpcError } from "../net/index.ts";

export function encode(head: unknown, bytes?: Uint8Array): Uint8Array[] {
  const text = Buffer.from(JSON.stringify(head));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.byteLength, true);
  return bytes === undefined ? [length, text] : [length, text, bytes];
}

/** @throws RpcError `invalid` that says what is wrong with the body */
export function decode<T extends z.ZodType>(schema: T, body: Uint8Array): { head: z.output<T>; bytes: Uint8Array } {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const length = body.byteLength < 4 ? -1 : view.getUint32(0, true);
  if (length < 0 || length > body.byteLength - 4) throw new RpcError("invalid", "the body is shorter than it says");
  const parsed = schema.safeParse(parseJson(body.subarray(4, 4 + length)));
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new RpcError("invalid", [issue.path.join("."), issue.message].filter(Boolean).join(": "));
  }
  return { head: parsed.data, bytes: body.subarray(4 + length) };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString());
  } catch (cause) {
    throw new RpcError("invalid", "the head is no JSON", { cause });
  }
}
