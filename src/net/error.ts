// The errors of the network: of a call, with a code that the caller can act on, and of a connection, which names the peer.

/**
 * What net itself says. `deadline`: no answer in time. `cancelled`: by the caller's signal. `unavailable`: the connection
 * was lost more often than the call's `retries`, or this side was closed. `refused`: certificates, versions or the address
 * do not fit, and trying again would not help. `unknown method`: the server has no such handler. `too large`: the body
 * exceeds `maxFrameBytes` of either side. `forgotten`: a repeated call that the server may have applied and whose reply it
 * no longer has. `internal`: the handler threw an error that is no RpcError.
 */
export type NetErrorCode =
  | "deadline"
  | "cancelled"
  | "unavailable"
  | "refused"
  | "unknown method"
  | "too large"
  | "forgotten"
  | "internal";

/** A call failed. Handlers throw it with a code of their own, and the caller gets the same code and message. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  /** A `NetErrorCode`, or what the handler chose. */
  readonly code: NetErrorCode | (string & {});

  constructor(code: NetErrorCode | (string & {}), message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A connection could not be made or had to be ended: bytes that are no frames, silence, a refused address. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  /** Whether trying again may help. */
  readonly temporary: boolean;

  constructor(message: string, options: ErrorOptions & { readonly temporary?: boolean } = {}) {
    super(message, options);
    this.temporary = options.temporary ?? false;
  }
}

/** Whether TLS failed because of who the peers are: it would fail again. All other errors may pass. */
export function isIdentityError({ code = "" }: NodeJS.ErrnoException): boolean {
  return /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|^ERR_SSL|^ERR_TLS/.test(code);
}
