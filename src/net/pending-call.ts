// A call that has no reply yet.
import { RpcError } from "./error.ts";

export interface PendingCall {
  readonly method: string;
  readonly parts: readonly Uint8Array[];
  readonly bytes: number;
  readonly sequence: number;
  readonly deadline: number;
  readonly retries: number;
  readonly resolve: (body: Uint8Array) => void;
  readonly reject: (error: RpcError) => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: (() => void) | undefined;
  readonly into: Uint8Array | undefined;
  tries: number;
  sent: boolean;
  /** When it is sent again without a reply. */
  resend: number;
  once: boolean;
}

/** The error of a call whose caller no longer wants it. */
export function cancelled(method: string, signal: AbortSignal): RpcError {
  return new RpcError("cancelled", `call ${method} was cancelled by its caller`, { cause: signal.reason });
}
