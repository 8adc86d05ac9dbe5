// Calls to the coordinator, and waiting there by calls that are made again until the answer is there.

import type { z } from "zod";
import { type RpcClient, RpcError } from "../net/index.ts";
import { type CallHead, HOLD_MS, type MethodName, methods, type ReplyHead, type WaitingMethod } from "./messages.ts";
import type { WaitOptions } from "./types.ts";
import { decode, encode } from "./wire.ts";

const WAIT_MS = 180_000;
/** What a call may take longer than the coordinator holds it back: a connection that must be made again, a busy machine. */
const SLACK_MS = 30_000;

interface Settings {
  readonly signal?: AbortSignal | undefined;
  readonly deadlineMs?: number;
}

export interface Reply<T> {
  readonly head: T;
  readonly bytes: Uint8Array;
}

export class CoordinatorClient {
  readonly rpc: RpcClient;

  constructor(rpc: RpcClient) {
    this.rpc = rpc;
  }

  /** @throws RpcError */
  async call<M extends MethodName>(
    method: M,
    head: CallHead<M>,
    bytes?: Uint8Array,
    { signal, deadlineMs = WAIT_MS }: Settings = {},
  ): Promise<Reply<ReplyHead<M>>> {
    const settings = { signal, deadlineMs, retries: Number.POSITIVE_INFINITY };
    const body = await this.rpc.call(`cluster.${method}`, encode(head, bytes), settings);
    return decode<z.ZodType<ReplyHead<M>>>(methods[method].reply as unknown as z.ZodType<ReplyHead<M>>, body);
  }

  /**
   * Waits until the reply is there. No call lasts longer than two seconds, so that none holds up others after a connection
   * was lost.
   * @param what is waited for, for the error
   * @throws RpcError `timeout` that says what is missing
   */
  async wait<M extends WaitingMethod>(
    method: M,
    head: Omit<CallHead<M>, "holdMs">,
    what: string,
    { timeoutMs = WAIT_MS, signal }: WaitOptions,
  ): Promise<Reply<Exclude<ReplyHead<M>, { readonly missing: string }>>> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const left = Math.max(0, deadline - performance.now());
      const call = { ...head, holdMs: Math.min(HOLD_MS, left) } as CallHead<M>;
      const reply = await this.call(method, call, undefined, { signal, deadlineMs: left + SLACK_MS });
      const { missing } = reply.head as { missing?: string };
      if (missing === undefined) return reply as Reply<Exclude<ReplyHead<M>, { readonly missing: string }>>;
      if (performance.now() >= deadline) {
        throw new RpcError("timeout", `${what}: given up after ${timeoutMs / 1000} s; ${missing}`);
      }
    }
  }
}
