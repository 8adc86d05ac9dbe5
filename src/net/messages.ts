// The bodies of the frames that are not calls or replies: JSON, checked where it comes in.
import { z } from "zod";
import { ConnectionError, RpcError } from "./error.ts";

/** What a peer may send before it has said who it is. */
export const MAX_HELLO_BYTES = 1 << 12;
export const MAX_WELCOME_BYTES = 1 << 18;

const name = z.string().max(200);
const id = z.string().regex(/^[0-9a-f]{1,16}$/);

const maxFrameBytes = z.int().positive();

const hello = z.object({ client: id, name, maxFrameBytes });
const welcome = z.object({
  /** Random, new at each start of the server. */
  server: id,
  /** Name and whether it is applied once; the place is the method's number. */
  methods: z.array(z.tuple([name, z.boolean()])).max(65_535),
  maxFrameBytes,
});
const failure = z.object({ code: z.string(), message: z.string() });

/** Who a client is, and how large bodies may be that it is sent. */
export interface Hello {
  readonly client: bigint;
  readonly name: string;
  readonly maxFrameBytes: number;
}

export type Welcome = z.infer<typeof welcome>;

const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

export const encodeHello = ({ client, name: own, maxFrameBytes }: Hello): Uint8Array =>
  encode({ client: client.toString(16), name: own.slice(0, 200), maxFrameBytes });
export const encodeWelcome = (value: Welcome): Uint8Array => encode(value);
export const encodeFailure = (code: string, message: string): Uint8Array =>
  encode({ code: code.slice(0, 200), message: message.slice(0, 10_000) });

/** @throws ConnectionError */
export function decodeHello(body: Uint8Array): Hello {
  const { client, ...rest } = decode(hello, body, "hello");
  return { ...rest, client: BigInt(`0x${client}`) };
}

/** @throws ConnectionError */
export const decodeWelcome = (body: Uint8Array): Welcome => decode(welcome, body, "welcome");

/** @throws ConnectionError */
export function decodeFailure(body: Uint8Array): RpcError {
  const { code, message } = decode(failure, body, "error");
  return new RpcError(code, message);
}

function decode<T>(schema: z.ZodType<T>, body: Uint8Array, what: string): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()));
  } catch (cause) {
    throw new ConnectionError(`sent a ${what} that cannot be read`, { cause });
  }
}
